"""Run Great Expectations inside the warehouse, and return counts and queries for the failing rows.

GX's own lists of failing rows are cut off (20 by default) and hold values. So whether a rule is broken comes from GX's
counts, and the failing rows from the very condition that GX counted with, as a query that never leaves the warehouse.
GX's result as a whole is returned, too, without anything that may be a value of a row.
"""

from __future__ import annotations

import copy
import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crm_to_meta.validate import gx_setup  # noqa: F401 - before Great Expectations

# isort: split
import great_expectations as gx
import psycopg
import sqlalchemy as sa
from great_expectations.core.expectation_validation_result import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
)
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.datasource.fluent.interfaces import TestConnectionError
from great_expectations.exceptions.exceptions import GreatExpectationsError
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.validator.metric_configuration import MetricConfiguration
from great_expectations.validator.validator import Validator

from crm_to_meta.errors import ConfigurationError, WarehouseError
from crm_to_meta.warehouse_errors import translated

logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.CRITICAL)  # it sets its own at import

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.expectations.expectation import Expectation

ROW_KEY: Final = "row_no"
_COUNTS_ONLY: Final = {"result_format": "BASIC", "partial_unexpected_count": 0}
_FIGURES: Final = (  # of GX's result for one expectation; all else may be a value
    "element_count", "missing_count", "missing_percent", "unexpected_count", "unexpected_percent",
    "unexpected_percent_total", "unexpected_percent_nonmissing",
)  # fmt: skip
_COUNTED: Final = {  # expectations that observe a number of rows, values or columns, or a share of them
    "expect_table_row_count_to_be_between", "expect_table_row_count_to_equal",
    "expect_table_column_count_to_be_between", "expect_table_column_count_to_equal",
    "expect_column_unique_value_count_to_be_between", "expect_column_proportion_of_unique_values_to_be_between",
    "expect_column_proportion_of_non_null_values_to_be_between",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An expectation to put to the staged rows.

    Attributes:
        expectation: what is expected.
        name: what an error calls it.
        severity: critical, warning or info.
        lists_rows: ask for the failing rows, too.
        from_rows: arguments that came from the data, and so are not shown.
    """

    expectation: Expectation
    name: str
    severity: str
    lists_rows: bool = False
    from_rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What GX says of one expectation: counts, what it observed, and the failing rows as a query where asked for."""

    success: bool
    checked: int
    failed: int
    observed: Any
    failing_rows: sa.Select[int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """An outcome per question, and GX's whole result without values."""

    outcomes: list[Outcome]
    result: ExpectationSuiteValidationResult


def check_table(
    sqlalchemy_url: str, *, schema: str, table: str, questions: Sequence[Question], run_name: str = ""
) -> Answers:
    """Validate a whole table and return an outcome per question, in the order given.

    Args:
        sqlalchemy_url: of the warehouse, password included.
        schema: the table's schema.
        table: the table; it has an integer key `row_no`.
        questions: what to expect of it.
        run_name: what the result is called.

    Raises:
        ConfigurationError: an expectation could not be evaluated (unknown column, wrong type), or GX failed.
        WarehouseError: the warehouse failed for a reason that passes.
    """
    with _noted_failures() as failures:
        try:
            result, ordered, queries = _question_table(sqlalchemy_url, schema=schema, table=table, questions=questions)
        except (
            ConfigurationError, GreatExpectationsError, TestConnectionError, sa.exc.SQLAlchemyError, KeyError,
        ) as error:  # KeyError: GX looks for a metric that it could not compute  # fmt: skip
            raise _explain(error, failures, f"{schema}.{table}") from None
    outcomes = [
        Outcome(
            success=bool(found.success),
            checked=int(found.result.get("element_count", 0)),
            failed=int(found.result.get("unexpected_count") or 0),  # None where there was no row to check
            observed=found.result.get("observed_value"),
            failing_rows=query,
        )
        for found, query in zip(ordered, queries, strict=True)
    ]
    return Answers(outcomes=outcomes, result=_without_values(result, ordered, questions, run_name=run_name))


@contextmanager
def _noted_failures() -> Iterator[list[psycopg.Error]]:
    """Collect what PostgreSQL refuses meanwhile; GX makes texts of it, or nothing at all."""
    failures: list[psycopg.Error] = []

    def note(context: sa.ExceptionContext) -> None:
        if isinstance(context.original_exception, psycopg.Error):
            failures.append(context.original_exception)

    sa.event.listen(sa.Engine, "handle_error", note)
    try:
        yield failures
    finally:
        sa.event.remove(sa.Engine, "handle_error", note)


def _explain(error: Exception, failures: Sequence[psycopg.Error], table: str) -> ConfigurationError | WarehouseError:
    """Return why GX did not get through. A retry helps only where PostgreSQL failed for a reason that passes."""
    refused = [translated(failure, f"Great Expectations on {table}") for failure in failures]
    if passing := [failure for failure in refused if isinstance(failure, WarehouseError)]:
        return passing[0]
    if isinstance(error, ConfigurationError):  # it names the rule
        return error
    if refused:
        return refused[0]
    return ConfigurationError(
        f"Great Expectations failed on {table} ({type(error).__name__}), and the warehouse refused nothing: look at "
        "quality.expectations in the pipeline file, and report this if it has no rules."
    )


def _question_table(
    sqlalchemy_url: str, *, schema: str, table: str, questions: Sequence[Question]
) -> tuple[ExpectationSuiteValidationResult, list[Any], list[sa.Select[int] | None]]:
    """Return GX's result, its parts in the order asked, and queries for failing rows; over a connection of its own."""
    context = quiet_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GX's own PostgreSQL source takes no socket
        source = context.data_sources.add_sql("warehouse", connection_string=sqlalchemy_url)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ... and its sources no schema
            asset = source.add_table_asset(table, table_name=table, schema_name=schema)
        batch_definition = asset.add_batch_definition_whole_table("staged rows")
        result, ordered = _count_failures(context, batch_definition, questions)
        return result, ordered, _failing_rows(batch_definition, questions)
    finally:
        source.get_engine().dispose()


def quiet_context() -> Any:
    """Return a context of GX that keeps its state in memory, and neither logs nor draws progress bars."""
    context = gx.get_context(mode="ephemeral")
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # the context sets its own level
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return context


def _count_failures(
    context: Any, batch_definition: BatchDefinition[Any], questions: Sequence[Question]
) -> tuple[ExpectationSuiteValidationResult, list[Any]]:
    expectations = [_named(question, number) for number, question in enumerate(questions)]
    suite = context.suites.add(gx.ExpectationSuite(name="contract", expectations=expectations))
    ids = [expectation.id for expectation in suite.expectations]
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="staged rows", data=batch_definition, suite=suite)
    )
    result = definition.run(result_format=_COUNTS_ONLY)
    by_id = {found.expectation_config.id: found for found in result.results}
    for question, expectation_id in zip(questions, ids, strict=True):
        _refuse_exception(question, by_id[expectation_id].exception_info)
    return result, [by_id[expectation_id] for expectation_id in ids]


