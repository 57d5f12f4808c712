"""The verdict on a run in plain words: facts in, one sentence, and what else a reader has to be told first, out."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.audit.elsewhere import describe_elsewhere
from crm_to_meta.models import BatchReason, Mode, Reason, Status
from crm_to_meta.reasons import explain_reason, explain_stop
from crm_to_meta.report.facts import NOT_TRANSFORMED
from crm_to_meta.report.words import MODE_WORDS

if TYPE_CHECKING:
    from crm_to_meta.report.facts import Facts, Rule

DASH: Final = "\u2013"  # between two ends of a range
MAX_WARNINGS: Final = 3
NEEDS_A_LOOK: Final = (Status.QUARANTINED, Status.REJECTED)


class Notice(NamedTuple):
    """Something to know before reading on."""

    title: str
    text: str


def verdict_of(facts: Facts) -> str:
    """Return the one sentence (two where sending was stopped) that a reader in a hurry takes away."""
    if rule := refused_rule(facts):
        return _verdict_of_refusal(facts, rule)
    if not facts.run.extracted and not any(facts.counts.values()):
        return _verdict_without_rows(facts)
    lead = _lead_of(facts)
    rest = listed(_tail_of(facts))
    sentence = f"{lead}{_main_clause(facts)}{'; ' if rest else ''}{rest}."
    return sentence[0].upper() + sentence[1:]


def notices_of(facts: Facts) -> list[Notice]:
    """Return what the sentence cannot say: mode, why a run stopped or failed, who works on it."""
    found = [
        _mode_notice(facts),
        _state_notice(facts),
        _failure_notice(facts),
        _warning_notice(facts),
        _held_notice(facts),
        *(Notice("With another run", text) for text in describe_elsewhere(facts.elsewhere)),
    ]
    return [notice for notice in found if notice]


def window_of(facts: Facts) -> str:
    """Return the run's window as a reader would say it."""
    return window_in_words(facts.run.window_start, facts.run.window_end)


def window_in_words(start: datetime, end: datetime) -> str:
    """Return whole days as dates, anything else with its times; `end` is not part of the window."""
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
    """Return a moment to the minute, in UTC."""
    moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def refused_rule(facts: Facts) -> Rule | None:
    """Return the critical rule that the batch broke; where there are several, the first."""
    return next((rule for rule in facts.rules if rule.severity == "critical" and not rule.success), None)


def warned_rules(facts: Facts) -> list[Rule]:
    """Return the rules about the batch that are broken and warn."""
    return [rule for rule in facts.rules if rule.is_about_batch and rule.severity == "warning" and not rule.success]


def oddity_of(rule: Rule) -> str:
    """Return what is odd about the batch where it breaks a rule, as a sentence with the figure."""
    if rule.reason == Reason.OWN_RULE:
        figure = f" (here: {rule.observed})" if rule.checked else ""
        return f"A rule of your own is broken: {rule.description}{figure}."
    return f"{explain_reason(rule.reason).meaning.removesuffix('.')} (here: {rule.observed})."


def unbuilt_count(facts: Facts) -> int:
    """Return how many rows of a preview or test run were never built into events."""
    return facts.by_stage.get(NOT_TRANSFORMED, {}).get(Status.PENDING, 0)


def listed(clauses: list[str], last: str = "and") -> str:
    """Return "a, b and c"."""
    return f" {last} ".join(filter(None, [", ".join(clauses[:-1]), *clauses[-1:]]))


def counted(number: int, one: str, many: str) -> str:
    """Return "1 is late" or "2 are late"."""
    return f"{number:,} {one if number == 1 else many}"


def _verdict_of_refusal(facts: Facts, rule: Rule) -> str:
    nothing = "Preview: nothing would be" if facts.run.mode is Mode.PREVIEW else "Nothing was"
    if rule.reason == BatchReason.QUARANTINED_MANY or not rule.is_about_batch:
        allowed = "more than the pipeline allows" if rule.is_about_batch else "and that rule is critical"
        return (
            f"{nothing} sent, since {rule.failed:,} of {rule.checked:,} stage changes of {window_of(facts)} "
            f"break the data contract, {allowed}."
        )
    return f"{nothing} sent of {window_of(facts)}. {oddity_of(rule)}"


