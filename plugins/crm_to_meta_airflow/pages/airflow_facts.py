"""What Airflow's metadata database knows about DAGs and runs; read in the api-server, which has it open anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy import select

from crm_to_meta.report.problems import Schedule

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session


def read_schedules(dag_ids: Collection[str]) -> dict[str, Schedule]:
    """Return for each DAG whether it is paused, when its next run starts, and whether its newest run failed."""
    columns = (DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after)
    with create_session() as session:
        rows = session.execute(select(*columns).where(DagModel.dag_id.in_(dag_ids)))
        return {
            dag_id: Schedule(bool(is_paused), next_run_at, _find_failed_run(session, dag_id))
            for dag_id, is_paused, next_run_at in rows.all()
        }


def _find_failed_run(session: Session, dag_id: str) -> str | None:
    """Return the id of the newest run that ended, if it failed."""
    ended = select(DagRun.run_id, DagRun.state).where(DagRun.dag_id == dag_id, DagRun.end_date.is_not(None))
    newest = session.execute(ended.order_by(DagRun.end_date.desc()).limit(1)).first()
    return newest.run_id if newest and newest.state == DagRunState.FAILED else None


def read_run_state(dag_id: str, run_id: str) -> str | None:
    """Return the state of a DAG run; None where Airflow has no such run."""
    with create_session() as session:
        state = session.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return None if state is None else str(getattr(state, "value", state))
