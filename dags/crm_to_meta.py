"""
### CRM stage changes to Meta, every day

Reads leads' stage changes from the warehouse, checks them, hashes personal data, sends them to Meta's Conversions API
and records the outcome of each. Retries, crashes and backfills lose nothing and send nothing twice.

| task | what it does | when it fails |
|---|---|---|
| `extract` | stages the unfinished rows of the window | check the setting or the warehouse that the log names |
| `validate` | holds back bad rows, with Great Expectations | a critical rule is broken: fix the source, clear the run |
| `transform` | hashes identifiers, packs events into chunks of 1,000 | clear it: finished shards are not repeated |
| `load` | sends the chunks, isolates bad events | fix the token or dataset in the connection, clear it |
| `audit` | counts each row in one status, closes the run | events are left, here or with other runs: see its log |

**Which days.** A scheduled or manual run covers the pipeline's lookback and takes everything that is not finished. A
backfill run covers its own day. The parameter `date` selects one day, a data interval specified by hand that interval.

**Clearing is safe**, for any task, a whole run, or a backfill with "All runs": events that Meta has are not sent again.

**Modes.** Scheduled runs and backfills send. A run that you start by hand is a preview, unless you choose `live`: it
builds the same bytes, sends nothing, and shows some of them in the log of `load`. `test` sends a few events with a test
event code. Meta may also use those for measurement.

**Where to look.** `capi.run` (a row per run), `capi.delivery` (per transition), `capi.request` (per request, with the
`fbtrace_id` that Meta's support asks for), `capi.quality` (per rule). docs/tables.md explains each column.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule, dag, task, task_group

from crm_to_meta.errors import PipelineFileError
from crm_to_meta.models import Shard
from crm_to_meta.pipeline.settings import Pipeline, dag_id_of, list_pipeline_files, load_pipeline
from crm_to_meta_airflow import steps
from crm_to_meta_airflow.alerts import build_deadline, build_failure_callback
from crm_to_meta_airflow.assets import build_schedule, dataset_asset, source_asset
from crm_to_meta_airflow.broken import build_broken_dag
from crm_to_meta_airflow.params import PARAMS
from crm_to_meta_airflow.retries import DEFAULT_ARGS, CrmToMetaRetryPolicy

if TYPE_CHECKING:
    from airflow.sdk import DAG


def build_dag(pipeline: Pipeline) -> DAG:
    """Return the DAG of one pipeline file."""

    @dag(
        dag_id=pipeline.dag_id,
        description=pipeline.description,
        doc_md=__doc__,
        schedule=build_schedule(pipeline),
        start_date=datetime.combine(pipeline.start_date, datetime.min.time(), tzinfo=pipeline.zone),
        catchup=False,
        max_active_runs=2,
        deadline=build_deadline(pipeline),
        on_failure_callback=build_failure_callback(pipeline),
        params=PARAMS,
        default_args=DEFAULT_ARGS,
        tags=["crm-to-meta", "conversions-api"],
    )
    def crm_to_meta() -> None:
        retry_policy = CrmToMetaRetryPolicy()
        parallel = pipeline.delivery.parallel_shards
        mapped: Any = {"max_active_tis_per_dagrun": parallel, "map_index_template": "{{ label }}"}

        @task(retry_policy=retry_policy, inlets=[source_asset(pipeline)])
        def extract() -> str:
            return steps.run_extract(pipeline)

        @task(retry_policy=retry_policy)
        def validate(run_key: str) -> list[dict[str, Any]]:
            return steps.run_validate(pipeline, run_key)

        @task(retry_policy=retry_policy, **mapped)
        def transform(shard: dict[str, Any]) -> dict[str, Any]:
            steps.run_transform(pipeline, Shard(**shard))
            return shard

        @task(retry_policy=retry_policy, **mapped)
        def load(shard: dict[str, Any]) -> None:
            steps.run_load(pipeline, Shard(**shard))

        last: Any = {
            "trigger_rule": TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
            "retries": DEFAULT_ARGS["retries"] * 5,  # it waits for other runs that are at work, which may take hours
            "outlets": [dataset_asset(pipeline)],
        }

        # After all the others, well or not; but not where `extract` failed: that left nothing to count, and a red run.
        # No task may be skipped, for this rule would skip the audit as well, and the run would be green.
        @task(retry_policy=retry_policy, **last)
        def audit(run_key: str) -> None:
            steps.run_audit(pipeline, run_key)

        @task_group(prefix_group_id=False)
        def deliver(shard: dict[str, Any]) -> Any:
            return load(transform(shard))

        run_key = extract()
        deliver.expand(shard=validate(run_key)) >> audit(run_key)

    return crm_to_meta()


for _path in list_pipeline_files():
    try:
        _dag = build_dag(load_pipeline(_path))
    except PipelineFileError as _error:
        _dag = build_broken_dag(dag_id_of(_path.stem), _error)
    globals()[_dag.dag_id] = _dag