def _verdict_without_rows(facts: Facts) -> str:
    if count := facts.elsewhere_count:
        unfinished = counted(count, "stage change is", "stage changes are")
        return f"Nothing of {window_of(facts)} could be sent: {unfinished} with other runs."
    match facts.run.state:
        case "running":
            return f"The run of {window_of(facts)} has begun; nothing is on record yet."
        case "succeeded":
            return f"Nothing was new: no stage change of {window_of(facts)} was waiting to be sent."
        case _:
            return f"The run of {window_of(facts)} ended before it had picked a single stage change."


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
        text = "The run was cleared, or its worker died. What it left open is for a later run."
        return Notice("Given up", text)
    if run.state != "running":
        return None
    if run.lease_until < run.read_at:
        text = (
            f"This run should have shown a sign of life by {moment_in_words(run.lease_until)} and has not: its worker "
            "has probably died. Nothing is lost; the next run takes over what is left."
        )
        return Notice("No sign of life", text)
    return Notice(
        "Still running", f"These are the counts of {moment_in_words(run.read_at)}; open the page again later."
    )


def _failure_notice(facts: Facts) -> Notice | None:
    """Say why a run failed and what to do, as far as the warehouse knows."""
    run = facts.run
    if run.stop_reason:
        why = explain_stop(run.stop_reason)
        return Notice(f"What to do about {run.stop_reason}", f"{why.remedy} No event is at fault.")
    if rule := refused_rule(facts):
        here = rule.observed or counted(rule.failed, "row breaks it", "rows break it")
        text = (
            f"The contract says: {rule.description}. Here: {here}. {explain_reason(rule.reason).remedy} "
            "Then clear this run: nothing was sent, and nothing is lost."
        )
        return Notice("The data contract refused the batch", text)
    if run.is_audited and facts.uncounted:
        text = (
            f"{run.extracted:,} stage changes were picked, but the statuses add up to {sum(facts.counts.values()):,}. "
            "This is a defect of crm-to-meta: please report it with the run's key."
        )
        return Notice("The counts do not add up", text)
    left = facts.counts[Status.PENDING] + facts.counts[Status.IN_DOUBT]
    is_left_elsewhere = facts.elsewhere and not left and not facts.differs_from_requests
    if run.state != "failed" or is_left_elsewhere:  # which notices of their own tell
        return None
    if left and run.mode is not Mode.PREVIEW:
        return _unfinished_notice(facts, left)
    text = "The audit found the ledger and the requests at odds. This is a defect of crm-to-meta: please report it."
    return Notice("A check failed", text)


def _unfinished_notice(facts: Facts, left: int) -> Notice:
    if facts.handed_over_since >= left:
        text = f"{counted(left, 'event was', 'events were')} left open. A later run has taken over what was left."
        return Notice("Taken over", text)
    text = (
        f"{counted(left, 'event is', 'events are')} still open. The log of the failed task in "
        "Airflow says what to fix; clear that task, or let the next run send them."
    )
    return Notice("Not finished", text)


def _warning_notice(facts: Facts) -> Notice | None:
    warned = warned_rules(facts)
    if not warned:
        return None
    texts = [oddity_of(rule) for rule in warned[:MAX_WARNINGS]]
    if len(warned) > MAX_WARNINGS:
        texts.append(f"{len(warned) - MAX_WARNINGS:,} more are below.")
    return Notice("The batch looks odd", " ".join([*texts, "What to do stands under The data contract."]))


def _held_notice(facts: Facts) -> Notice | None:
    if not facts.run.held or facts.run.is_audited:  # whose figures say what has become of them
        return None
    text = counted(facts.run.held, "stage change of the window was", "stage changes of the window were")
    return Notice("Left to another run", f"{text} in the hands of another run, which finishes the work.")


def _lower_first(sentence: str) -> str:
    return sentence if sentence.startswith("Meta") else sentence[0].lower() + sentence[1:]
