"""Which pipeline a DAG belongs to. A pipeline file is read again only after it has changed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from fastapi import HTTPException

from crm_to_meta.errors import PipelineFileError
from crm_to_meta.pipeline.settings import Pipeline, dag_id_of, list_pipeline_files, load_pipeline

if TYPE_CHECKING:
    from pathlib import Path


class KnownPipeline(NamedTuple):
    """A pipeline file. Where it cannot be used, `trouble` says why, and there is no `pipeline`."""

    name: str
    dag_id: str
    pipeline: Pipeline | None
    trouble: str | None


def list_pipelines() -> list[KnownPipeline]:
    """Return all pipelines by name."""
    return [_read(path) for path in list_pipeline_files()]


def find_pipeline(dag_id: str) -> KnownPipeline | None:
    """Return the pipeline of a DAG; None where the DAG is not one of this project's."""
    return next((_read(path) for path in list_pipeline_files() if dag_id_of(path.stem) == dag_id), None)


def require_pipeline(dag_id: str) -> Pipeline:
    """Return the pipeline of a DAG.

    Raises:
        HTTPException: the DAG is not one of this project's, or its pipeline file cannot be used.
    """
    known = find_pipeline(dag_id)
    if known is None or known.pipeline is None:
        raise HTTPException(404)
    return known.pipeline


def _read(path: Path) -> KnownPipeline:
    try:
        state = path.stat()
    except OSError:  # removed a moment ago
        return _load(path, 0, 0)
    return _load(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=512)
def _load(path: Path, changed_at_ns: int, size: int) -> KnownPipeline:  # noqa: ARG001 - what a change is known by
    try:
        pipeline = load_pipeline(path)
    except PipelineFileError as error:
        return KnownPipeline(path.stem, dag_id_of(path.stem), None, str(error))
    return KnownPipeline(path.stem, pipeline.dag_id, pipeline, None)
