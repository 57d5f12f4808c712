"""Build a DAG for a pipeline file that cannot be used. It says why; the other pipelines keep working."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk import CronDataIntervalTimetable, dag, task

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from crm_to_meta.errors import PipelineFileError


def build_broken_dag(dag_id: str, error: PipelineFileError) -> DAG:
    """Return a daily DAG in place of the pipeline's own. Each run fails, and names file, key and remedy.

    An import error in the DAG file would remove the DAGs of all other pipeline files as well.
    """

    @dag(
        dag_id=dag_id,
        description="The pipeline file cannot be used",
        doc_md=f"### The pipeline file cannot be used\n\n{error}",
        schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        tags=["crm-to-meta", "broken"],
    )
    def broken_pipeline() -> None:
        @task(retries=0)
        def extract() -> None:
            from crm_to_meta_airflow.short_lines import told_in_short_lines

            with told_in_short_lines():
                raise error

        extract()

    return broken_pipeline()
