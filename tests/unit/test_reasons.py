from __future__ import annotations

import re

import pytest

from crm_to_meta.models import BatchReason, DropReason, Reason
from crm_to_meta.reasons import (
    APP_SECRET_REFUSED,
    BATCH_TEXTS,
    DATASET_UNSEEN,
    DROP_TEXTS,
    META_TEXTS,
    PERMISSION_MISSING,
    REASON_TEXTS,
    TOKEN_EXPIRED,
    TOKEN_OWNER,
    TOKEN_REFUSED,
    VERSION_GONE,
    ReasonText,
    explain_drop,
    explain_reason,
    explain_stop,
)

ALL_TEXTS = [
    *REASON_TEXTS.values(),
    *BATCH_TEXTS.values(),
    *META_TEXTS.values(),
    TOKEN_REFUSED,
    PERMISSION_MISSING,
    VERSION_GONE,
    DATASET_UNSEEN,
]


def test_every_reason_has_its_words() -> None:
    """No reason is without a meaning and a remedy."""
    assert set(REASON_TEXTS) == set(Reason)
    assert set(BATCH_TEXTS) == set(BatchReason)
    assert not set(BatchReason) & set(Reason)


def test_every_drop_reason_has_its_words() -> None:
    """No reason for leaving a value out is without words."""
    assert set(DROP_TEXTS) == set(DropReason)


@pytest.mark.parametrize("text", ALL_TEXTS, ids=lambda text: text.meaning[:30])
def test_words_are_whole_sentences(text: ReasonText) -> None:
    """Meaning and remedy are sentences, and code in them stands between a pair of backticks."""
    for sentence in (text.meaning, text.remedy):
        assert re.fullmatch(r"[A-Z].*\.", sentence)
        assert sentence.count("`") % 2 == 0


@pytest.mark.parametrize("number", META_TEXTS)
def test_known_codes_of_metas_have_their_own_words(number: int) -> None:
    """A described code of Meta's is explained by its own words."""
    assert explain_reason(f"meta_{number}") is META_TEXTS[number]


@pytest.mark.parametrize("code", ["meta_0", "meta_2804999", "meta_99999999999999999999"])
def test_other_codes_of_metas_are_named(code: str) -> None:
    """A code of Meta's that nobody has described is still explained, with its number."""
    assert code.removeprefix("meta_") in explain_reason(code).meaning


def test_a_reason_of_another_version_is_no_error() -> None:
    """A reason that this version does not know has a text, too."""
    assert explain_reason("not_yet_invented").remedy


@pytest.mark.parametrize(
    ("stop_reason", "text"),
    [
        ("auth_190", TOKEN_REFUSED),
        ("auth_190_463", TOKEN_EXPIRED),
        ("auth_190_460", TOKEN_OWNER),
        ("auth_102", TOKEN_REFUSED),
        ("auth_200", PERMISSION_MISSING),
        ("auth_10", PERMISSION_MISSING),
        ("configuration_2635", VERSION_GONE),
        ("configuration_100_33", DATASET_UNSEEN),
        ("configuration_100", APP_SECRET_REFUSED),
    ],
)
def test_what_stopped_a_run_is_explained(stop_reason: str, text: ReasonText) -> None:
    """Token, permission, version and dataset each have their own remedy."""
    assert explain_stop(stop_reason) is text


def test_an_unknown_stop_is_told_as_it_is() -> None:
    """A code that nobody has described is named; no other cause is put in its place."""
    text = explain_stop("unheard_of_4711")

    assert "unheard_of_4711" in text.meaning
    assert "dataset" not in text.meaning + text.remedy


def test_an_unknown_drop_reason_is_readable() -> None:
    """A reason for leaving a value out that this version does not know is shown in words."""
    assert explain_drop("too_long") == "too long"
