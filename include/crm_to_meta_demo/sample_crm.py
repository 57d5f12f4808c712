"""Build the sample CRM of `make run`: the stage changes of the ten days before a day, as rows or in a table.

Everything is invented, and depends on the seed and the calendar alone. The leads of a day are always the same, so that
tomorrow's sample is today's with one more day. A lead takes one or two days per stage. No row is dated on or after
`today`, except rows whose dirt is a future date. `sample_dirt` lists what is wrong with some of the rows;
`sample_warehouse` writes them into the table.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from crm_to_meta_demo.sample_dirt import DIRT, PLACEHOLDERS, Dirt, quota
from crm_to_meta_demo.sample_people import invent_lead
from crm_to_meta_demo.sample_transition import DELETED_ENDING, LEAD_ID_DIGITS, SampleTransition
from crm_to_meta_demo.sample_warehouse import SampleTableRefusedError, write_missing_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    import psycopg

__all__ = [
    "SampleTableRefusedError",
    "SampleTransition",
    "build_transitions",
    "build_transitions_by_dirt",
    "deleted_lead_ids",
    "fill_sample_crm",
    "personal_values",
]

_CLEAN = "clean"
_SECONDS_OF_DAY_FOR_NEW_LEADS = 86_100  # the `new` stage follows within two minutes, on the same day
_VALUE_STAGES = frozenset({"opportunity", "won"})
_JOURNEYS = (  # of 100 leads, 70 are contacted, 30 qualified, 15 become an opportunity, 6 are won
    (0.06, ("new", "contacted", "qualified", "opportunity", "won")),
    (0.11, ("new", "contacted", "qualified", "opportunity", "lost")),
    (0.15, ("new", "contacted", "qualified", "opportunity")),
    (0.30, ("new", "contacted", "qualified")),
    (0.60, ("new", "contacted")),
    (0.70, ("new", "contacted", "lost")),
    (1.00, ("new",)),
)
_JOURNEY_SHARES = [share for share, _ in _JOURNEYS]

_PERSONAL_FIELDS = (
    "email", "phone", "first_name", "last_name", "date_of_birth", "city", "state", "zip", "external_id",
)  # fmt: skip
_SHORTEST_TELLING = 5  # characters
_SHORTEST_TELLING_NUMBER = 8  # digits: five digits also occur in times and counts
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_ZERO_WIDTH = dict.fromkeys((0x200B, 0xFEFF))  # for str.translate: removed
_EMAIL = re.compile(r"[^\s;,/]+@[^\s;,/]+")


class _Entry(NamedTuple):
    """A row, its kind of dirt, and the day on which the CRM records it."""

    dirt: str
    recorded_on: date
    row: SampleTransition


def build_transitions(today: date, *, seed: int = 7, leads: int = 2000, days: int = 10) -> list[SampleTransition]:
    """Return the rows that the CRM has at midnight (UTC) when `today` begins, of the leads of the `days` days before.

    Each day brings `leads // days` leads. A lead's journey takes at most eight days, so ten days show whole journeys.
    """
    return [entry.row for entry in _build_entries(today, seed, leads, days)]


def build_transitions_by_dirt(
    today: date, *, seed: int = 7, leads: int = 2000, days: int = 10
) -> dict[str, list[SampleTransition]]:
    """Return the same rows by kind of dirt (`crm_to_meta_demo.sample_dirt.DIRT`), and rows without dirt as "clean".

    If a kind affects one row, the lead's other rows are clean. Both rows of a pair of copies count as dirty.
    """
    rows_by_dirt = defaultdict(list)
    for entry in _build_entries(today, seed, leads, days):
        rows_by_dirt[entry.dirt].append(entry.row)
    return dict(rows_by_dirt)


def fill_sample_crm(
    connection: psycopg.Connection[Any], today: date, *, seed: int = 7, leads: int = 2000, days: int = 10
) -> int:
    """Add missing sample rows to crm.lead_stage_transitions, creating it if needed; return the number of rows added.

    Raises:
        SampleTableRefusedError: the table exists and is not the sample's.
    """
    return write_missing_rows(connection, build_transitions(today, seed=seed, leads=leads, days=days))


def deleted_lead_ids(transitions: Iterable[SampleTransition]) -> list[int]:
    """Return the lead ids that the stand-in for Meta treats as deleted, sorted. Some leads have nothing else."""
    lead_ids = {row.lead_id for row in transitions if row.lead_id and row.lead_id.endswith(DELETED_ENDING)}
    return sorted(int(lead_id) for lead_id in lead_ids if lead_id.isdecimal() and len(lead_id) in LEAD_ID_DIGITS)


def personal_values(transitions: Iterable[SampleTransition]) -> list[str]:
    """Return the personal texts that a leak test can search for, sorted: as written, and as normalised.

    Texts that occur anyway are left out: short texts, short numbers (post codes), placeholders, and SHA-256 hashes,
    which Meta gets. Click ids and lead ids are left out too, since Meta gets them as they are.
    """
    fields = {(name, getattr(row, name)) for row in transitions for name in _PERSONAL_FIELDS}
    forms = {form for name, text in fields if text for form in _forms_of(name, text)}
    return sorted(form for form in forms if _is_telling(form))


def _build_entries(today: date, seed: int, leads: int, days: int) -> list[_Entry]:
    lead_days = [today - timedelta(days=back) for back in range(days, 0, -1)]
    entries = (entry for day in lead_days for entry in _build_day(day, seed, leads // days))
    return [entry for entry in entries if entry.recorded_on < today]


def _build_day(day: date, seed: int, leads_per_day: int) -> Iterator[_Entry]:
    """Build all rows that the leads of one day will ever have."""
    dirt_by_lead = _deal_out_dirt(day, seed, leads_per_day)
    for lead_no in range(leads_per_day):
        dirt, key = dirt_by_lead.get(lead_no), f"{seed}/{day}/{lead_no}"
        entries = _build_journey(day, Random(key), f"t{seed}-{day:%Y%m%d}-{lead_no:05d}", is_complete=dirt is not None)
        yield from _soil_journey(entries, dirt, key) if dirt else entries


def _deal_out_dirt(day: date, seed: int, leads_per_day: int) -> dict[int, Dirt]:
    """Return the dirt by number of the lead. Most leads have none."""
    lead_nos = list(range(leads_per_day))
    Random(f"{seed}/{day}").shuffle(lead_nos)
    kinds = [dirt for dirt in DIRT for _ in range(quota(dirt, leads_per_day, day))]
    return dict(zip(lead_nos, kinds, strict=False))


def _build_journey(day: date, rng: Random, lead_key: str, *, is_complete: bool) -> list[_Entry]:
    """Build a lead's rows from `new` on, without dirt."""
    created_at = _at_second(day, rng.randrange(_SECONDS_OF_DAY_FOR_NEW_LEADS))
    lead = invent_lead(rng, created_at, is_complete=is_complete)
    stages = _JOURNEYS[bisect_right(_JOURNEY_SHARES, rng.random())][1]
    steps = zip(stages, _invent_event_times(rng, created_at), strict=False)
    rows = [
        replace(lead, transition_id=f"{lead_key}-{step_no}", stage=stage, event_time=event_time)
        for step_no, (stage, event_time) in enumerate(steps)
    ]
    value = Decimal(rng.randrange(5_000, 500_000))
    return [_Entry(_CLEAN, row.event_time.date(), _price(row, value)) for row in rows if row.event_time]


