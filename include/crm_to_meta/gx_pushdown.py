"""Great Expectations inside the warehouse: expectations in, counts and a query for the failing rows out.

GX's own lists of failing rows are cut off (20 by default) and hold values. So a rule's verdict comes from its counts,
and its failing rows from the very condition that GX counted with, as a query that never leaves the warehouse.
"""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read at import
logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # 200 lines at import; its errors quote values

import great_expectations as gx  # noqa: E402 - after the two lines above
import sqlalchemy as sa  # noqa: E402
from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: E402
from great_expectations.datasource.fluent.interfaces import TestConnectionError  # noqa: E402
from great_expectations.exceptions.exceptions import GreatExpectationsError  # noqa: E402
from great_expectations.expectations.expectation import (  # noqa: E402
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    MulticolumnMapExpectation,
)
from great_expectations.validator.metric_configuration import MetricConfiguration  # noqa: E402
from great_expectations.validator.validator import Validator  # noqa: E402

from crm_to_meta.errors import ConfigurationError, WarehouseError  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.expectations.expectation import Expectation

ROW_KEY: Final = "row_no"
_ROW_EXPECTATIONS: Final = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
_COUNTS_ONLY: Final = {"result_format": "BASIC", "partial_unexpected_count": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What GX says of one expectation: counts, and the failing rows as a query (None for rules about a batch)."""

    success: bool
    checked: int
    failed: int
    failing_rows: sa.Select[int] | None


def check_table(sqlalchemy_url: str, *, schema: str, table: str, expectations: Sequence[Expectation]) -> list[Outcome]:
    """Validate a whole table and return an outcome per expectation, in the order given.

    Args:
        sqlalchemy_url: of the warehouse, password included.
        schema: the table's schema.
        table: the table; it has an integer key `row_no`.
        expectations: what to expect of it.

    Raises:
        ConfigurationError: an expectation could not be evaluated (unknown column, wrong type).
        WarehouseError: the table could not be read at all.
    """
    try:
        counts, conditions = _question_table(sqlalchemy_url, schema=schema, table=table, expectations=expectations)
    except (GreatExpectationsError, TestConnectionError, sa.exc.SQLAlchemyError, KeyError) as error:
        # KeyError: GX looks for a metric that it could not compute.
        raise WarehouseError(
            f"Great Expectations could not read {schema}.{table} ({type(error).__name__}): the warehouse went away, or "
            "the table did; the warehouse's server log has the full message."
        ) from None
    return [
        Outcome(
            success=bool(result["success"]),
            checked=int(result["result"].get("element_count", 0)),
            failed=int(result["result"].get("unexpected_count") or 0),  # None where there was no row to check
            failing_rows=query,
        )
        for result, query in zip(counts, conditions, strict=True)
    ]


def _question_table(
    sqlalchemy_url: str, *, schema: str, table: str, expectations: Sequence[Expectation]
) -> tuple[list[Any], list[sa.Select[int] | None]]:
    """Return GX's counts and the queries for the failing rows, over a connection of its own."""
    context = gx.get_context(mode="ephemeral")
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # the context sets its own level
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GX's own PostgreSQL source takes no socket
        source = context.data_sources.add_sql("warehouse", connection_string=sqlalchemy_url)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ... and its sources no schema
            asset = source.add_table_asset(table, table_name=table, schema_name=schema)
        batch_definition = asset.add_batch_definition_whole_table("staged rows")
        counts = _count_failures(context, batch_definition, expectations)
        return counts, _failing_rows(batch_definition, expectations)
    finally:
        source.get_engine().dispose()


def _count_failures(
    context: Any, batch_definition: BatchDefinition[Any], expectations: Sequence[Expectation]
) -> list[Any]:
    suite = context.suites.add(gx.ExpectationSuite(name="contract"))
    ids = [suite.add_expectation(expectation.copy(deep=True)).id for expectation in expectations]
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="staged rows", data=batch_definition, suite=suite)
    )
    results = {result.expectation_config.id: result for result in definition.run(result_format=_COUNTS_ONLY).results}
    for expectation, expectation_id in zip(expectations, ids, strict=True):
        _refuse_exception(expectation, results[expectation_id].exception_info)
    return [results[expectation_id] for expectation_id in ids]


def _refuse_exception(expectation: Expectation, exception_info: dict[str, Any]) -> None:
    infos = [exception_info, *(info for info in exception_info.values() if isinstance(info, dict))]
    if any(info.get("raised_exception") for info in infos):
        raise ConfigurationError(
            f"The expectation {type(expectation).__name__} could not be evaluated on the staged rows; "
            "check its column and arguments (README.md, Source contract)."
        )


def _failing_rows(
    batch_definition: BatchDefinition[Any], expectations: Sequence[Expectation]
) -> list[sa.Select[int] | None]:
    batch = batch_definition.get_batch()
    engine: Any = batch.data.execution_engine
    validator = Validator(execution_engine=engine, batches=[batch])
    validator.metrics_calculator.show_progress_bars = False
    return [
        _failing_rows_query(validator, engine, expectation) if isinstance(expectation, _ROW_EXPECTATIONS) else None
        for expectation in expectations
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
