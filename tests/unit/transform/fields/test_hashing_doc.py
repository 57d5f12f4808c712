"""docs/hashing.md tells what the code does: each example of its table is tried out, each reason has its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from field_cases import HASHED

from crm_to_meta.models import DropReason

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "hashing.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    rf"^\| ({'|'.join(HASHED)}) \| `([^`]+)`(?: \(([^)]+)\))? \| (?:`([^`]+)`|\*([a-z0-9_]+)\*) \|",
    PAGE,
    re.MULTILINE,
)


def read_escapes(text: str) -> str:
    """Read what the page writes as an escape, since nobody would see it."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)


def test_every_field_has_an_example() -> None:
    """And no line of the table is passed over."""
    assert {field for field, *_ in EXAMPLES} == set(HASHED)
    assert len(EXAMPLES) == len(re.findall(r"^\| [a-z_]+ \| `", PAGE, re.MULTILINE))


@pytest.mark.parametrize(("field", "text", "country", "normalized", "reason"), EXAMPLES, ids=ascii)
def test_an_example_is_what_the_code_does(field: str, text: str, country: str, normalized: str, reason: str) -> None:
    """The normal form, or the reason to leave it out."""
    result = HASHED[field](read_escapes(text), *([country] if country else []))

    assert result == (DropReason(reason) if reason else normalized)


@pytest.mark.parametrize("reason", DropReason, ids=lambda reason: reason.value)
def test_every_reason_has_its_line(reason: DropReason) -> None:
    """Whoever meets a reason in a report finds it here."""
    assert f"\n| `{reason.value}` | " in PAGE
