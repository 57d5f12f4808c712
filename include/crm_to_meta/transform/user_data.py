"""Build the `user_data` of each row from the columns of a shard, and count what was dropped and why.

Every value is hashed but lead_id, fbc and fbp, which Meta wants as they are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from crm_to_meta.models import DropReason
from crm_to_meta.transform.columns import (
    Column,
    RowsByCountry,
    Writer,
    complete_members,
    hash_writer,
    id_writer,
    read_column,
    read_column_by_country,
)
from crm_to_meta.transform.fast_columns import (
    find_plain_emails,
    find_plain_external_ids,
    find_plain_lead_ids,
    find_plain_names,
    find_plain_phones,
    find_plain_zips,
)
from crm_to_meta.transform.fields.birth_dates import DateOrder, normalize_date_of_birth
from crm_to_meta.transform.fields.meta_ids import build_fbc, normalize_fbc, normalize_fbp, normalize_lead_id
from crm_to_meta.transform.fields.names_and_places import (
    normalize_city,
    normalize_country,
    normalize_email,
    normalize_external_id,
    normalize_gender,
    normalize_name,
    normalize_state,
    normalize_zip,
)
from crm_to_meta.transform.fields.phones import normalize_phone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crm_to_meta.pipeline.settings import Pipeline

# "Best Practices": an event whose customer parameters are all within one of these sets is refused (2804050).
UNMATCHABLE_SETS: Final = (
    frozenset({"ct", "country", "st", "zp", "ge"}),
    frozenset({"db"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)
STRONG_FIELDS: Final = ("lead_id", "em", "ph", "fbc", "fbp")  # in none of the sets: most rows have one of these

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHA_2_LENGTH: Final = 2  # a hashed country is longer

FieldCounts = dict[str, Counter[str]]


@dataclass(frozen=True, slots=True)
class UserData:
    """What the rows of a shard identify people by.

    Attributes:
        members: for lead_id and all fields that some row has, in the order of an event: each row's member of
            `user_data` as JSON, empty where the row has none. All but lead_id, the first, have a comma in front.
        is_matchable: for each row, whether Meta can match an event by it at all.
        drops: for those of Meta's fields that were dropped from some row: each row's reason, or None.
        fields: for each of Meta's fields, how many values were usable, and how many were dropped for which reason.
    """

    members: list[list[str]]
    is_matchable: list[bool]
    drops: dict[str, list[str | None]]
    fields: FieldCounts


def build_user_data(columns: Mapping[str, Sequence[Any]], pipeline: Pipeline) -> UserData:
    """Build the `user_data` of each row, and count for each of Meta's fields what was usable and why the rest was not.

    Args:
        columns: the staged columns by name, all of one length; None where a row has no value.
        pipeline: gives default country and the order of dates of birth.
    """
    fields = _read_columns(columns, pipeline)
    counts = {field: column.count() for field, column in fields.items()}
    return UserData(
        members=[column.members for field, column in fields.items() if counts[field]["usable"] or field == "lead_id"],
        is_matchable=_list_matchable(fields),
        drops={
            field: [column.drops.get(row) for row in range(len(column.members))]
            for field, column in fields.items()
            if column.drops
        },
        fields=counts,
    )


def is_matchable(fields: Iterable[str]) -> bool:
    """Say whether Meta can match an event by these parameters at all."""
    present = frozenset(fields)
    return bool(present) and not any(present <= weak for weak in UNMATCHABLE_SETS)


def _list_matchable(fields: Mapping[str, Column]) -> list[bool]:
    strong = [fields[field].members for field in STRONG_FIELDS]
    if any("" not in members for members in strong):
        return [True] * len(strong[0])
    return [
        has_strong or is_matchable(field for field, column in fields.items() if column.members[row])
        for row, has_strong in enumerate(map(any, zip(*strong, strict=True)))
    ]


def _read_columns(columns: Mapping[str, Sequence[Any]], pipeline: Pipeline) -> dict[str, Column]:
    """Read each of Meta's fields, in the order in which an event has them."""
    countries = _group_by_country(columns["country"], pipeline.default_country)
    order = DateOrder[pipeline.date_of_birth_order.upper()]
    return {
        "lead_id": read_column(columns["lead_id"], _write_lead_ids),
        "fbc": read_column(_clicks_of(columns), id_writer("fbc", _read_click_id)),
        "fbp": read_column(columns["fbp"], id_writer("fbp", normalize_fbp)),
        "em": read_column(columns["email"], hash_writer("em", normalize_email, find_plain_emails)),
        "ph": read_column_by_country(columns["phone"], countries, _phone_writer),
        "fn": read_column(columns["first_name"], hash_writer("fn", normalize_name, find_plain_names)),
        "ln": read_column(columns["last_name"], hash_writer("ln", normalize_name, find_plain_names)),
        "ge": read_column(columns["gender"], hash_writer("ge", normalize_gender)),
        "db": read_column(columns["date_of_birth"], hash_writer("db", partial(normalize_date_of_birth, order=order))),
        "ct": read_column(columns["city"], hash_writer("ct", normalize_city)),
        "st": read_column_by_country(columns["state"], countries, _state_writer),
        "zp": read_column_by_country(columns["zip"], countries, _zip_writer),
        "country": read_column(columns["country"], hash_writer("country", normalize_country)),
        "external_id": read_column(
            columns["external_id"], hash_writer("external_id", normalize_external_id, find_plain_external_ids)
        ),
    }


def _group_by_country(texts: Sequence[str | None], default: str | None) -> RowsByCountry:
    """Return the rows of each country (alpha-2). Rows without one have the default; None is for unreadable ones."""
    countries = {text: _country_of(text, default) for text in set(texts)}
    if len(set(countries.values())) == 1:
        return dict.fromkeys(countries.values(), range(len(texts)))
    rows: dict[str | None, list[int]] = {country: [] for country in countries.values()}
    append = {text: rows[country].append for text, country in countries.items()}
    for row, text in enumerate(texts):
        append[text](row)
    return rows


def _country_of(text: str | None, default: str | None) -> str | None:
    if text is None or not text.strip():
        return default
    code = normalize_country(text)
    return code.upper() if isinstance(code, str) and len(code) == _ALPHA_2_LENGTH else None


_Click: TypeAlias = "tuple[str | None, str | None, datetime | None]"


def _clicks_of(columns: Mapping[str, Sequence[Any]]) -> list[_Click | None]:
    """Return each row's click: `fbc`, or `fbclid` and the time when the lead was made; None where it has neither."""
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


def _write_lead_ids(texts: Sequence[str]) -> Column:
    members = [f'"lead_id":{digits}' if digits else "" for digits in find_plain_lead_ids(texts)]
    return complete_members(members, texts, _write_lead_id)


def _write_lead_id(text: str) -> str | DropReason:
    lead_id = normalize_lead_id(text)
    return f'"lead_id":{lead_id}' if isinstance(lead_id, int) else lead_id


def _phone_writer(country: str | None) -> Writer:
    return hash_writer("ph", partial(normalize_phone, country=country), partial(find_plain_phones, country=country))


def _state_writer(country: str | None) -> Writer:
    return hash_writer("st", partial(normalize_state, country=country))


def _zip_writer(country: str | None) -> Writer:
    return hash_writer("zp", partial(normalize_zip, country=country), partial(find_plain_zips, country=country))
