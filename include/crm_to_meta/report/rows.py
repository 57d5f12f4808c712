"""Tell which rows are behind the reasons of a run: their transition ids, for the page and as CSV. Never a value.

Only live runs keep the ids, in the ledger. A row that a later run took over is listed there; an erased one has no id.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.models import Reason, Status
from crm_to_meta.report.personal import HIDDEN, is_personal_id, is_personal_name
from crm_to_meta.warehouse import Connection, compose, execute
from crm_to_meta.warehouse_errors import translated

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

MAX_IDS: Final = 200  # of a reason, on the page
LONGEST_ID: Final = 120  # characters, on the page
ROWS_PER_FETCH: Final = 2_000
CSV_COLUMNS: Final = ("transition_id", "status", "reason", "stage", "run_key")
_OF_DELIVERED_ROWS: Final = {str(Reason.SENT_WITHOUT_LEAD_ID), str(Reason.SETTLED_BY_HAND)}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# What spreadsheets take for the beginning of a formula, in halfwidth and fullwidth; a plain number is none.
_FORMULA: Final = re.compile(r"\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_PLAIN_NUMBER: Final = re.compile(r"[+-]?\d+")


class ListedRows(NamedTuple):
    """The rows with one reason: some of their ids, how many ids there are, how many are hidden, how many rows."""

    ids: Sequence[str]
    with_id: int
    hidden: int
    rows: int


def list_rows(connection: Connection, run_key: str, reasons: Mapping[str, int]) -> dict[str, ListedRows]:
    """Return the rows behind each reason that the ledger still has with this run, the latest first.

    Args:
        connection: to the warehouse.
        run_key: the run.
        reasons: those of the run. Delivered rows, by far the most, are only looked through if a reason is about them.
    """
    statuses = set(Status) - {Status.PENDING}
    if not _OF_DELIVERED_ROWS & set(reasons):
        statuses.discard(Status.DELIVERED)
    scope = {"run_key": run_key, "statuses": sorted(statuses), "limit": MAX_IDS}
    found: dict[str, ListedRows] = {}
    ids: dict[str, list[str]] = {}
    for reason, transition_id, with_id, rows in execute(connection, "report/list_reason_ids", scope):
        listed = found.get(reason, ListedRows(ids.setdefault(reason, []), with_id, 0, rows))
        if transition_id is None:
            hidden = listed.hidden
        elif is_personal_id(transition_id):
            hidden = listed.hidden + 1
        else:
            hidden = listed.hidden
            ids[reason].append(shorten_id(transition_id))
        found[reason] = listed._replace(hidden=hidden)
    return found


def shorten_id(transition_id: str) -> str:
    """Return an id on one line, cut if it is very long; what cannot be seen is shown as a replacement character."""
    text = _CONTROL.sub("\ufffd", transition_id)
    return text if len(text) <= LONGEST_ID else f"{text[:LONGEST_ID]}\u2026"


def write_reason_csv(connection: Connection, run_key: str) -> Generator[str]:
    """Return a generator of the lines of a CSV: each row of the ledger that has a reason, with its transition id.

    The rows come from a cursor on the server, within a transaction that lasts as long as the generator. Ids and stages
    that look personal are hidden; a spreadsheet takes none of them for a formula.

    Raises:
        ConfigurationError: there is no such run.
        WarehouseError: a statement failed.
    """
    if execute(connection, "report/find_run", {"run_key": run_key}).fetchone() is None:
        raise ConfigurationError(f"There is no run {run_key[:60]!r} in this warehouse.")
    return _write_lines(connection, run_key)


def _write_lines(connection: Connection, run_key: str) -> Generator[str]:
    yield write_csv_line(CSV_COLUMNS)
    try:
        with connection.transaction(), connection.cursor("capi_reason_rows") as cursor:
            cursor.itersize = ROWS_PER_FETCH
            cursor.execute(compose("report/list_reason_rows"), {"run_key": run_key})
            for transition_id, status, reason, stage in cursor:
                shown_id = HIDDEN if is_personal_id(transition_id or "") else transition_id
                shown_stage = HIDDEN if is_personal_name(stage or "") else stage
                yield write_csv_line((shown_id, status, reason, shown_stage, run_key))
    except psycopg.Error as error:
        raise translated(error, "report/list_reason_rows") from None


def write_csv_line(cells: Sequence[Any]) -> str:
    """Return a line of CSV with each cell in quotes, and none that a spreadsheet would take for a formula."""
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow([disarm("" if cell is None else str(cell)) for cell in cells])
    return line.getvalue()


def disarm(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run; a plain number, also a negative one, stays as it is."""
    return f"'{text}" if _FORMULA.match(text) and not _PLAIN_NUMBER.fullmatch(text) else text
