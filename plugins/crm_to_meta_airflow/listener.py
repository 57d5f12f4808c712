"""Writes what a run came to into its note, where it ends: Airflow shows notes in the lists and headers of runs.

A task has no way to write the note of its run, so this happens where Airflow ends it, mostly in the scheduler, on the
run's own session. It must neither raise nor commit there, and runs of other DAGs must not cost anything.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

log = logging.getLogger("crm_to_meta")

DAG_ID_PREFIX: Final = "crm_to_meta_"
NOTE_PREFIX: Final = "Meta: "  # tells the line of this project from what people write
LONGEST_NOTE: Final = 1000  # airflow/models/dagrun.py, DagRunNote.content


class NoteListener:
    """What Airflow calls where a run ends."""

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:  # noqa: ARG002 - Airflow's signature
        """Note the figures of a run that ended well."""
        write_note(dag_run)

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:  # noqa: ARG002 - Airflow's signature
        """Note the figures of a run that failed, or what its first failed task said."""
        write_note(dag_run, without_words="failed, and no task could say why")


def write_note(dag_run: DagRun, *, without_words: str = "") -> None:
    """Put this project's line into the note of a run; what a person wrote stays.

    Args:
        dag_run: the run, on a session of Airflow's.
        without_words: the line where no task has left anything, as after a worker that was killed.
    """
    if not dag_run.dag_id.startswith(DAG_ID_PREFIX):
        return
    try:
        from crm_to_meta_airflow.outcome import describe_handed_over

        handed_over = _read_handed_over(dag_run)
        if line := describe_handed_over(handed_over) if handed_over else without_words:
            note = merge_note(dag_run.note, line)
            if dag_run.dag_run_note is None:
                dag_run.note = note
            else:
                dag_run.dag_run_note.content = note  # and whoever wrote the rest stays its author
    except Exception as error:  # noqa: BLE001 - the scheduler goes on, whatever it is
        log.warning("The run %s of %s is without its note: %s", dag_run.run_id, dag_run.dag_id, type(error).__name__)


def merge_note(note: str | None, line: str) -> str:
    """Return the note with this project's line replaced or added below; cut where it gets too long."""
    kept = [own for own in (note or "").split("\n") if own and not own.startswith(NOTE_PREFIX)]
    room = LONGEST_NOTE - len("\n".join([*kept, NOTE_PREFIX]))
    if kept and room < 1:
        return "\n".join(kept)[:LONGEST_NOTE]
    return "\n".join([*kept, f"{NOTE_PREFIX}{line[:room]}"])


def _read_handed_over(dag_run: DagRun) -> dict[tuple[str, str], str]:
    """Return what the run's tasks have left, by key and task; of mapped tasks the first."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    from crm_to_meta_airflow.outcome import FIGURES_KEY, PROBLEM_KEY

    session = object_session(dag_run)
    if session is None:
        return {}
    query = (
        select(XComModel)
        .where(
            XComModel.dag_id == dag_run.dag_id,
            XComModel.run_id == dag_run.run_id,
            XComModel.key.in_([FIGURES_KEY, PROBLEM_KEY]),
        )
        .order_by(XComModel.map_index.desc())
    )
    with session.no_autoflush:  # what the scheduler has in hand is not this listener's to write
        rows = session.scalars(query).all()
    return {(row.key, row.task_id): str(XComModel.deserialize_value(row)) for row in rows}
