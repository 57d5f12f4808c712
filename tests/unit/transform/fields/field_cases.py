"""What the tests of the fields share: Meta's hashed fields with their functions, and how cases are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crm_to_meta.transform.fields.birth_dates import normalize_date_of_birth
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
    from collections.abc import Callable

    from crm_to_meta.models import DropReason

HASHED: dict[str, Callable[..., str | DropReason]] = {
    "em": normalize_email,
    "ph": normalize_phone,
    "fn": normalize_name,
    "ln": normalize_name,
    "ge": normalize_gender,
    "db": normalize_date_of_birth,
    "ct": normalize_city,
    "st": normalize_state,
    "zp": normalize_zip,
    "country": normalize_country,
    "external_id": normalize_external_id,
}


def cases(*rows: tuple[Any, ...]) -> pytest.MarkDecorator:
    """Parametrise over (text, expected) with the text, made printable, as the id."""
    return pytest.mark.parametrize(("text", "expected"), [pytest.param(*row, id=ascii(row[0])) for row in rows])
