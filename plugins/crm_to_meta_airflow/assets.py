"""The source table and Meta's dataset as Airflow's assets, and the schedule that they give a DAG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetOrTimeSchedule, CronDataIntervalTimetable

if TYPE_CHECKING:
    from crm_to_meta.pipeline.settings import Pipeline


def source_asset(pipeline: Pipeline) -> Asset:
    """Return the asset of the source table: a DAG that fills the table names it among its outlets."""
    return Asset(pipeline.source_asset)


def dataset_asset(pipeline: Pipeline) -> Asset:
    """Return the asset of Meta's dataset. Its id is in the connection, so it is named after that."""
    return Asset(f"{pipeline.connections.meta}/events")


def build_schedule(pipeline: Pipeline) -> Any:
    """Return the schedule of a pipeline's DAG: by the clock, by the source's asset, or by both."""
    by_clock = CronDataIntervalTimetable(pipeline.schedule, timezone=pipeline.time_zone)
    match pipeline.starts_on:
        case "schedule":
            return by_clock
        case "asset":
            return [source_asset(pipeline)]
        case "both":
            return AssetOrTimeSchedule(timetable=by_clock, assets=[source_asset(pipeline)])
