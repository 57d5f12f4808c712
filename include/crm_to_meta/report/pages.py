"""Render the pages that Airflow shows: the overview, a DAG's tab, a run's tab, and what is said instead of them.

Pages load their style and script from `root`, where the plugin serves them; nothing on them is inline, and all text is
escaped. The report of a run is a page of its own (`page.py`) and stands on a run's tab in a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from functools import cache
from typing import TYPE_CHECKING, Any

from crm_to_meta.report.headline import moment_in_words, window_in_words
from crm_to_meta.report.layout import TEMPLATES_FOLDER, make_environment
from crm_to_meta.report.open_doubts import Doubt, find_doubts
from crm_to_meta.report.problems import Problem, Schedule, age_in_words, find_problems, find_unrecorded
from crm_to_meta.report.strip import GROUP_NAMES, Strip, strip_of
from crm_to_meta.report.words import MODE_WORDS, STATE_NAMES, STATUS_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

    from crm_to_meta.ledger.doubts import SettledDoubts
    from crm_to_meta.report.overview import Overview
    from crm_to_meta.report.passes import Pass


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineCard:
    """A pipeline on the overview. `trouble` says why there is no `overview`; without either, no run has worked yet."""

    name: str
    dag_id: str
    description: str = ""
    overview: Overview | None = None
    schedule: Schedule | None = None
    trouble: str | None = None
    may_decide: bool = False

    @property
    def problems(self) -> list[Problem]:
        """Return what is open."""
        if self.overview is None:
            return [] if self.trouble else list(find_unrecorded((), self.schedule))
        return find_problems(self.overview, self.schedule)

    @property
    def doubts(self) -> list[Doubt]:
        """Return the events in doubt."""
        return find_doubts(self.overview) if self.overview else []

    @property
    def is_urgent(self) -> bool:
        """Say whether somebody has to act."""
        if self.trouble or any(doubt.waits for doubt in self.doubts):
            return True
        return any(problem.weight == "act" for problem in self.problems)

    @property
    def settled_since(self) -> int:
        """Return how many events of the latest run a person has settled since its audit, which its headline lacks."""
        if self.overview is None or self.overview.latest is None:
            return 0
        latest = self.overview.latest.run_key
        return sum(one.events for one in self.overview.decisions if one.run_key == latest)

    @property
    def summary(self) -> str:
        """Return the pipeline's state in a sentence."""
        if self.trouble:
            return "It cannot be shown; its page says why."
        if self.overview and self.overview.latest:
            return self.overview.latest.headline
        return "There has been no live run yet."

    @property
    def strip(self) -> Strip | None:
        """Return the chart of the last days; None where no live run is on record for them."""
        if self.overview is None or not any(day.runs for day in self.overview.days):
            return None
        return strip_of(self.overview.days)


def render_overview(cards: Sequence[PipelineCard], *, root: str, place: str, notice: str = "") -> str:
    """Return the overview of some pipelines.

    Args:
        cards: the pipelines.
        root: where the pages are served.
        place: "overview", or "dag" on the tab of a DAG; where a decision leads back to.
        notice: what a decision did.
    """
    return _render("overview.html", cards=cards, root=root, place=place, notice=notice)


def render_run(
    card: PipelineCard,
    passes: Sequence[Pass],
    *,
    dag_run_id: str,
    doubts: Sequence[Doubt],
    decisions: Sequence[SettledDoubts],
    root: str,
    notice: str = "",
) -> str:
    """Return the tab of a DAG run: its passes, the newest first, with payloads of previews and events in doubt."""
    return _render(
        "run.html",
        card=card,
        passes=passes,
        dag_run_id=dag_run_id,
        doubts=doubts,
        decisions=decisions,
        root=root,
        place="run",
        notice=notice,
    )


def render_message(title: str, text: str, *, root: str) -> str:
    """Return a page that says something in place of what was asked for."""
    return _render("message.html", title=title, text=text, root=root)


def _render(template: str, **variables: Any) -> str:
    return _environment().get_template(template).render(variables)


@cache
def _environment() -> Environment:
    environment = make_environment(TEMPLATES_FOLDER / "pages")  # one of its own, which may get more filters
    environment.filters |= {
        "moment": moment_in_words,
        "age": age_in_words,
        "window": lambda run: window_in_words(run.window_start, run.window_end),
    }
    environment.globals |= {
        "utc": UTC,
        "group_names": GROUP_NAMES,
        "status_words": STATUS_WORDS,
        "mode_words": MODE_WORDS,
        "state_names": STATE_NAMES,
    }
    return environment