def _named(question: Question, number: int) -> Expectation:
    """Return a copy that differs from all others: a suite takes two that are alike as one."""
    expectation = question.expectation.copy(deep=True)
    expectation.severity = FailureSeverity(question.severity)
    expectation.description = f"{number}: {question.name}"
    return expectation


def _refuse_exception(question: Question, exception_info: dict[str, Any]) -> None:
    infos = [exception_info, *(info for info in exception_info.values() if isinstance(info, dict))]
    if any(info.get("raised_exception") for info in infos):
        raise ConfigurationError(
            f"The rule {question.name} could not be evaluated on the staged rows; check its column and "
            "arguments (docs/data-quality.md: which columns there are, and that most of them are text)."
        )


def _without_values(
    result: ExpectationSuiteValidationResult,
    ordered: Sequence[ExpectationValidationResult],
    questions: Sequence[Question],
    *,
    run_name: str,
) -> ExpectationSuiteValidationResult:
    """Return GX's result with counts and shares alone: what it observed may be a value of a row."""
    return ExpectationSuiteValidationResult(
        success=bool(result.success),
        results=[_figures_of(found, question) for found, question in zip(ordered, questions, strict=True)],
        suite_name=result.suite_name,
        statistics=result.statistics,
        meta={
            "great_expectations_version": gx.__version__,
            "run_id": RunIdentifier(run_name=run_name, run_time=result.meta["run_id"].run_time),
        },
    )


def _figures_of(found: ExpectationValidationResult, question: Question) -> ExpectationValidationResult:
    config: Any = copy.deepcopy(found.expectation_config)
    config.kwargs.pop("batch_id", None)
    for argument in question.from_rows:
        config.kwargs[argument] = [f"{len(config.kwargs[argument])} of them"]
    figures = {name: found.result[name] for name in _FIGURES if name in found.result}
    if config.type in _COUNTED:
        figures["observed_value"] = found.result.get("observed_value")
    return ExpectationValidationResult(success=bool(found.success), expectation_config=config, result=figures)


def _failing_rows(batch_definition: BatchDefinition[Any], questions: Sequence[Question]) -> list[sa.Select[int] | None]:
    batch = batch_definition.get_batch()
    engine: Any = batch.data.execution_engine
    validator = Validator(execution_engine=engine, batches=[batch])
    validator.metrics_calculator.show_progress_bars = False
    return [
        _failing_rows_query(validator, engine, question.expectation) if question.lists_rows else None
        for question in questions
    ]


def _failing_rows_query(validator: Validator, engine: Any, expectation: Any) -> sa.Select[int]:
    """Return the rows that break a row expectation, by the condition that GX itself counts with."""
    dependencies = expectation.get_validation_dependencies(engine, {"result_format": _COUNTS_ONLY})
    counted = dependencies.metric_configurations[f"{expectation.map_metric}.unexpected_count"]
    condition, domain, _ = validator.get_metric(
        MetricConfiguration(
            f"{expectation.map_metric}.condition",
            metric_domain_kwargs=counted.metric_domain_kwargs,
            metric_value_kwargs=counted.metric_value_kwargs,
        )
    )
    records = engine.get_domain_records(domain)
    rows = records.subquery() if isinstance(records, sa.Select) else records
    return sa.select(sa.column(ROW_KEY, sa.Integer)).select_from(rows).where(condition)
