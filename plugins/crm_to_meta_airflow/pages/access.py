"""Who may see a DAG's runs, and who may settle events in doubt: Airflow's own rights, asked of its auth manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models.dag import DagModel

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser


def may_see(user: BaseUser, dag_id: str) -> bool:
    """Say whether somebody may see the runs of a DAG."""
    return _may(user, dag_id, "GET")


def may_decide(user: BaseUser, dag_id: str) -> bool:
    """Say whether somebody may edit the runs of a DAG, which a decision about its events asks for."""
    return _may(user, dag_id, "PUT")


def _may(user: BaseUser, dag_id: str, method: Literal["GET", "PUT"]) -> bool:
    """Ask what `requires_access_dag` asks."""
    return get_auth_manager().is_authorized_dag(
        method=method,
        access_entity=DagAccessEntity.RUN,
        details=DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id)),
        user=user,
    )
