"""The CRM of a round: it draws rows, writes and edits them, and says which status each row should get.

`judge` is a second, independent statement of the data contract. It shares no code with the product.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from psycopg import sql

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection

Row = dict[str, Any]
Expectation = tuple[str, str]  # status and reason of a row that must not be sent

PERSONAL_MARK: Final = "zqpii"  # in each email and name of the CRM, so that one search finds them all
PHONE: Final = "12025550143"
STAGES: Final = ("new", "contacted", "qualified", "opportunity", "won", "lost")
UNKNOWN_STAGE: Final = "nobody knows"
UNREADABLE: Final = "unreadable"  # a time that cannot be read
LOCAL_ZONE: Final = "Asia/Kathmandu"  # no daylight saving time, and an offset of 5 h 45 min
_TIME_COLUMNS: Final = {
    "timestamptz": "timestamptz", "timestamp": "timestamp", "text": "text", "epoch_seconds": "text",
}  # fmt: skip
_UNREADABLE_AS: Final = {
    "timestamptz": "infinity", "timestamp": "-infinity", "text": "2026-02-30 10:00", "epoch_seconds": "yesterday",
}  # fmt: skip
_FIELDS: Final = {
    "transition_id": "text", "lead_id": "text", "stage": "text", "email": "text", "phone": "text",
    "first_name": "text", "opted_out": "boolean",
}  # fmt: skip
_HOSTILE: Final = (
    "'; DROP TABLE capi.delivery; --", '"quoted" \\ back\\slash', "100% %s %(x)s {0} {source}", "line\nbreak\ttab\r",
    "\u202eltr\u202c \U0001f9e8", "\x01\x1f control", "nul\\u0000", "x" * 5_000, "ÄÖÜ ẞ İıſ", "NULL", "[]{}:,\\:name",
    " ",
)  # fmt: skip
_TABLE: Final = sql.SQL("crm.lead_stage_transitions")


@dataclass(slots=True)
class Crm:
    """The source table, with all versions of its rows."""

    time_type: str
    versions: dict[int, list[Row]] = field(default_factory=dict)

    def create(self, warehouse: Connection) -> None:
        """Create the empty table. `crm_row` tells rows with the same transition id apart."""
        columns = {"crm_row": "integer", **_FIELDS, "event_time": _TIME_COLUMNS[self.time_type]}
        definitions = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in columns.items()
        )
        warehouse.execute("CREATE SCHEMA crm")
        warehouse.execute(sql.SQL("CREATE TABLE {} ({})").format(_TABLE, definitions))

    def insert(self, warehouse: Connection, rows: Iterable[Row]) -> None:
        """Insert new rows."""
        for row in rows:
            self.versions[row["crm_row"]] = [row]
            names = sql.SQL(", ").join(map(sql.Identifier, row))
            values = sql.SQL(", ").join(map(sql.Placeholder, row))
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(_TABLE, names, values)
            warehouse.execute(statement, self._stored(row))

    def edit(self, warehouse: Connection, changes: Iterable[tuple[int, Row]]) -> None:
        """Change existing rows."""
        for number, change in changes:
            if number not in self.versions:
                continue  # a late row that is not inserted yet
            self.versions[number].append({**self.versions[number][-1], **change})
            assignments = sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in change
            )
            statement = sql.SQL("UPDATE {} SET {} WHERE crm_row = %(crm_row)s").format(_TABLE, assignments)
            warehouse.execute(statement, {**self._stored(change), "crm_row": number})

    @property
    def rows(self) -> list[Row]:
        """Return the rows as they are now."""
        return [versions[-1] for versions in self.versions.values()]

    def history(self) -> dict[str, list[Row]]:
        """Return all versions of the rows by transition id."""
        history: dict[str, list[Row]] = {}
        for versions in self.versions.values():
            for row in versions:
                history.setdefault(row["transition_id"], []).append(row)
        return history

    def _stored(self, row: Row) -> Row:
        moment = row.get("event_time")
        if moment is None:
            return row
        return {**row, "event_time": self._stored_time(moment)}

    def _stored_time(self, moment: Any) -> Any:
        if moment == UNREADABLE:
            return _UNREADABLE_AS[self.time_type]
        match self.time_type:
            case "timestamp":
                return moment.astimezone(ZoneInfo(LOCAL_ZONE)).replace(tzinfo=None)
            case "text":
                return moment.isoformat()
            case "epoch_seconds":
                return str(int(moment.timestamp()))
        return moment


def judge(row: Row, pipeline: Pipeline, now: datetime) -> Expectation | None:
    """Return what should keep a row from being sent; None if nothing does. Ids that occur twice are not judged."""
    stage, moment = (row["stage"] or "").strip(" \t\r\n"), row["event_time"]
    lead_id = re.sub(r"^l:\s*", "", (row["lead_id"] or "").strip(" \t\r\n"))
    unmapped = "skipped" if pipeline.unmapped_stages == "skip" else "quarantined"
    latest = now + timedelta(seconds=pipeline.quality.future_tolerance_seconds)
    is_dated = isinstance(moment, datetime)
    rules: list[tuple[bool, str, str]] = [
        (bool(row["opted_out"]), "skipped", "opted_out"),
        (not (row["transition_id"] or "").strip(" \t\r\n"), "quarantined", "transition_id_missing"),
        (not stage, "quarantined", "stage_missing"),
        (stage not in pipeline.stages, unmapped, "stage_unmapped"),
        (moment is None, "quarantined", "event_time_missing"),
        (not is_dated, "quarantined", "event_time_invalid"),
        (is_dated and moment > latest, "quarantined", "event_time_future"),
        (is_dated and moment < now - pipeline.delivery.max_event_age, "expired", "event_too_old"),
        (bool(lead_id) and not re.fullmatch("[1-9][0-9]{14,16}", lead_id), "quarantined", "lead_id_invalid"),
        (not (lead_id or _is_mail(row["email"]) or row["phone"]), "quarantined", "no_identifier"),
    ]
    return next(((status, reason) for is_broken, status, reason in rules if is_broken), None)


def _is_mail(text: str | None) -> bool:
    return bool(text) and "@example.com" in str(text)


def draw_row(rng: random.Random, number: int, midnight: datetime) -> Row:
    """Return a valid row. One in ten is close to being too old for Meta, or already is."""
    near_limit = timedelta(days=7) - timedelta(hours=rng.uniform(-4, 16))
    age = near_limit if rng.random() < 0.1 else timedelta(days=rng.uniform(0.01, 6.4))
    return {
        "crm_row": number,
        "transition_id": f"t-{number:05d}",
        "lead_id": str(10**15 + number),
        "stage": rng.choice(STAGES),
        "event_time": _whole_second(midnight - age),
        "email": f"{PERSONAL_MARK}{number}@example.com" if rng.random() < 0.8 else None,
        "phone": f"+{PHONE}" if rng.random() < 0.3 else None,
        "first_name": f"{PERSONAL_MARK} {number}",
        "opted_out": False,
    }


def draw_dirt(rng: random.Random, others: list[Row], midnight: datetime) -> Row:
    """Return a change that makes a row wrong or only odd."""
    oddity = rng.choice(_HOSTILE)
    return rng.choice([
        {"stage": None},
        {"stage": UNKNOWN_STAGE},
        {"stage": oddity},
        {"event_time": None},
        {"event_time": UNREADABLE},
        {"event_time": midnight + timedelta(days=30)},
        {"lead_id": "12"},
        {"lead_id": oddity},
        {"lead_id": None, "email": None, "phone": None},
        {"lead_id": None, "email": oddity, "phone": None},
        {"first_name": PERSONAL_MARK + oddity},
        {"email": PERSONAL_MARK + oddity},
        {"opted_out": True},
        {"transition_id": None},
        {"transition_id": f"{oddity}-{rng.random()}"},
        {"transition_id": rng.choice(others)["transition_id"]},
    ])  # fmt: skip


def draw_change(rng: random.Random, row: Row, repairs: Mapping[int, Row], midnight: datetime) -> Row:
    """Return an edit of a row, before or after it was sent. Most edits repair dirty rows."""
    if (repair := repairs.get(row["crm_row"])) is not None and rng.random() < 0.7:
        return repair
    return rng.choice([
        {"event_time": _whole_second(midnight - timedelta(days=rng.uniform(0.01, 8.5)))},
        {"event_time": None},
        {"event_time": UNREADABLE},
        {"stage": rng.choice(STAGES)},
        {"stage": UNKNOWN_STAGE},
        {"first_name": f"{PERSONAL_MARK} again"},
        {"opted_out": rng.random() < 0.7},
    ])  # fmt: skip


def _whole_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
