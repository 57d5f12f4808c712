"""Word the headline of a run's report, and the notices below it that a reader needs first."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.audit.elsewhere import describe_elsewhere
from crm_to_meta.models import BatchReason, Mode, Reason, Status
from crm_to_meta.reasons import explain_reason, explain_stop
from crm_to_meta.report.facts import NOT_TRANSFORMED
from crm_to_meta.report.words import MODE_WORDS

if TYPE_CHECKING:
    from crm_to_meta.report.facts import Facts, QualityRule

DASH: Final = "\u2013"  # en dash, between the two ends of a range
MAX_WARNINGS: Final = 3
NEEDS_A_LOOK: Final = (Status.QUARANTINED, Status.REJECTED)


class Tone(StrEnum):
    """How urgent something is. It has a colour, a shape and a word on the page."""

    ALARM = "alarm"  # nothing goes on before somebody acts
    ATTENTION = "attention"  # somebody should look
    NOTE = "note"  # good to know


class Notice(NamedTuple):
    """Something that the reader needs to know before the details."""

    title: str
    text: str
    tone: Tone = Tone.NOTE


def headline_of(facts: Facts) -> str:
    """Return the result of the run in one sentence, or two where sending was stopped."""
    if rule := refused_rule(facts):
        return _headline_of_refusal(facts, rule)
    if not facts.run.extracted and not any(facts.counts.values()):
        return _headline_without_rows(facts)
    lead = _lead_of(facts)
    rest = listed(_tail_of(facts))
    sentence = f"{lead}{_main_clause(facts)}{'; ' if rest else ''}{rest}."
    return sentence[0].upper() + sentence[1:]


def notices_of(facts: Facts) -> list[Notice]:
    """Return the notices: the mode, why the run stopped or failed, odd figures, and what another run has claimed."""
    found = [
        _mode_notice(facts),
        _state_notice(facts),
        _failure_notice(facts),
        _warning_notice(facts),
        _held_notice(facts),
        *(Notice("With another run", text, Tone.ATTENTION) for text in describe_elsewhere(facts.elsewhere)),
    ]
    return [notice for notice in found if notice]


def window_of(facts: Facts) -> str:
    """Return the run's window as people write it."""
    return window_in_words(facts.run.window_start, facts.run.window_end)


