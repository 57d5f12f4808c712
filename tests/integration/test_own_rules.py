"""Rules of a pipeline file's own: any expectation of Great Expectations, with a severity, and no Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from daily_run import assert_conserved

from crm_to_meta.errors import BatchRefusedError, DeliveryIncompleteError, PipelineFileError
from crm_to_meta.pipeline.settings import load_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from daily_run import Company, Row

EURO = {
    "type": "expect_column_values_to_be_in_set",
    "kwargs": {"column": "currency", "value_set": ["EUR"]},
    "description": "prices are in euro",
}
EXAMPLE_OF_THE_DOCS = """
start_date: 2026-01-01
stages: {new: Lead, won: Converted}
quality:
  expectations:
    - type: expect_column_values_to_be_in_set
      kwargs: {column: currency, value_set: [EUR, USD]}
      quarantine: true
      description: prices are in euro or dollar
    - type: expect_column_values_to_match_regex
      kwargs: {column: email, regex: "@", mostly: 0.9}
      severity: warning
    - type: expect_column_distinct_values_to_contain_set
      kwargs: {column: stage, value_set: [new]}
      severity: critical
"""


def own_lines(company: Company) -> list[Row]:
    """Return what is on record of rules of one's own."""
    return company.select("SELECT * FROM capi.quality WHERE reason = 'own_rule' ORDER BY position")


def test_quarantine_keeps_the_failing_rows_back(company: Company) -> None:
    """With `quarantine` each failing row is held back, with a reason; the others go on."""
    company.configure(quality={"expectations": [{**EURO, "quarantine": True}]})
    company.record(
        company.transition(transition_id="euro", value=1, currency="EUR"),
        company.transition(transition_id="dollar", value=1, currency="USD"),
        company.transition(transition_id="free"),
    )
    day = company.run_day()
    (line,) = own_lines(company)

    assert day.errors == []
    assert company.outcomes() == {
        "euro": ("delivered", None), "free": ("delivered", None), "dollar": ("quarantined", "own_rule"),
    }  # fmt: skip
    assert (line["description"], line["severity"], line["checked"], line["failed"], line["column_name"]) == (
        "prices are in euro", "warning", 3, 1, "currency",
    )  # fmt: skip
    assert_conserved(company, day.run_key)


def test_a_row_that_breaks_the_contract_keeps_the_contracts_reason(company: Company) -> None:
    """Rules of one's own come last."""
    company.configure(quality={"expectations": [{**EURO, "quarantine": True}]})
    company.record(company.transition(transition_id="t", lead_id="12", value=1, currency="USD"))
    company.run_day()

    assert company.outcomes() == {"t": ("quarantined", "lead_id_invalid")}


def test_a_quarantined_row_goes_out_when_the_rule_is_gone(company: Company) -> None:
    """The file has changed: rows that were held back are judged again."""
    company.configure(quality={"expectations": [{**EURO, "quarantine": True}]})
    company.record(company.transition(transition_id="dollar", value=1, currency="USD"))
    company.run_day()
    company.configure(quality={"expectations": []})
    company.run_day()

    assert company.outcomes() == {"dollar": ("delivered", None)}


@pytest.mark.parametrize("severity", ["critical", "warning", "info"])
def test_severity_decides_without_quarantine(company: Company, severity: str) -> None:
    """Without `quarantine` no row is held back: critical stops all, warning and info let all go on."""
    company.configure(quality={"expectations": [{**EURO, "severity": severity}]})
    company.record(company.transition(value=1, currency="USD"), company.transition(value=1, currency="EUR"))
    day = company.run_day()
    (line,) = own_lines(company)

    assert (line["severity"], line["failed"], line["success"], line["observed"]) == (
        severity, 1, False, "50.0% of the rows",
    )  # fmt: skip
    if severity == "critical":
        assert day.error_types == [BatchRefusedError, DeliveryIncompleteError]
        assert "own_rule (prices are in euro; here: 50.0% of the rows)" in str(day.errors[0])
        assert company.statuses() == {"pending": 2}
    else:
        assert day.errors == []
        assert company.statuses() == {"delivered": 2}


ROW_RULES: dict[str, dict[str, Any]] = {
    "expect_column_values_to_match_regex_list": {"column": "email", "regex_list": ["^a@", "^c@"], "match_on": "any"},
    "expect_column_values_to_not_match_like_pattern": {"column": "email", "like_pattern": "b@%"},
    "expect_column_value_lengths_to_equal": {"column": "first_name", "value": 3},
    "expect_column_values_to_be_null": {"column": "gender"},
    "expect_column_pair_values_to_be_equal": {"column_A": "first_name", "column_B": "country"},
    "expect_select_column_values_to_be_unique_within_record": {"column_list": ["first_name", "gender"]},
    "expect_column_values_to_not_be_in_set": {
        "column": "country", "value_set": ["Bob"],
        "row_condition": {"type": "nullity", "column": {"name": "country"}, "is_null": False},
    },
}  # fmt: skip


