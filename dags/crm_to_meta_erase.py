"""
### Forget a person

Carries out the erasures that `capi.erasure` asks for. To ask for one, insert the lead's id by hand or from the CRM:
`INSERT INTO capi.erasure (lead_id) VALUES (…)`. There is no parameter for it, since Airflow's database would keep it.

The ledger loses everything that points to the person, and request bodies with an event of the person are deleted. The
anonymous rows stay, so that the counts of past runs remain correct and nothing is sent again. Erase the lead in the CRM
first: this DAG does not touch the source table, and a new stage change of the lead would be sent.

A running run may have the person in memory. In that case the task fails and tries again later.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import CronTriggerTimetable, dag, task

from crm_to_meta.errors import PipelineFileError
from crm_to_meta.pipeline.settings import list_pipeline_files, load_pipeline
from crm_to_meta_airflow import steps
from crm_to_meta_airflow.retries import DEFAULT_ARGS, CrmToMetaRetryPolicy


def list_warehouses() -> list[str]:
    """Return the connection ids of all pipelines' warehouses. A file that cannot be used has its own failing DAG."""
    ids = set()
    for path in list_pipeline_files():
        try:
            ids.add(load_pipeline(path).connections.warehouse)
        except PipelineFileError:
            continue
    return sorted(ids)


@dag(
    dag_id="crm_to_meta_erase",
    description="Forgets the people whose lead ids are in capi.erasure.",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("30 3 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - the timetable has the zone
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["crm-to-meta", "privacy"],
)
def crm_to_meta_erase() -> None:
    """Create one task for each warehouse."""

    @task(retry_policy=CrmToMetaRetryPolicy())
    def erase(connection_id: str) -> None:
        steps.run_erase(connection_id)

    for connection_id in list_warehouses():
        erase.override(task_id=f"erase_{connection_id}")(connection_id)


crm_to_meta_erase()
