"""Whatever the usage headers hold, it is read or says nothing; minutes and seconds are told apart."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_to_meta.meta.usage import AD_ACCOUNT, APP, BUSINESS, NO_USAGE, Usage, read_usage


def usage_of(**headers: Any) -> Usage:
    """Read headers given by their short names."""
    names = {"app": APP, "business": BUSINESS, "account": AD_ACCOUNT}
    return read_usage({names[name]: json.dumps(value) for name, value in headers.items()})


@pytest.mark.parametrize(
    ("headers", "usage"),
    [
        ({"app": {"call_count": 28, "total_time": 25, "total_cputime": 40}}, Usage(percent=40)),
        ({"business": {"12": [{"call_count": 80, "estimated_time_to_regain_access": 0}]}}, Usage(percent=80)),
        (
            {"business": {"12": [{"call_count": 100, "estimated_time_to_regain_access": 19}]}},
            Usage(percent=100, blocked_s=19 * 60),
        ),
        ({"business": {"1": [{"call_count": 5}, {"total_time": 9}], "2": [{"call_count": 7}]}}, Usage(percent=9)),
        ({"account": {"acc_id_util_pct": 9.67, "reset_time_duration": 100}}, Usage(percent=9.67)),
        ({"account": {"acc_id_util_pct": 100, "reset_time_duration": 100}}, Usage(percent=100, blocked_s=100)),
        ({"app": {"call_count": 3}, "account": {"acc_id_util_pct": 60}}, Usage(percent=60)),
        ({}, NO_USAGE),
    ],
)
def test_the_fullest_limit_counts(headers: dict[str, Any], usage: Usage) -> None:
    """Of all headers, ids and members the highest share decides; a reset time blocks only where the limit is met."""
    assert usage_of(**headers) == usage


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "5", "null", '{"call_count": true}', '{"call_count": "99"}', '{"call_count": NaN}', "[" * 9999,
     '{"call_count": -5}', '{"1": [5, null, "x"]}', '{"call_count": 1e999}', '{"call_count": ' + "9" * 400 + "}"],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_a_header_that_is_odd_says_nothing(text: str) -> None:
    """Nothing raises, and nothing is blocked by a mistake."""
    assert read_usage({APP: text, BUSINESS: text, AD_ACCOUNT: text}) == NO_USAGE


@given(text=st.text() | st.recursive(st.none() | st.floats() | st.integers() | st.booleans(), lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["call_count", "estimated_time_to_regain_access", "1"]), inner, max_size=3)
)).map(json.dumps))  # fmt: skip
def test_whatever_comes_is_a_share_and_a_pause(text: str) -> None:
    """Both are numbers from 0 on, and a pause has an end."""
    usage = read_usage({BUSINESS: text})

    assert usage.percent >= 0
    assert 0 <= usage.blocked_s <= 24 * 3600