def window_in_words(start: datetime, end: datetime) -> str:
    """Return whole days as dates, and any other window with times in UTC. `end` is not part of the window."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if start.time() != time() or end.time() != time():
        return f"{moment_in_words(start)} {DASH} {moment_in_words(end)}"
    last = end - timedelta(days=1)
    if start == last:
        return f"{last.day} {last:%B %Y}"
    if (start.year, start.month) == (last.year, last.month):
        return f"{start.day}{DASH}{last.day} {last:%B %Y}"
    first_year = "" if start.year == last.year else f" {start.year}"
    return f"{start.day} {start:%B}{first_year} {DASH} {last.day} {last:%B %Y}"


def moment_in_words(moment: datetime) -> str:
    """Return a moment in UTC, to the minute."""
    moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def tone_of(facts: Facts) -> Tone | None:
    """Return how urgent the state of the run is; None where it ended well."""
    match facts.run.state:
        case "succeeded":
            return None
        case "failed":
            return Tone.ALARM
        case "abandoned":
            return Tone.ATTENTION
        case _:
            return Tone.ATTENTION if facts.run.lease_until < facts.run.read_at else Tone.NOTE


def refused_rule(facts: Facts) -> QualityRule | None:
    """Return the first critical rule that the batch broke."""
    return next((rule for rule in facts.rules if rule.severity == "critical" and not rule.success), None)


def warned_rules(facts: Facts) -> list[QualityRule]:
    """Return the broken rules about the batch whose severity is warning."""
    return [rule for rule in facts.rules if rule.is_about_batch and rule.severity == "warning" and not rule.success]


def oddity_of(rule: QualityRule) -> str:
    """Return a sentence with the figure that says how the batch breaks a rule."""
    if rule.reason == Reason.OWN_RULE:
        figure = f" (here: {rule.observed})" if rule.checked else ""
        return f"A rule of your own is broken: {rule.description}{figure}."
    return f"{explain_reason(rule.reason).meaning.removesuffix('.')} (here: {rule.observed})."


def unbuilt_count(facts: Facts) -> int:
    """Return how many rows of a preview or test run were not built into events."""
    return facts.by_stage.get(NOT_TRANSFORMED, {}).get(Status.PENDING, 0)


def listed(clauses: list[str], last: str = "and") -> str:
    """Join clauses as in "a, b and c"."""
    return f" {last} ".join(filter(None, [", ".join(clauses[:-1]), *clauses[-1:]]))


def counted(number: int, one: str, many: str) -> str:
    """Return "1 is late" or "2 are late"."""
    return f"{number:,} {one if number == 1 else many}"


def _headline_of_refusal(facts: Facts, rule: QualityRule) -> str:
    nothing = "Preview: nothing would be" if facts.run.mode is Mode.PREVIEW else "Nothing was"
    if rule.reason == BatchReason.QUARANTINED_MANY or not rule.is_about_batch:
        allowed = "more than the pipeline allows" if rule.is_about_batch else "and that rule is critical"
        return (
            f"{nothing} sent, since {rule.failed:,} of {rule.checked:,} stage changes of {window_of(facts)} "
            f"break the data contract, {allowed}."
        )
    return f"{nothing} sent of {window_of(facts)}. {oddity_of(rule)}"


def _headline_without_rows(facts: Facts) -> str:
    if count := facts.elsewhere_count:
        unfinished = counted(count, "stage change is", "stage changes are")
        return f"Nothing of {window_of(facts)} could be sent: {unfinished} with other runs."
    match facts.run.state:
        case "running":
            return f"The run of {window_of(facts)} has started; nothing is on record yet."
        case "succeeded":
            return f"Nothing new: no stage change of {window_of(facts)} was waiting to be sent."
        case _:
            return f"The run of {window_of(facts)} ended before it had picked any stage change."


def _lead_of(facts: Facts) -> str:
    if facts.run.stop_reason:
        return f"Sending was stopped: {_lower_first(explain_stop(facts.run.stop_reason).meaning)} So far "
    preview = "preview: " if facts.run.mode is Mode.PREVIEW else "test run: " if facts.run.mode is Mode.TEST else ""
    match facts.run.state:
        case "running":
            return f"{preview}still running; so far "
        case "failed":
            return f"{preview}not finished: "
        case "abandoned":
            return f"{preview}given up: "
        case _:
            return preview


def _main_clause(facts: Facts) -> str:
    total = facts.run.extracted
    is_preview = facts.run.mode is Mode.PREVIEW
    done = facts.counts[Status.PENDING] - unbuilt_count(facts) if is_preview else facts.counts[Status.DELIVERED]
    did = {
        Mode.LIVE: "reached Meta",
        Mode.TEST: "reached Meta as test events",
        Mode.PREVIEW: "would be sent to Meta",
    }[facts.run.mode]
    of_window = f"stage change{'' if total == 1 else 's'} of {window_of(facts)}"
    if total > 1 and done == total:
        return f"all {total:,} {of_window} {did}"
    if total > 1 and not done:
        return f"none of the {total:,} {of_window} {did}"
    return f"{done:,} of {total:,} {of_window} {did}"


def _tail_of(facts: Facts) -> list[str]:
    counts = facts.counts
    look = sum(counts[status] for status in NEEDS_A_LOOK)
    waiting = unbuilt_count(facts) if facts.run.mode is Mode.PREVIEW else counts[Status.PENDING]
    done = "built" if facts.run.mode is Mode.PREVIEW else "sent"
    open_ends = [
        (waiting, f"is still to be {done}", f"are still to be {done}"),
        (counts[Status.IN_DOUBT], "has an unknown outcome", "have an unknown outcome"),
    ]
    settled = [
        (counts[Status.EXPIRED], "was too old for Meta", "were too old for Meta"),
        (look, "needs a look", "need a look"),
        (counts[Status.SKIPPED], "was left out on purpose", "were left out on purpose"),
        (facts.handed_over, "was handed over to a later run", "were handed over to a later run"),
        (facts.uncounted, *_uncounted_clause(facts)),
        (facts.elsewhere_count, "more is unfinished with another run", "more are unfinished with other runs"),
    ]
    clauses = open_ends if facts.run.stop_reason else open_ends + settled
    return [counted(number, one, many) for number, one, many in clauses if number > 0]


def _uncounted_clause(facts: Facts) -> tuple[str, str]:
    if facts.run.is_audited:
        return "is unaccounted for", "are unaccounted for"
    return "is not counted yet", "are not counted yet"


def _mode_notice(facts: Facts) -> Notice | None:
    mode = facts.run.mode
    if mode is Mode.LIVE or refused_rule(facts):
        return None
    return Notice(*MODE_WORDS[mode])


def _state_notice(facts: Facts) -> Notice | None:
    run = facts.run
    if run.state == "abandoned":
        text = "The run was cleared, or its worker died. A later run takes over what it left open."
        return Notice("Given up", text, Tone.ATTENTION)
    if run.state != "running":
        return None
    if run.lease_until < run.read_at:
        text = (
            f"This run should have reported by {moment_in_words(run.lease_until)} and has not. Its worker has probably "
            "died. Nothing is lost: the next run takes over what is left."
        )
        return Notice("No sign of life", text, Tone.ATTENTION)
    return Notice("Still running", f"These counts are from {moment_in_words(run.read_at)}. Open the page again later.")


def _failure_notice(facts: Facts) -> Notice | None:
    """Say why a run failed and what to do, as far as the warehouse knows it."""
    run = facts.run
    if run.stop_reason:
        why = explain_stop(run.stop_reason)
        return Notice(f"What to do about {run.stop_reason}", f"{why.remedy} No event is at fault.", Tone.ALARM)
    if rule := refused_rule(facts):
        here = rule.observed or counted(rule.failed, "row breaks it", "rows break it")
        text = (
            f"The contract says: {rule.description}. Here: {here}. {explain_reason(rule.reason).remedy} "
            "Then clear this run: nothing was sent, and nothing is lost."
        )
        return Notice("The data contract refused the batch", text, Tone.ALARM)
    if run.is_audited and facts.uncounted:
        text = (
            f"{run.extracted:,} stage changes were picked, but the statuses add up to {sum(facts.counts.values()):,}. "
            "This is a defect in crm-to-meta: please report it with the run's key."
        )
        return Notice("The counts do not add up", text, Tone.ALARM)
    left = facts.counts[Status.PENDING] + facts.counts[Status.IN_DOUBT]
    is_left_elsewhere = facts.elsewhere and not left and not facts.differs_from_requests
    if run.state != "failed" or is_left_elsewhere:  # other notices explain these
        return None
    if left and run.mode is not Mode.PREVIEW:
        return _unfinished_notice(facts, left)
    text = "The audit found that the ledger and the requests differ. This is a defect in crm-to-meta: please report it."
    return Notice("A check failed", text, Tone.ALARM)


def _unfinished_notice(facts: Facts, left: int) -> Notice:
    if facts.handed_over_since >= left:
        text = f"{counted(left, 'event was', 'events were')} left open. A later run has taken over what was left."
        return Notice("Taken over", text)
    text = (
        f"{counted(left, 'event is', 'events are')} still open. The log of the failed task in "
        "Airflow says what to fix. Then clear that task, or let the next run send them."
    )
    return Notice("Not finished", text, Tone.ALARM)


def _warning_notice(facts: Facts) -> Notice | None:
    warned = warned_rules(facts)
    if not warned:
        return None
    texts = [oddity_of(rule) for rule in warned[:MAX_WARNINGS]]
    if len(warned) > MAX_WARNINGS:
        texts.append(f"{len(warned) - MAX_WARNINGS:,} more are below.")
    texts.append('The section "The data contract" says what to do.')
    return Notice("The batch looks odd", " ".join(texts), Tone.ATTENTION)


def _held_notice(facts: Facts) -> Notice | None:
    if not facts.run.held or facts.run.is_audited:  # the figures of an audited run say where these events are
        return None
    text = counted(facts.run.held, "stage change of the window was", "stage changes of the window were")
    return Notice("Left to another run", f"{text} held by another run, which finishes them.")


def _lower_first(sentence: str) -> str:
    return sentence if sentence.startswith("Meta") else sentence[0].lower() + sentence[1:]
