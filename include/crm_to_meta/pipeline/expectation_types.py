"""The expectations of Great Expectations and their arguments, read from the schema files that it comes with.

Importing Great Expectations takes seconds, far too long for the parsing of a DAG file; reading a JSON file does not.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLUMN_ARGUMENTS: Final = ("column", "column_A", "column_B", "column_list", "column_set")
_NOT_ARGUMENTS: Final = {  # of every expectation; what is not the suite's own is set by this project
    "id", "meta", "notes", "result_format", "description", "catch_exceptions", "rendered_content", "severity",
    "windows", "batch_id", "metadata", "library_metadata",
}  # fmt: skip
_NEEDS_OTHER_DATA: Final = {"expect_query_results_to_match_comparison", "expect_table_row_count_to_equal_other_table"}
_NOT_ROW_BY_ROW: Final = {  # called maps over rows, but they compare rows with each other or look at the column's type
    "expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique",
    "expect_column_value_z_scores_to_be_less_than", "expect_column_values_to_not_be_outliers",
    "expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list",
}  # fmt: skip


def check(name: str, arguments: Mapping[str, Any], *, columns: Sequence[str], must_be_about_rows: bool) -> None:
    """Check that an expectation can be part of the suite.

    Args:
        name: type of the expectation, such as expect_column_values_to_be_in_set.
        arguments: its arguments by name.
        columns: the columns that there are.
        must_be_about_rows: refuse expectations that judge a column or the batch as a whole.

    Raises:
        ValueError: unknown type, argument or column, or an argument is missing; says which there are.
    """
    known = _types()
    if name not in known:
        raise ValueError(f"there is no expectation {name!r} for PostgreSQL{_hint(name, known)}")
    schema = _schema(known[name])
    allowed = sorted(set(schema["properties"]) - _NOT_ARGUMENTS)
    if unknown := sorted(set(arguments) - set(allowed)):
        raise ValueError(f"{name} has no argument {unknown[0]!r}; it takes {', '.join(allowed)}")
    if missing := [argument for argument in schema.get("required", ()) if argument not in arguments]:
        raise ValueError(f"{name} needs the argument {missing[0]!r}")
    if absent := [column for column in _columns_of(arguments) if column not in columns]:
        raise ValueError(f"there is no column {absent[0]!r}; columns are {', '.join(columns)}")
    if must_be_about_rows and (name in _NOT_ROW_BY_ROW or not _is_about_rows(schema)):
        raise ValueError(f"{name} does not judge each row for itself, so `quarantine` has nothing to keep back")


@cache
def _types() -> dict[str, str]:
    """Return the file of each expectation that works in PostgreSQL, by the expectation's type."""
    index = json.loads((_schema_folder() / "index.json").read_text(encoding="utf-8"))["expectations"]
    return {
        name: entry["schema_file"]
        for name, entry in index.items()
        if "PostgreSQL" in entry["supported_data_sources"] and name not in _NEEDS_OTHER_DATA
    }


@cache
def _schema(file_name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((_schema_folder() / file_name).read_text(encoding="utf-8"))
    return schema


def _schema_folder() -> Path:
    spec = find_spec("great_expectations")  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("Great Expectations is not installed; install requirements.txt")
    return Path(spec.submodule_search_locations[0], "expectations", "core", "schemas")


def _is_about_rows(schema: Mapping[str, Any]) -> bool:
    return str(schema["properties"]["metadata"]["properties"]["domain_type"]["description"]).endswith("Map")


def _columns_of(arguments: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for value in (arguments[name] for name in _COLUMN_ARGUMENTS if name in arguments):
        found += value if isinstance(value, list) else [value]
    return found


def _hint(name: str, known: Mapping[str, str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
