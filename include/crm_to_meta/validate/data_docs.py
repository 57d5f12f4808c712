"""Write Great Expectations' own Data Docs: a site of HTML pages in a folder, without values of rows.

They are optional, since this project keeps its state in the warehouse alone. The pages load scripts and fonts from the
Internet, which the report of a run does not.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from crm_to_meta.validate import gx_setup  # noqa: F401 - before Great Expectations

# isort: split
from great_expectations import get_context
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from great_expectations.exceptions.exceptions import GreatExpectationsError

if TYPE_CHECKING:
    from pathlib import Path

    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

log = logging.getLogger("crm_to_meta")


def write_data_docs(folder: Path, result: ExpectationSuiteValidationResult) -> None:
    """Add the page of a run to a site. A folder that cannot be written is logged, and the run goes on.

    Args:
        folder: of the site; made where it is not there.
        result: of the run, without values (`gx_pushdown.check_table`).
    """
    run_id = result.meta["run_id"]
    page = ValidationResultIdentifier(ExpectationSuiteIdentifier(result.suite_name), run_id, "staged rows")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        context = get_context(mode="file", project_root_dir=folder)
        context.validation_results_store.set(page, result)
        context.build_data_docs(resource_identifiers=[page])
    except (OSError, GreatExpectationsError) as error:
        log.warning("validate %s: no Data Docs in %s: %s", run_id.run_name, folder, type(error).__name__)
