"""What may stand under `quality.expectations` is what Great Expectations has, told without importing it."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import Any

import pytest

from crm_to_meta.pipeline import expectation_types
from crm_to_meta.pipeline.settings import PIPELINES_FOLDER, RULE_COLUMNS

IN_SET = "expect_column_values_to_be_in_set"


def refusal_of(name: str, *, about_rows: bool = False, **arguments: Any) -> str:
    """Return why an expectation is refused."""
    with pytest.raises(ValueError, match=r"\w") as refusal:
        expectation_types.check(name, arguments, columns=RULE_COLUMNS, must_be_about_rows=about_rows)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (IN_SET, {"column": "currency", "value_set": ["EUR"]}),
        (IN_SET, {"column": "event_name", "value_set": ["Lead"], "mostly": 0.9, "row_condition": 'col("x").notNull()'}),
        ("expect_column_pair_values_to_be_equal", {"column_A": "city", "column_B": "state"}),
        ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["lead_id", "stage"]}),
    ],
)
def test_a_sound_rule_passes(name: str, arguments: dict[str, Any]) -> None:
    """Known type, arguments and columns are all that is asked for."""
    expectation_types.check(name, arguments, columns=RULE_COLUMNS, must_be_about_rows=True)


def test_an_unknown_expectation_is_told_with_the_nearest_one() -> None:
    """Who mistypes a name gets the right one."""
    assert refusal_of("expect_column_values_to_be_in_sett").endswith(f"did you mean {IN_SET}?")
    assert refusal_of("no_such_thing") == "there is no expectation 'no_such_thing' for PostgreSQL"


def test_an_unknown_argument_is_told_with_those_that_there_are() -> None:
    """How results are formatted is no argument: it decides whether values get out."""
    said = refusal_of(IN_SET, column="currency", value_set=["EUR"], result_format="COMPLETE")

    assert said == (
        f"{IN_SET} has no argument 'result_format'; it takes column, condition_parser, mostly, row_condition, value_set"
    )


def test_a_missing_argument_is_told() -> None:
    """An expectation without its column is none."""
    assert refusal_of(IN_SET, value_set=["EUR"]) == f"{IN_SET} needs the argument 'column'"


@pytest.mark.parametrize("place", [{"column": "e_mail"}, {"column_list": ["email", "e_mail"]}], ids=["one", "several"])
def test_an_unknown_column_is_told_with_those_that_there_are(place: dict[str, Any]) -> None:
    """Columns have the names of the source contract, whatever the source calls them."""
    name = IN_SET if "column" in place else "expect_compound_columns_to_be_unique"
    said = refusal_of(name, **place, **({"value_set": ["x"]} if "column" in place else {}))

    assert said == f"there is no column 'e_mail'; columns are {', '.join(RULE_COLUMNS)}"


def test_only_rows_are_kept_back() -> None:
    """An expectation about a whole column says nothing about a row of it."""
    about_the_column = refusal_of(
        "expect_column_unique_value_count_to_be_between", about_rows=True, column="stage", min_value=2
    )
    about_other_rows = refusal_of("expect_column_values_to_be_unique", about_rows=True, column="email")

    assert "does not judge each row for itself" in about_the_column
    assert "does not judge each row for itself" in about_other_rows


def test_data_outside_the_batch_is_not_asked_for() -> None:
    """There is one data source: the staged rows."""
    assert "there is no expectation" in refusal_of("expect_table_row_count_to_equal_other_table", other_table_name="x")


def test_great_expectations_is_not_imported_for_it() -> None:
    """The import takes seconds, which a DAG file must not."""
    code = (
        "import sys; from crm_to_meta.pipeline.settings import OwnRule;"
        f"OwnRule(type='{IN_SET}', kwargs={{'column': 'currency', 'value_set': ['EUR']}});"
        "sys.exit('great_expectations' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(PIPELINES_FOLDER.parent)}

    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0


@pytest.mark.parametrize("name", sorted(expectation_types._types()))
def test_what_is_listed_is_there(name: str) -> None:
    """Each listed expectation is one that Great Expectations knows by that name, arguments included."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from great_expectations.expectations.registry import get_expectation_impl
    fields = get_expectation_impl(name).__fields__
    listed = set(expectation_types._schema(expectation_types._types()[name])["properties"])

    assert listed - {"metadata", "library_metadata"} <= set(fields)
