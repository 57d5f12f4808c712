"""Identifiers of a shard's rows: columns of text in, `user_data` of each row out, and counts of what was usable.

Works on whole columns: each distinct value is normalised and hashed once. No value leaves this module except hashed;
lead_id, fbc and fbp are sent as they are, as Meta wants it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from crm_to_meta import normalization as normalize
from crm_to_meta.normalization import DropReason, hash_normalized

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crm_to_meta.pipeline import Pipeline

# "Best Practices": an event whose customer parameters are all within one of these sets is refused (2804050).
UNMATCHABLE_SETS: Final = (
    frozenset({"ct", "country", "st", "zp", "ge"}),
    frozenset({"db"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)

_HASH_OF_NOTHING: Final = hashlib.sha256(b"").hexdigest()

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHA_2_LENGTH: Final = 2  # a hashed country is longer

FieldCounts = dict[str, Counter[str]]


def build_user_data(
    columns: Mapping[str, Sequence[Any]], pipeline: Pipeline
) -> tuple[list[dict[str, Any]], FieldCounts]:
    """Return the `user_data` of each row and, for each of Meta's fields, counts of what was usable or why not.

    Args:
        columns: the staged columns by name, all of one length; None where a row has no value.
        pipeline: gives default country and the order of dates of birth.
    """
    countries = [_country_of(text, pipeline.default_country) for text in columns["country"]]
    order = normalize.DateOrder[pipeline.date_of_birth_order.upper()]
    hashed: dict[str, Sequence[str | int | DropReason | None]] = {
        "em": _hash_column(columns["email"], normalize.normalize_email),
        "ph": _hash_pairs(columns["phone"], countries, normalize.normalize_phone),
        "fn": _hash_column(columns["first_name"], normalize.normalize_name),
        "ln": _hash_column(columns["last_name"], normalize.normalize_name),
        "ge": _hash_column(columns["gender"], normalize.normalize_gender),
        "db": _hash_column(columns["date_of_birth"], partial(normalize.normalize_date_of_birth, order=order)),
        "ct": _hash_column(columns["city"], normalize.normalize_city),
        "st": _hash_pairs(columns["state"], countries, normalize.normalize_state),
        "zp": _hash_pairs(columns["zip"], countries, normalize.normalize_zip),
        "country": _hash_column(columns["country"], normalize.normalize_country),
        "external_id": _hash_column(columns["external_id"], normalize.normalize_external_id),
    }
    plain: dict[str, Sequence[str | int | DropReason | None]] = {
        "lead_id": _apply(columns["lead_id"], normalize.normalize_lead_id),
        "fbc": _click_ids(columns["fbc"], columns["fbclid"], columns["lead_created_at"]),
        "fbp": _apply(columns["fbp"], normalize.normalize_fbp),
    }
    counts = {field: _count(values) for field, values in (plain | hashed).items()}
    return _assemble(plain, hashed), counts


def is_matchable(user_data: Mapping[str, Any]) -> bool:
    """Say whether Meta can match an event by these parameters at all."""
    fields = user_data.keys()
    return bool(fields) and not any(fields <= weak for weak in UNMATCHABLE_SETS)


def _assemble(plain: Mapping[str, Sequence[Any]], hashed: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{} for _ in plain["lead_id"]]
    for field, values in plain.items():
        for row, value in zip(rows, values, strict=True):
            if isinstance(value, (str, int)):
                row[field] = value
    for field, values in hashed.items():
        for row, value in zip(rows, values, strict=True):
            if isinstance(value, str):
                row[field] = [value]
    return rows


def _country_of(text: str | None, default: str | None) -> str | None:
    """Return the row's country as alpha-2, the default where it says none; None where it says one nobody can read."""
    if text is None or not text.strip():
        return default
    code = normalize.normalize_country(text)
    return code.upper() if isinstance(code, str) and len(code) == _ALPHA_2_LENGTH else None


def _apply(values: Sequence[str | None], function: Callable[[str], Any]) -> list[Any]:
    results = {value: function(value) for value in set(values) if value is not None}
    return [None if value is None else results[value] for value in values]


def _hash_column(
    values: Sequence[str | None], function: Callable[[str], str | DropReason]
) -> list[str | DropReason | None]:
    return _apply(values, lambda value: _hashed(function(value)))


def _hash_pairs(
    values: Sequence[str | None],
    countries: Sequence[str | None],
    function: Callable[[str, str | None], str | DropReason],
) -> list[str | DropReason | None]:
    """Like `_hash_column` for fields whose meaning depends on the row's country."""
    pairs = list(zip(values, countries, strict=True))
    results = {
        (value, country): _hashed(function(value, country)) for value, country in set(pairs) if value is not None
    }
    return [None if value is None else results[value, country] for value, country in pairs]


def _hashed(normalized: str | DropReason) -> str | DropReason:
    if not isinstance(normalized, str):
        return normalized
    hashed = hash_normalized(normalized)
    return DropReason.BLANK if hashed == _HASH_OF_NOTHING else hashed  # somebody hashed a blank before us


def _click_ids(
    fbcs: Sequence[str | None], fbclids: Sequence[str | None], created: Sequence[datetime | None]
) -> list[str | DropReason | None]:
    return [_click_id(*row) for row in zip(fbcs, fbclids, created, strict=True)]


def _click_id(fbc: str | None, fbclid: str | None, created_at: datetime | None) -> str | DropReason | None:
    if fbc is not None and isinstance(given := normalize.normalize_fbc(fbc), str):
        return given
    if fbclid is None or created_at is None:
        return None if fbc is None else normalize.normalize_fbc(fbc)
    return normalize.build_fbc(fbclid, (created_at - _EPOCH) // timedelta(milliseconds=1))


def _count(values: Sequence[Any]) -> Counter[str]:
    kinds = Counter(
        type(value) if not isinstance(value, DropReason) else value for value in values if value is not None
    )
    counts: Counter[str] = Counter()
    for kind, number in kinds.items():
        counts[kind.value if isinstance(kind, DropReason) else "usable"] += number
    return counts
