"""Names and ids that look like personal data are kept back; plain ids are not."""

from __future__ import annotations

import pytest

from crm_to_meta.report.personal import is_personal_id, is_personal_name


@pytest.mark.parametrize(
    "transition_id",
    [
        "ada@example.org",
        "ada%40example.org-won",
        "won|ada@example.org|2026-11-24",
        "+493090182012",
        "won +49 30 901820-12",
        "(030) 901820",
        "030 90182012",
        "call 555 0134 77",
        "555-013-4777/won",
        "2026-11-24 10:00:00|+49 170 1234567",
    ],
)
def test_an_id_that_holds_an_address_or_a_phone_is_hidden(transition_id: str) -> None:
    """A phone is a number that is written as people write phones."""
    assert is_personal_id(transition_id)


@pytest.mark.parametrize(
    "transition_id",
    [
        "17",
        "493090182012",
        "-123456789",
        "550e8400-e29b-41d4-a716-446655440000",
        "d41d8cd98f00b204e9800998ecf8427e",
        "lead-000123-2",
        "20261124-0001-7",
        "1234567890/2026-11-24",
        "17|2026-11-24 10:00:00",
        "17|2026-11-24T10:00:00.123+02:00",
        "t 00001",
        "=1+1",
    ],
)
def test_an_id_that_is_only_an_id_is_shown(transition_id: str) -> None:
    """Numbers, UUIDs, hashes and ids with a time in them are what CRMs have."""
    assert not is_personal_id(transition_id)


@pytest.mark.parametrize("name", ["ada@example.org", "+49 (30) 901820-12", "call 555-0134-77", "4930901820"])
def test_a_stage_with_a_long_number_is_hidden(name: str) -> None:
    """Stages are words: any long number in one is taken for a phone."""
    assert is_personal_name(name)


@pytest.mark.parametrize("name", ["new", "stage 12", "2. call", "Q4 2026"])
def test_a_stage_with_a_short_number_is_shown(name: str) -> None:
    """Few digits are no phone."""
    assert not is_personal_name(name)
