"""Turn a column of values into one of Meta's fields: each row's member of `user_data` as JSON.

Members begin with a comma; that of lead_id, the first in the object, does not.

A column is read as a whole: plainly written values are found in one pass, the others go through the field's own
function, and a value that many rows repeat is normalised, hashed and written once (docs/adr/0005).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from crm_to_meta.models import DropReason
from crm_to_meta.transform.fields.text import hash_normalized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_SAMPLE_ROWS: Final = 200
_LEAST_DISTINCT: Final = 0.8  # of a sample, where repeats are not looked for

_HASH_OF_NOTHING: Final = sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Column:
    """One of Meta's fields: each row's JSON member, and why it was dropped from which row."""

    members: list[str]
    drops: dict[int, str]

    def count(self) -> Counter[str]:
        """Return how many members there are ("usable"), and how many were dropped for which reason."""
        counts = Counter(self.drops.values())
        if usable := len(self.members) - self.members.count(""):
            counts["usable"] = usable
        return counts


Writer: TypeAlias = "Callable[[Sequence[Any]], Column]"  # of values that are there
RowsByCountry: TypeAlias = "Mapping[str | None, Sequence[int]]"


# --- Reading: which values of a column are written, and for which rows ------------------------------------------------


def read_column(values: Sequence[Any], write: Writer) -> Column:
    """Write the values that are not None. Where values repeat, each distinct one is written once."""
    absent = values.count(None)
    if absent == len(values):
        return Column([""] * len(values), {})
    if _are_repeated(values):
        return _read_distinct(values, write)
    if not absent:
        return write(values)
    rows = [row for row, value in enumerate(values) if value is not None]
    return _place(len(values), [(rows, write([values[row] for row in rows]))])


def _are_repeated(values: Sequence[Any]) -> bool:
    """Guess from a sample whether finding repeats is worth its cost: cities repeat, email addresses hardly do."""
    sample = values[:_SAMPLE_ROWS]
    return len(set(sample)) < _LEAST_DISTINCT * len(sample)


def _read_distinct(values: Sequence[Any], write: Writer) -> Column:
    distinct = [value for value in dict.fromkeys(values) if value is not None]
    column = write(distinct)
    members = dict(zip(distinct, column.members, strict=True)) | {None: ""}
    reasons = {distinct[place]: reason for place, reason in column.drops.items()}
    drops = {row: reasons[value] for row, value in enumerate(values) if value in reasons} if reasons else {}
    return Column(list(map(members.__getitem__, values)), drops)


def read_column_by_country(
    values: Sequence[Any], countries: RowsByCountry, write_for: Callable[[str | None], Writer]
) -> Column:
    """Read a field whose meaning depends on the row's country."""
    if values.count(None) == len(values):
        return Column([""] * len(values), {})
    parts = [
        (rows, read_column([values[row] for row in rows], write_for(country))) for country, rows in countries.items()
    ]
    return _place(len(values), parts)


def _place(number: int, parts: Iterable[tuple[Sequence[int], Column]]) -> Column:
    """Put a column together from parts and their rows. Rows in no part have no member."""
    members, drops = [""] * number, dict[int, str]()
    for rows, part in parts:
        for row, member in zip(rows, part.members, strict=True):
            members[row] = member
        drops |= {rows[place]: reason for place, reason in part.drops.items()}
    return Column(members, drops)


# --- Writing: the members of values -----------------------------------------------------------------------------------


def id_writer(field: str, check: Callable[[Any], str | DropReason]) -> Writer:
    """Return a writer of unhashed ids. `check` must pass only ASCII without quotes, so that JSON needs no escapes."""

    def write(value: Any) -> str | DropReason:
        checked = check(value)
        return f',"{field}":"{checked}"' if isinstance(checked, str) else checked

    return lambda values: complete_members([""] * len(values), values, write)


def hash_writer(
    field: str,
    normalize: Callable[[str], str | DropReason],
    find_plain: Callable[[Sequence[str]], Iterable[str]] | None = None,
) -> Writer:
    """Return a writer of hashed texts: plain ones are normalised in one pass, the others one by one."""
    head = f',"{field}":["'

    def write(texts: Sequence[str]) -> Column:
        members = (
            [f'{head}{sha256(value.encode()).hexdigest()}"]' if value else "" for value in find_plain(texts)]
            if find_plain
            else [""] * len(texts)
        )
        return complete_members(members, texts, lambda text: _write_hash(head, normalize(text)))

    return write


def _write_hash(head: str, normalized: str | DropReason) -> str | DropReason:
    if not isinstance(normalized, str):
        return normalized
    digest = hash_normalized(normalized)
    return DropReason.BLANK if digest == _HASH_OF_NOTHING else f'{head}{digest}"]'  # somebody hashed a blank


def complete_members(members: list[str], values: Sequence[Any], write: Callable[[Any], str | DropReason]) -> Column:
    """Write, one by one, the members that are still empty."""
    drops = dict[int, str]()
    if "" not in members:
        return Column(members, drops)
    for row in [row for row, member in enumerate(members) if not member]:
        written = write(values[row])
        if isinstance(written, DropReason):
            drops[row] = written.value
        else:
            members[row] = written
    return Column(members, drops)
