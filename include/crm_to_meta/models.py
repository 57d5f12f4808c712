"""The types that the steps share. They carry names, keys and counts, never rows.

The words that people query (`Status`, `Reason`, `Mode`) are defined here. The database allows the same words
(`ledger/migrations`); `tests/integration/test_migrations.py` keeps the two equal.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

NOT_JUDGED: Final = "not_judged"  # in capi.quality.expectation: the run could not judge the rule
TEST_EVENT_CODE_PATTERN: Final = "[A-Za-z0-9_-]{1,64}"  # the codes that Events Manager shows under Test events
EVENT_ID_SEPARATOR: Final = "\x1f"  # ASCII unit separator: no pipeline name contains it, so two pairs never collide


class Mode(StrEnum):
    """What a run does with the events it builds."""

    LIVE = "live"  # sends them and writes the ledger
    TEST = "test"  # sends a few with a test code, does not write the ledger
    PREVIEW = "preview"  # builds the same bytes, sends nothing


class Status(StrEnum):
    """The status of a transition. Each extracted row ends a run in exactly one."""

    PENDING = "pending"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    IN_DOUBT = "in_doubt"
    QUARANTINED = "quarantined"
    EXPIRED = "expired"
    SKIPPED = "skipped"


class RequestOutcome(StrEnum):
    """What became of a request to Meta (docs/delivery.md)."""

    SENDING = "sending"  # no answer yet, or the worker died
    DELIVERED = "delivered"
    PAYLOAD_REFUSED = "payload_refused"
    REFUSED_ALONE = "refused_alone"  # a single event, not confirmed yet
    NOT_PROCESSED = "not_processed"
    RATE_LIMITED = "rate_limited"
    STOPPED = "stopped"
    IN_DOUBT = "in_doubt"


class Reason(StrEnum):
    """Why a transition has its status. Refusals by Meta have the reason `meta_<code or subcode>` instead."""

    TRANSITION_ID_MISSING = "transition_id_missing"
    TRANSITION_ID_DUPLICATE = "transition_id_duplicate"
    STAGE_MISSING = "stage_missing"
    STAGE_UNMAPPED = "stage_unmapped"
    LEAD_ID_INVALID = "lead_id_invalid"
    EVENT_TIME_MISSING = "event_time_missing"
    EVENT_TIME_INVALID = "event_time_invalid"
    EVENT_TIME_FUTURE = "event_time_future"
    EVENT_BEFORE_LEAD = "event_before_lead"
    EVENT_TOO_OLD = "event_too_old"
    VALUE_INVALID = "value_invalid"
    VALUE_WITHOUT_CURRENCY = "value_without_currency"
    NO_IDENTIFIER = "no_identifier"
    OWN_RULE = "own_rule"
    OPTED_OUT = "opted_out"
    OUTCOME_UNKNOWN = "outcome_unknown"
    SENT_WITHOUT_LEAD_ID = "sent_without_lead_id"
    SETTLED_BY_HAND = "settled_by_hand"
    ERASED = "erased"


class BatchReason(StrEnum):
    """Which rule about the batch as a whole is broken: a reason in capi.quality, never of a row."""

    ROWS_UNEXPECTED = "rows_unexpected"
    LEAD_IDS_FEW = "lead_ids_few"
    EMAILS_FEW = "emails_few"
    PHONES_FEW = "phones_few"
    ROWS_LATE = "rows_late"
    STAGES_NEW = "stages_new"
    ROWS_STALE = "rows_stale"
    QUARANTINED_MANY = "quarantined_many"


class DropReason(Enum):
    """Why a field is left out of an event. It is no `str`, so that `isinstance(result, str)` means a value."""

    BLANK = "blank"
    NOTHING_LEFT = "nothing_left"  # the field keeps none of its characters: "---" as a city
    MD5_NOT_SHA256 = "md5_not_sha256"
    NOT_AN_EMAIL = "not_an_email"
    PHONE_WITHOUT_COUNTRY = "phone_without_country"
    PHONE_NOT_POSSIBLE = "phone_not_possible"
    GENDER_UNKNOWN = "gender_unknown"
    NOT_A_DATE = "not_a_date"
    DATE_AMBIGUOUS = "date_ambiguous"
    DATE_OUT_OF_RANGE = "date_out_of_range"
    COUNTRY_UNKNOWN = "country_unknown"
    LEAD_ID_INVALID = "lead_id_invalid"
    FBC_MALFORMED = "fbc_malformed"
    FBP_MALFORMED = "fbp_malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The half-open range of event times `[start, end)` that a run covers.

    `is_sweep` is true if the range reaches back over the pipeline's lookback (daily runs), and false if it is exactly
    one interval (backfills, a day picked by hand).
    """

    start: datetime
    end: datetime
    is_sweep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DagRunFacts:
    """What a step needs to know about its DAG run."""

    dag_run_id: str
    run_type: str
    mode: Mode
    window: Window
    test_event_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The staged rows `first_row..last_row` of a run, both included: one task each of transform and load."""

    run_key: str
    shard_no: int
    first_row: int
    last_row: int

    @property
    def label(self) -> str:
        """The name of the mapped task in Airflow's UI."""
        return "no rows" if self.is_empty else f"rows {self.first_row}-{self.last_row}"

    @property
    def is_empty(self) -> bool:
        """Whether there is no row in it."""
        return self.last_row < self.first_row

    @classmethod
    def without_rows(cls, run_key: str) -> Self:
        """Return the one shard of a run that has nothing to send."""
        return cls(run_key=run_key, shard_no=0, first_row=1, last_row=0)


def event_id_of(pipeline: str, transition_id: str) -> uuid.UUID:
    """Return the event id of a transition: the first 16 bytes of SHA-256 over pipeline, separator and transition id.

    It depends on these two alone. `extract/sql/stage_rows.sql` computes the same id.
    """
    text = f"{pipeline}{EVENT_ID_SEPARATOR}{transition_id}"
    return uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16])


def staging_table_of(run_key: str) -> str:
    """Return the name of the run's own staging table in schema `capi`."""
    return f"staging_{_short_digest(run_key)}"


def held_back_table_of(run_key: str) -> str:
    """Return the name of the run's own table of rows that validate or transform held back."""
    return f"held_back_{_short_digest(run_key)}"


def run_key_of(*, pipeline: str, zone: tzinfo, facts: DagRunFacts, pass_no: int) -> str:
    """Return the key of one pass of a DAG run: last day of the window, digest of run and window, number of the pass.

    The day is that of the pipeline's time zone: in UTC, a day in New York would have the next day's date. Clearing a
    DAG run, or backfilling it again, keeps Airflow's run id; the pass number tells the passes apart.
    """
    window = facts.window
    parts = (pipeline, facts.mode, facts.dag_run_id, window.start.isoformat(), window.end.isoformat())
    last_day = (window.end - timedelta(seconds=1)).astimezone(zone)
    return f"{last_day:%Y%m%d}-{_short_digest('|'.join(parts))[:8]}-{pass_no}"


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