def _price(row: SampleTransition, value: Decimal) -> SampleTransition:
    """Return the row with value and currency if its stage has them, otherwise without both."""
    return replace(row, value=value) if row.stage in _VALUE_STAGES else replace(row, currency=None)


def _invent_event_times(rng: Random, created_at: datetime) -> Iterator[datetime]:
    """Yield event times without end: the first soon after the lead was created, each next one a day or two later."""
    event_time = created_at + timedelta(seconds=rng.randrange(2, 90))
    while True:
        yield event_time
        event_time = _at_second(event_time.date() + timedelta(days=rng.choice((1, 2))), rng.randrange(86_400))


def _at_second(day: date, second: int) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(seconds=second)


def _soil_journey(entries: list[_Entry], dirt: Dirt, key: str) -> Iterator[_Entry]:
    """Put the dirt on one of the rows, or on all of them in the same way."""
    chosen = Random(f"{key}/row").randrange(len(entries)) if dirt.one_row else None
    for step_no, entry in enumerate(entries):
        if chosen in (None, step_no):
            yield from _soil_row(entry, dirt, Random(f"{key}/dirt"))
        else:
            yield entry


def _soil_row(entry: _Entry, dirt: Dirt, rng: Random) -> Iterator[_Entry]:
    """Yield what the table has for the row. If it has the row itself and a changed one, the row itself stays clean."""
    changed = dirt.change(entry.row, rng)
    rows = (changed,) if isinstance(changed, SampleTransition) else changed
    stays_clean = any(row != entry.row for row in rows)
    for row in rows:
        kind = _CLEAN if stays_clean and row == entry.row else dirt.kind
        yield _Entry(kind, entry.recorded_on + timedelta(days=dirt.days_late), row)


def _forms_of(name: str, text: str) -> set[str]:
    """Return how a leaked text might look: as written, and as normalised."""
    forms = {text.strip()}
    if name == "email":
        forms |= {email.strip(".").lower() for email in _EMAIL.findall(text.translate(_ZERO_WIDTH))}
    if name == "phone":
        forms.add("".join(str(int(char)) for char in text if char.isdecimal()).lstrip("0"))
    return forms


def _is_telling(text: str) -> bool:
    if len(text) < _SHORTEST_TELLING or text.lower() in PLACEHOLDERS or _SHA256.fullmatch(text):
        return False
    return not text.isdecimal() or len(text) >= _SHORTEST_TELLING_NUMBER
