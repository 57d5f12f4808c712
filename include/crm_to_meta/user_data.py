"""Identifiers of a shard's rows: columns of text in, `user_data` of each row as JSON out, and what was dropped and why.

Works on whole columns: each distinct value is normalised, hashed and written as JSON once, and a row is put together
from these pieces (docs/adr/0005). No value leaves this module except hashed; lead_id, fbc and fbp are sent as they are,
as Meta wants it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from crm_to_meta.birth_dates import DateOrder, normalize_date_of_birth
from crm_to_meta.field_text import SHA256_LENGTH, DropReason, hash_normalized
from crm_to_meta.meta_ids import build_fbc, normalize_fbc, normalize_fbp
from crm_to_meta.normalization import normalize_city, normalize_country, normalize_gender, normalize_state
from crm_to_meta.plain_columns import (
    normalize_emails,
    normalize_external_ids,
    normalize_lead_ids,
    normalize_names,
    normalize_phones,
    normalize_zips,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from crm_to_meta.pipeline import Pipeline

# "Best Practices": an event whose customer parameters are all within one of these sets is refused (2804050).
UNMATCHABLE_SETS: Final = (
    frozenset({"ct", "country", "st", "zp", "ge"}),
    frozenset({"db"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)

_HASH_OF_NOTHING: Final = sha256(b"").hexdigest()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHA_2_LENGTH: Final = 2  # a hashed country is longer

FieldCounts = dict[str, Counter[str]]
_Result = TypeVar("_Result")


class _LocalNormalizer(Protocol):
    """Normalises the texts of a country's rows."""

    def __call__(self, texts: Collection[str], country: str | None) -> list[str | DropReason]: ...


@dataclass(frozen=True, slots=True)
class UserData:
    """What the rows of a shard identify people by.

    Attributes:
        members: each row's members of `user_data` as JSON, with a comma behind each; empty where nothing was usable.
        is_matchable: for each row, whether Meta can match an event by it at all.
        drops: for those of Meta's fields that were dropped from some row: each row's reason, or None.
        fields: for each of Meta's fields, how many values were usable, and how many were dropped for which reason.
    """

    members: list[str]
    is_matchable: list[bool]
    drops: dict[str, list[str | None]]
    fields: FieldCounts


@dataclass(frozen=True, slots=True)
class _Column:
    """One of Meta's fields: each row's JSON member with a comma behind, and why rows have none."""

    members: list[str]
    drops: list[str | None]  # empty where nothing was dropped

    def count(self) -> Counter[str]:
        counts = Counter(filter(None, self.drops))
        if usable := len(self.members) - self.members.count(""):
            counts["usable"] = usable
        return counts


def build_user_data(columns: Mapping[str, Sequence[Any]], pipeline: Pipeline) -> UserData:
    """Return the `user_data` of each row, and for each of Meta's fields what was usable or why not.

    Args:
        columns: the staged columns by name, all of one length; None where a row has no value.
        pipeline: gives default country and the order of dates of birth.
    """
    fields = _read_columns(columns, pipeline)
    rows = list(map("".join, zip(*(column.members for column in fields.values()), strict=True)))
    return UserData(
        members=rows,
        is_matchable=[row.startswith(_STRONG_BEGINNINGS) or is_matchable(_fields_of(row)) for row in rows],
        drops={field: column.drops for field, column in fields.items() if column.drops},
        fields={field: column.count() for field, column in fields.items()},
    )


def is_matchable(fields: Iterable[str]) -> bool:
    """Say whether Meta can match an event by these parameters at all."""
    present = frozenset(fields)
    return bool(present) and not any(present <= weak for weak in UNMATCHABLE_SETS)


# Fields that stand first in a row and in no weak set: a row that begins with one of them needs no closer look.
_STRONG_BEGINNINGS: Final = tuple(f'"{field}":' for field in ("lead_id", "fbc", "fbp", "em", "ph"))


def _fields_of(members: str) -> Iterable[str]:
    fields: dict[str, Any] = json.loads(f"{{{members[:-1]}}}")
    return fields


def _read_columns(columns: Mapping[str, Sequence[Any]], pipeline: Pipeline) -> dict[str, _Column]:
    """Read each of Meta's fields, in the order in which an event has them."""
    countries = _countries_of(columns["country"], pipeline.default_country)
    order = DateOrder[pipeline.date_of_birth_order.upper()]
    return {
        "lead_id": _read_ids("lead_id", columns["lead_id"], normalize_lead_ids),
        "fbc": _read_ids("fbc", _clicks_of(columns), _each(_read_click_id)),
        "fbp": _read_ids("fbp", columns["fbp"], _each(normalize_fbp)),
        "em": _hash_texts("em", columns["email"], normalize_emails),
        "ph": _hash_local_texts("ph", columns["phone"], countries, normalize_phones),
        "fn": _hash_texts("fn", columns["first_name"], normalize_names),
        "ln": _hash_texts("ln", columns["last_name"], normalize_names),
        "ge": _hash_texts("ge", columns["gender"], _each(normalize_gender)),
        "db": _hash_texts("db", columns["date_of_birth"], _each(partial(normalize_date_of_birth, order=order))),
        "ct": _hash_texts("ct", columns["city"], _each(normalize_city)),
        "st": _hash_local_texts("st", columns["state"], countries, _normalize_states),
        "zp": _hash_local_texts("zp", columns["zip"], countries, normalize_zips),
        "country": _hash_texts("country", columns["country"], _each(normalize_country)),
        "external_id": _hash_texts("external_id", columns["external_id"], normalize_external_ids),
    }