@pytest.mark.sweep(keep=3)
@pytest.mark.parametrize(("name", "kwargs"), ROW_RULES.items(), ids=ROW_RULES.keys())
def test_many_kinds_of_rules_hold_rows_back(company: Company, name: str, kwargs: dict[str, Any]) -> None:
    """Whatever looks at rows one by one can hold them back: exactly as many as Great Expectations counts."""
    company.configure(quality={"expectations": [{"type": name, "kwargs": kwargs, "quarantine": True}]})
    company.record(
        company.transition(email="a@example.com", first_name="Ann", gender=None, country="Ann"),
        company.transition(email="b@example.com", first_name="Robert", gender="Robert", country="Bob"),
        company.transition(email="b@example.com", first_name="Robert", gender="Robert", country="Bob"),
    )
    day = company.run_day()

    assert day.errors == []
    assert [line["failed"] for line in own_lines(company)] == [2]
    assert {row["reason"] for row in company.ledger().values() if row["status"] == "quarantined"} == {"own_rule"}
    assert company.statuses() == {"delivered": 1, "quarantined": 2}


BATCH_RULES: dict[str, dict[str, Any]] = {
    "expect_compound_columns_to_be_unique": {"column_list": ["stage", "opted_out"]},
    "expect_column_distinct_values_to_be_in_set": {"column": "stage", "value_set": ["won"]},
    "expect_column_unique_value_count_to_be_between": {"column": "email", "min_value": 5},
    "expect_column_max_to_be_between": {"column": "event_time", "min_value": "2100-01-01"},
    "expect_column_most_common_value_to_be_in_set": {"column": "email", "value_set": ["nobody"]},
    "expect_table_row_count_to_equal": {"value": 3},
    "unexpected_rows_expectation": {"unexpected_rows_query": "SELECT * FROM {batch} WHERE email IS NOT NULL"},
}


@pytest.mark.sweep(keep=3)
@pytest.mark.parametrize(("name", "kwargs"), BATCH_RULES.items(), ids=BATCH_RULES.keys())
def test_many_kinds_of_rules_judge_the_batch(company: Company, name: str, kwargs: dict[str, Any]) -> None:
    """Rules about a column or the whole batch are judged, and what they saw in it is not repeated anywhere."""
    company.configure(quality={"expectations": [{"type": name, "kwargs": kwargs}]})
    company.record(company.transition(email="ada.lovelace@example.com"), company.transition(email="ada@example.org"))
    day = company.run_day()
    (line,) = own_lines(company)
    result = company.select("SELECT result FROM capi.quality_result")[0]["result"]

    assert day.errors == []
    assert (line["expectation"], line["success"]) == (name, False)
    assert company.run_row(day.run_key)["quality_verdict"] == "warned"
    assert not [value for value in ("ada.", "ada@", "example") if value in json.dumps(result) + repr(line)]
    assert {entry["expectation_config"]["type"] for entry in result["results"]} >= {name}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"value_set": 7}, "its argument `value_set` as"),
        ({"value_set": ["new"], "row_condition": "((", "condition_parser": "great_expectations"}, "its arguments as"),
    ],
    ids=["type", "row_condition"],
)
def test_arguments_that_great_expectations_refuses_are_told(company: Company, wrong: dict[str, Any], told: str) -> None:
    """What only Great Expectations can tell is told by file, key and argument, before anything is judged."""
    rule = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "stage", **wrong}}
    company.configure(quality={"expectations": [EURO, rule]})
    company.record_sound(1)
    run_key = company.extract().run_key

    with pytest.raises(PipelineFileError, match=rf"key `quality\.expectations\.1\.kwargs`: .* {told}"):
        company.validate(run_key)
    assert company.statuses() == {"pending": 1}


def test_the_example_of_the_docs_works(company: Company, tmp_path: Path) -> None:
    """What docs/data-quality.md shows can be copied."""
    path = tmp_path / f"{company.pipeline.name}.yaml"
    path.write_text(EXAMPLE_OF_THE_DOCS, encoding="utf-8")
    company.pipeline = load_pipeline(path)
    company.record(company.transition(value=1, currency="GBP"), company.transition())
    day = company.run_day()

    assert day.errors == []
    assert [line["success"] for line in own_lines(company)] == [False, True, True]