def _each(normalize: Callable[[Any], _Result]) -> Callable[[Collection[Any]], list[_Result]]:
    return lambda values: list(map(normalize, values))


def _normalize_states(texts: Collection[str], country: str | None) -> list[str | DropReason]:
    return [normalize_state(text, country) for text in texts]


def _countries_of(texts: Sequence[str | None], default: str | None) -> list[str | None]:
    """Return each row's country as alpha-2, the default where it says none; None where nobody can read what it says."""
    known = {text: _country_of(text, default) for text in set(texts)}
    return [known[text] for text in texts]


def _country_of(text: str | None, default: str | None) -> str | None:
    if text is None or not text.strip():
        return default
    code = normalize_country(text)
    return code.upper() if isinstance(code, str) and len(code) == _ALPHA_2_LENGTH else None


def _hash_texts(
    field: str, texts: Sequence[str | None], normalize: Callable[[Collection[str]], list[str | DropReason]]
) -> _Column:
    distinct = _list_distinct(texts)
    return _spread(texts, distinct, _write_hashes(field, normalize(distinct)))


def _hash_local_texts(
    field: str,
    texts: Sequence[str | None],
    countries: Sequence[str | None],
    normalize: _LocalNormalizer,
) -> _Column:
    """Hash the texts of each country for themselves, where the field's meaning depends on it."""
    by_country: dict[str | None, list[str | None]] = {country: [] for country in set(countries)}
    for text, country in zip(texts, countries, strict=True):
        by_country[country].append(text)
    columns = {
        country: _hash_texts(field, of_country, partial(normalize, country=country))
        for country, of_country in by_country.items()
    }
    members = {country: iter(column.members) for country, column in columns.items()}
    drops = {country: iter(column.drops or repeat(None)) for country, column in columns.items()}
    has_drops = any(column.drops for column in columns.values())
    return _Column(
        [next(members[country]) for country in countries],
        [next(drops[country]) for country in countries] if has_drops else [],
    )


def _read_ids(
    field: str, values: Sequence[Any], read: Callable[[Collection[Any]], Sequence[str | int | DropReason]]
) -> _Column:
    distinct = _list_distinct(values)
    return _spread(values, distinct, [_write_id(field, checked) for checked in read(distinct)])


def _write_id(field: str, checked: str | int | DropReason) -> str | DropReason:
    """Write what is sent as it is. Checked ids are ASCII without quotes, so JSON needs no escapes."""
    if isinstance(checked, str):
        return f'"{field}":"{checked}",'
    return f'"{field}":{checked},' if isinstance(checked, int) else checked


def _write_hashes(field: str, normalized: Iterable[str | DropReason]) -> list[str | DropReason]:
    head = f'"{field}":["'
    return [
        # What `hash_normalized` does, without the call: there are millions of them.
        f'{head}{sha256(value.encode()).hexdigest()}"],'
        if isinstance(value, str) and len(value) != SHA256_LENGTH
        else _write_hash(head, value)
        for value in normalized
    ]


def _write_hash(head: str, normalized: str | DropReason) -> str | DropReason:
    if not isinstance(normalized, str):
        return normalized
    hashed = hash_normalized(normalized)
    return DropReason.BLANK if hashed == _HASH_OF_NOTHING else f'{head}{hashed}"],'  # somebody hashed a blank


def _list_distinct(values: Iterable[Any]) -> list[Any]:
    distinct = dict.fromkeys(values)
    distinct.pop(None, None)
    return list(distinct)


def _spread(values: Sequence[Any], distinct: Sequence[Any], written: Sequence[str | DropReason]) -> _Column:
    """Put a column together from what was written for each distinct value."""
    members = dict(zip(distinct, written, strict=True))
    reasons = {value: reason.value for value, reason in members.items() if not isinstance(reason, str)}
    members |= dict.fromkeys((None, *reasons), "")
    return _Column(list(map(members.__getitem__, values)), list(map(reasons.get, values)) if reasons else [])


_Click = tuple["str | None", "str | None", "datetime | None"]


def _clicks_of(columns: Mapping[str, Sequence[Any]]) -> list[_Click | None]:
    """Return what each row says of its click: `fbc`, or `fbclid` and the time of the lead; or None."""
    clicks = zip(columns["fbc"], columns["fbclid"], columns["lead_created_at"], strict=True)
    return [
        None if fbc is None and (fbclid is None or created_at is None) else (fbc, fbclid, created_at)
        for fbc, fbclid, created_at in clicks
    ]


def _read_click_id(click: _Click) -> str | DropReason:
    fbc, fbclid, created_at = click
    given = DropReason.BLANK if fbc is None else normalize_fbc(fbc)
    if isinstance(given, str) or fbclid is None or created_at is None:
        return given
    return build_fbc(fbclid, (created_at - _EPOCH) // timedelta(milliseconds=1))
