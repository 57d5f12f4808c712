"""Load: every answer that Meta may give, and every moment at which a worker may die."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from daily_run import CRM_NAME, Company, assert_conserved, assert_ledger_matches_meta
from load_process import kill, no_answer_from, start_worker, wait_until
from psycopg import sql

from crm_to_meta.errors import (
    CredentialsError,
    DeliveryIncompleteError,
    MetaUnavailableError,
    RateLimitedError,
    RunTakenOverError,
)
from crm_to_meta.load.journal import Journal
from crm_to_meta.meta.client import MetaClient, MetaSettings
from crm_to_meta.models import Mode, Shard, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm_to_meta.meta.answers import Answer

TOO_OLD = 2804003
SUBCODES = (2804019, 2804050, 2804003, 2804004, 2804009, 2804043)


@pytest.fixture(autouse=True)
def _rows_are_sound(company: Company) -> None:
    """All rows of these tests are sound: Great Expectations would take most of the time to say so."""
    company.judges_rows = False


def prepare(company: Company, number: int = 35) -> tuple[Shard, list[str]]:
    """Record sound rows and do everything up to the sending; return the only shard and the event ids."""
    ids = company.record_sound(number)
    (shard,) = company.prepare().shards
    return shard, ids


def doubtful_ids(company: Company) -> set[str]:
    """Return the events that were sent at least once with unknown outcome, as the ledger says."""
    return {event_id for event_id, row in company.ledger().items() if row["doubts"]}


# Nothing goes wrong ---------------------------------------------------------------------------------------------------


def test_everything_is_delivered_once(company: Company) -> None:
    """Without a fault each event arrives once, in one request per chunk, and the ledger says so."""
    ids = company.record_sound(35)
    day = company.run_day()
    outcomes = [(request["events"], request["outcome"]) for request in company.requests(day.run_key)]

    assert day.errors == []
    assert company.received_ids() == ids
    assert outcomes == [(10, "delivered")] * 3 + [(5, "delivered")]
    assert {row["fbtrace_id"] for row in company.ledger().values()} == {
        request["fbtrace_id"] for request in company.requests()
    }
    assert_conserved(company, day.run_key)


def test_repeated_load_sends_nothing(company: Company) -> None:
    """A load that was done before makes no request."""
    shard, ids = prepare(company)
    company.load(shard)
    requests_before = len(company.requests())
    again = company.load(shard)

    assert (again.requests, again.events) == (0, Counter())
    assert len(company.requests()) == requests_before
    assert company.received_ids() == ids


# Poisoned events ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "poisoned"), [(1, 1), (2, 4), (3, 12), (4, 35)], ids=["one", "a few", "many", "all of them"]
)
def test_poisoned_events_are_isolated(company: Company, seed: int, poisoned: int) -> None:
    """Events that Meta refuses, anywhere in the chunks, are rejected with its subcode; all others are delivered."""
    ids = company.record_sound(35)
    rng = random.Random(seed)  # noqa: S311 - a test's own choice
    subcode_of = {event_id: rng.choice(SUBCODES) for event_id in rng.sample(ids, poisoned)}
    company.stand_in.set_settings(poisoned_event_ids=subcode_of)
    day = company.run_day()
    refused = {
        event_id: (row["status"], row["reason"])
        for event_id, row in company.ledger().items()
        if row["status"] != "delivered"
    }

    assert day.errors == []
    assert refused == {
        event_id: ("expired", "event_too_old") if subcode == TOO_OLD else ("rejected", f"meta_{subcode}")
        for event_id, subcode in subcode_of.items()
    }
    assert company.received_ids() == [event_id for event_id in ids if event_id not in subcode_of]
    assert_conserved(company, day.run_key)


def test_rejected_event_is_not_sent_again_unchanged(company: Company) -> None:
    """The next day's run leaves a rejected event alone until its row changes; then it goes out under the same id."""
    ids = company.record_sound(5)
    company.stand_in.set_settings(poisoned_event_ids={ids[2]: 2804050})
    company.run_day()
    idle = company.run_day()
    company.stand_in.set_settings(poisoned_event_ids={})
    company.warehouse.execute(
        "UPDATE crm.lead_stage_transitions SET email = 'corrected@example.com' WHERE transition_id = %s",
        [company.ledger()[ids[2]]["transition_id"]],
    )
    corrected = company.run_day()

    assert (idle.extraction and idle.extraction.staged, corrected.extraction and corrected.extraction.staged) == (0, 1)
    assert sorted(company.received_ids()) == sorted(ids)
    assert company.statuses() == {"delivered": 5}


def test_lead_that_meta_does_not_know_is_sent_once_without_its_id(company: Company) -> None:
    """2804036: where an e-mail or a phone is left the event goes out without lead_id, else it is rejected."""
    leads = {name: 2 * 10**15 + number for number, name in enumerate(("mail", "phone", "nothing", "click id"))}
    company.record_sound(8)
    company.warehouse.execute("ALTER TABLE crm.lead_stage_transitions ADD COLUMN fbc text")
    company.record(
        company.transition(transition_id="mail", lead_id=str(leads["mail"])),
        company.transition(transition_id="phone", lead_id=str(leads["phone"]), email=None, phone="+12025550143"),
        company.transition(transition_id="nothing", lead_id=str(leads["nothing"]), email=None),
        {
            **company.transition(transition_id="click id", lead_id=str(leads["click id"]), email=None),
            "fbc": "fb.1.1554763741205.AbCdEfGh",
        },
    )
    company.stand_in.set_settings(deleted_lead_ids=list(leads.values()))
    day = company.run_day()
    outcomes = company.outcomes()

    assert day.errors == []
    assert {name: outcomes[name] for name in leads} == {
        "mail": ("delivered", "sent_without_lead_id"),
        "phone": ("delivered", "sent_without_lead_id"),
        "nothing": ("rejected", "meta_2804036"),
        "click id": ("rejected", "meta_2804036"),
    }
    assert company.statuses() == {"delivered": 10, "rejected": 2}
    assert [set(event["user_data"]) for event in company.received() if "lead_id" not in event["user_data"]] == [
        {"em"}, {"ph"},
    ]  # fmt: skip
    assert_ledger_matches_meta(company)


def test_event_that_is_refused_even_without_lead_id_is_rejected(company: Company) -> None:
    """The second try, without lead_id, is the last: its refusal is the event's reason."""
    company.stand_in.set_settings(deleted_lead_ids=[10**15 + 1])
    (event_id, *_) = company.record_sound(3)
    company.stand_in.set_faults(
        [{"kind": "answer", "json": {"error": {"code": 100, "error_subcode": 2804050}}, "when": {"nth": 3}}]
    )
    company.run_day()

    assert company.ledger()[event_id]["reason"] == "meta_2804050"
    assert company.statuses() == {"rejected": 1, "delivered": 2}


# Nobody's event is at fault -------------------------------------------------------------------------------------------

STOPS: dict[str, tuple[dict[str, Any], str]] = {
    "token expired": ({"token": "expired-token"}, "auth_190_463"),
    "token unknown": ({"token": "mistyped"}, "auth_190"),
    "dataset unknown": ({"settings": {"dataset_ids": ["4711"]}}, "configuration_100_33"),
    "version gone": ({"settings": {"versions": ["v99.0"]}}, "configuration_2635"),
    "app secret": ({"error": {"code": 100, "type": "GraphMethodException"}}, "configuration_100"),
    "permission 200": ({"error": {"code": 200}}, "auth_200"),
}


@pytest.mark.parametrize(
    ("case", "way"),
    [*((case, "next run") for case in STOPS), ("token expired", "load again"), ("dataset unknown", "load again")],
)
def test_configuration_error_stops_everything_and_blames_no_event(company: Company, case: str, way: str) -> None:
    """Law 4: the first such answer ends all shards, every event stays pending, and once it is fixed all arrive once."""
    wrong, stop_reason = STOPS[case]
    company.configure(delivery={"shard_chunks": 1})
    ids = company.record_sound(25)
    company.token = wrong.get("token", company.token)
    company.stand_in.set_settings(**wrong.get("settings", {}))
    if "error" in wrong:
        company.stand_in.set_faults([{"kind": "answer", "json": {"error": wrong["error"]}}])
    stopped = company.run_day()
    after_stop = (company.statuses(), company.run_row(stopped.run_key)["stop_reason"], len(company.stand_in.requests()))
    assert_conserved(company, stopped.run_key)

    company.token = company.stand_in.token
    company.stand_in.clear_faults()
    company.stand_in.restore_settings()
    company.move_clock(timedelta())
    if way == "load again":
        for shard in stopped.shards:
            company.transform(shard)  # what was left out when the first shard failed
            company.load(shard)
        company.audit(stopped.run_key)
    else:
        assert company.run_day().errors == []

    assert stopped.error_types == [CredentialsError] * 3 + [DeliveryIncompleteError]
    assert stop_reason in str(stopped.errors[-1])
    assert after_stop == ({"pending": 25}, stop_reason, 1)
    assert sorted(company.received_ids()) == sorted(ids)
    assert company.statuses() == {"delivered": 25}


def test_stopped_run_that_another_finished_can_be_cleared(company: Company) -> None:
    """Yesterday's failed tasks, cleared after today's run delivered everything, send nothing and turn green."""
    ids = company.record_sound(25)
    company.token = "expired-token"
    stopped = company.run_day()
    company.token = company.stand_in.token
    company.run_day()
    for shard in stopped.shards:
        company.load(shard)
    result = company.audit(stopped.run_key)

    assert company.received_ids() == ids
    assert (result.extracted, result.taken_over, sum(result.counts.values())) == (25, 25, 0)
    assert company.run_row(stopped.run_key)["state"] == "succeeded"


# Waiting --------------------------------------------------------------------------------------------------------------

LIMITED = {"error": {"code": 17, "error_subcode": 2446079}}


@pytest.mark.parametrize(
    ("fault", "retry_after_s"),
    [
        ({"kind": "answer", "json": LIMITED, "headers": {"Retry-After": "600"}}, 600),
        ({"kind": "answer", "json": LIMITED}, 300),
        ({"kind": "answer", "json": {"error": {"code": 80004}}, "status": 500}, 300),
        ({"kind": "status", "status": 429, "headers": {"Retry-After": "1800"}}, 1800),
        ({"kind": "answer", "json": LIMITED, "headers": {"Retry-After": "20"}}, 20),
    ],
    ids=["long pause", "no pause given", "business use case", "status 429", "short pause, again and again"],
)
def test_rate_limit_is_left_to_a_later_try(company: Company, fault: dict[str, Any], retry_after_s: float) -> None:
    """A pause that is longer than a task waits for ends the try; it says for how long, and nothing is lost."""
    shard, ids = prepare(company, 15)
    company.stand_in.set_faults([{**fault, "when": {"from_request": 2}}])
    with pytest.raises(RateLimitedError) as raised:
        company.load(shard)
    after_limit = company.statuses()
    company.stand_in.clear_faults()
    company.end_pauses()
    company.load(shard)

    assert raised.value.retry_after_s == retry_after_s
    assert after_limit == {"delivered": 10, "pending": 5}
    assert company.received_ids() == ids
    assert_ledger_matches_meta(company)


def test_short_pause_is_waited_for(company: Company) -> None:
    """A pause of seconds is waited for within the task, as long as Meta says."""
    shard, ids = prepare(company, 15)
    company.stand_in.set_faults(
        [{"kind": "answer", "json": LIMITED, "headers": {"Retry-After": "20"}, "when": {"times": 2}}]
    )
    company.load(shard)

    assert company.pauses == [20.0, 20.0]
    assert company.received_ids() == ids


def test_transient_errors_are_tried_again(company: Company) -> None:
    """A Graph error that says "later" is no doubt: the same body goes out again, with growing pauses."""
    shard, ids = prepare(company, 15)
    transient = {"kind": "answer", "status": 500, "json": {"error": {"code": 2, "is_transient": False}}}
    company.stand_in.set_faults([{**transient, "when": {"times": 2}}])
    company.load(shard)

    assert [request["outcome"] for request in company.requests()] == ["not_processed"] * 2 + ["delivered"] * 2
    assert len(company.pauses) == 2
    assert all(0 <= pause <= 60 for pause in company.pauses)
    assert company.received_ids() == ids
    assert doubtful_ids(company) == set()


@pytest.mark.parametrize(
    "error",
    [{"code": 1}, {"code": 10**6, "message": "new"}, {"code": 10**30}, {"code": 5, "fbtrace_id": "\u0000"}],
    ids=["transient for ever", "unknown code", "number beyond all columns", "NUL in the trace id"],
)
def test_meta_that_takes_nothing_leaves_everything_pending(company: Company, error: dict[str, Any]) -> None:
    """More errors than one task waits for end the try; another one goes on from there."""
    shard, ids = prepare(company, 15)
    company.stand_in.set_faults([{"kind": "answer", "json": {"error": error}}])
    with pytest.raises(MetaUnavailableError):
        company.load(shard)
    after_failure = company.statuses()
    company.stand_in.clear_faults()
    company.load(shard)

    assert after_failure == {"pending": 15}
    assert company.received_ids() == ids


def test_server_that_is_not_there_leaves_everything_pending(company: Company) -> None:
    """A refused connection means that nothing was sent: no event is in doubt."""
    shard, _ = prepare(company, 5)
    settings = MetaSettings(
        dataset_id=company.stand_in.dataset_id, crm_name=CRM_NAME, token=company.token, base_url="http://127.0.0.1:1"
    )
    with pytest.raises(MetaUnavailableError):
        company.load(shard, client=MetaClient(settings, timeout_s=1))

    assert company.statuses() == {"pending": 5}
    assert {request["outcome"] for request in company.requests()} == {"not_processed"}


# In doubt -------------------------------------------------------------------------------------------------------------

DOUBTS: dict[str, tuple[dict[str, Any], int]] = {  # the fault, and how many of the chunk's ten events went in
    "HTML 502, not processed": ({"kind": "html"}, 0),
    "HTML 502, processed": ({"kind": "html", "processed": True}, 10),
    "empty 503, processed": ({"kind": "status", "status": 503, "processed": True}, 10),
    "reset before": ({"kind": "reset_before"}, 0),
    "reset after": ({"kind": "reset_after"}, 10),
    "half a body": ({"kind": "truncated"}, 10),
    "broken off": ({"kind": "truncated", "cut_connection": True}, 10),
    "one fewer received": ({"kind": "fewer_received"}, 9),
    "one fewer received, all processed": ({"kind": "fewer_received", "processed": "all"}, 10),
    "timeout": ({"kind": "slow", "seconds": 60}, 10),
}


@pytest.mark.sweep(keep=4)
@pytest.mark.parametrize("case", DOUBTS)
def test_doubtful_events_are_resent_on_record(company: Company, case: str) -> None:
    """`resend`: a request without a clear answer is sent again with the same event ids, and counted as doubtful."""
    fault, processed = DOUBTS[case]
    company.configure(delivery={"on_in_doubt": "resend", "timeout_seconds": 2 if case == "timeout" else 60})
    ids = company.record_sound(25)
    company.stand_in.set_faults([{**fault, "when": {"nth": 2}}])
    day = company.run_day()
    doubted = ids[10:20]
    twice = {event_id for event_id, times in Counter(company.received_ids()).items() if times > 1}

    assert day.errors == []
    assert company.statuses() == {"delivered": 25}
    assert doubtful_ids(company) == set(doubted)
    assert twice == set(doubted[:processed])
    assert [request["outcome"] for request in company.requests()] == [
        "delivered", "in_doubt", "delivered", "delivered",
    ]  # fmt: skip
    assert_conserved(company, day.run_key)
    assert_ledger_matches_meta(company)


@pytest.mark.parametrize("case", ["HTML 502, not processed", "reset after", "one fewer received"])
def test_doubtful_events_are_held_on_request(company: Company, case: str) -> None:
    """`hold`: what is in doubt is never sent again by itself, neither by a repeated load nor by the next run."""
    fault, processed = DOUBTS[case]
    company.configure(delivery={"on_in_doubt": "hold"})
    ids = company.record_sound(25)
    company.stand_in.set_faults([{**fault, "when": {"nth": 2}}])
    day = company.run_day()
    company.load(day.shards[0])
    company.run_day()
    in_doubt = {event_id for event_id, row in company.ledger().items() if row["status"] == "in_doubt"}

    assert day.error_types == [DeliveryIncompleteError]
    assert in_doubt == set(ids[10:20])
    assert sorted(company.received_ids()) == sorted(ids[:10] + ids[10 : 10 + processed] + ids[20:])
    assert_ledger_matches_meta(company)


def test_doubt_that_outlasts_a_task_is_resolved_by_the_next_run(company: Company) -> None:
    """Doubtful events of a run that ended are sent again by the next one, under the same ids."""
    ids = company.record_sound(5)
    company.stand_in.set_faults([{"kind": "reset_after"}])
    first = company.run_day()
    company.stand_in.clear_faults()
    second = company.run_day()

    assert first.error_types == [MetaUnavailableError, DeliveryIncompleteError]
    assert second.errors == []
    assert Counter(company.received_ids()) == dict.fromkeys(ids, 4)  # three attempts and the next run
    assert {row["doubts"] for row in company.ledger().values()} == {3}
    assert company.statuses() == {"delivered": 5}


def test_doubt_older_than_48_hours_is_left_to_a_person(company: Company) -> None:
    """Meta de-duplicates for 48 hours: later, nothing in doubt is sent again by itself."""
    company.record_sound(5)
    company.stand_in.set_faults([{"kind": "reset_after"}])
    company.run_day()
    company.stand_in.clear_faults()
    company.warehouse.execute("UPDATE capi.delivery SET doubted_at = %s", [company.now - timedelta(hours=49)])
    later = company.run_day()

    assert later.extraction
    assert later.extraction.staged == 0
    assert company.statuses() == {"in_doubt": 5}


@pytest.mark.sweep(keep=1)
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_in_a_storm(company: Company, seed: int) -> None:
    """Whatever mixture of faults there is, runs end with each event delivered, and what came twice on record."""
    kinds: list[dict[str, Any]] = [
        *(fault for fault, _ in DOUBTS.values() if fault["kind"] != "slow"),
        {"kind": "answer", "status": 500, "json": {"error": {"code": 2}}},
        {"kind": "answer", "json": LIMITED, "headers": {"Retry-After": "1"}},
        {"kind": "answer", "json": LIMITED, "headers": {"Retry-After": "900"}},
        {"kind": "answer", "json": {"error": {"code": 190, "error_subcode": 463}}},
        {"kind": "answer", "json": {"error": {"code": 999}}},
    ]
    company.configure(delivery={"shard_chunks": 2, "attempts": 2})
    ids = company.record_sound(45)
    poisoned = ids[seed::17]
    company.stand_in.set_settings(poisoned_event_ids=dict.fromkeys(poisoned, 2804050))
    company.stand_in.set_faults(
        [{**kind, "when": {"probability": 0.08, "seed": 100 * seed + n}} for n, kind in enumerate(kinds)]
    )
    for _ in range(4):
        day = company.run_day()
        assert_conserved(company, day.run_key)
        assert_ledger_matches_meta(company)
        company.end_pauses()
    company.stand_in.clear_faults()
    company.run_day()

    assert company.statuses() == {"delivered": len(ids) - len(poisoned), "rejected": len(poisoned)}
    assert_ledger_matches_meta(company)


# Workers that die -----------------------------------------------------------------------------------------------------


@pytest.mark.sweep(keep=2)
@pytest.mark.parametrize("nth", [1, 3], ids=["first request", "third request"])
@pytest.mark.parametrize(
    ("process", "times_received"), [("first", 2), ("never", 1)], ids=["Meta had it", "Meta had it not"]
)
def test_killed_worker_loses_nothing(company: Company, nth: int, process: str, times_received: int) -> None:
    """A kill -9 during a request: the repeated task finishes, and only that request's events are doubtful."""
    shard, ids = prepare(company)
    company.stand_in.set_faults([{"kind": "slow", "seconds": 60, "process": process, "when": {"nth": nth}}])
    worker = start_worker(company, shard)
    wait_until(lambda: bool(company.stand_in.faults()[0]["fired"]))
    kill(worker)
    company.stand_in.clear_faults()
    company.load(shard)
    company.audit(shard.run_key)
    doubted = ids[(nth - 1) * 10 : nth * 10]

    assert company.statuses() == {"delivered": 35}
    assert doubtful_ids(company) == set(doubted)
    assert Counter(company.received_ids()) == {
        event_id: times_received if event_id in doubted else 1 for event_id in ids
    }
    assert_ledger_matches_meta(company)


@pytest.mark.sweep(keep=1)
@pytest.mark.parametrize("requests_before", [2, 11])
def test_worker_killed_at_any_moment_loses_nothing(company: Company, requests_before: int) -> None:
    """A kill -9 somewhere in the middle, and another: every event arrives, and what came twice is on record."""
    company.configure(delivery={"chunk_size": 2})
    shard, ids = prepare(company, 60)
    company.stand_in.set_settings(latency_ms=15)
    for _ in range(2):
        company.stand_in.set_faults([no_answer_from(requests_before + 3)])
        enough = len(company.stand_in.requests()) + requests_before
        worker = start_worker(company, shard)
        wait_until(lambda enough=enough: len(company.stand_in.requests()) >= enough)  # type: ignore[misc]
        kill(worker)
    company.stand_in.clear_faults()
    company.stand_in.set_settings(latency_ms=0)
    company.load(shard)
    company.audit(shard.run_key)

    assert company.statuses() == {"delivered": 60}
    assert set(company.received_ids()) == set(ids)
    assert len(doubtful_ids(company)) <= 2 * 2  # two kills, two events in a request
    assert_ledger_matches_meta(company)


def test_next_run_finishes_what_a_dead_worker_left(company: Company) -> None:
    """Where nobody repeats the task, the next run takes over after the lease, with the doubts on record."""
    shard, ids = prepare(company)
    company.stand_in.set_faults([{"kind": "slow", "seconds": 60, "when": {"nth": 2}}])
    worker = start_worker(company, shard)
    wait_until(lambda: bool(company.stand_in.faults()[0]["fired"]))
    kill(worker)
    company.stand_in.clear_faults()
    company.end_lease(shard.run_key)
    heir = company.run_day()

    assert heir.errors == []
    assert company.statuses() == {"delivered": 35}
    assert doubtful_ids(company) == set(ids[10:20])
    assert company.run_row(shard.run_key)["state"] == "abandoned"
    assert_conserved(company, heir.run_key)
    assert_ledger_matches_meta(company)


def test_events_of_a_killed_worker_stay_in_doubt_when_audit_closes_the_run(company: Company) -> None:
    """No try is left and audit closes the run: under `hold` the events whose request died are not sent again."""
    company.configure(delivery={"on_in_doubt": "hold"})
    shard, ids = prepare(company, 15)
    company.stand_in.set_faults([{"kind": "slow", "seconds": 60, "when": {"nth": 1}}])
    worker = start_worker(company, shard)
    wait_until(lambda: bool(company.stand_in.faults()[0]["fired"]))
    kill(worker)
    company.stand_in.clear_faults()
    with pytest.raises(DeliveryIncompleteError, match="5 events are pending and 10 in doubt"):
        company.audit(shard.run_key)
    company.run_day()

    assert company.statuses() == {"in_doubt": 10, "delivered": 5}
    assert Counter(company.received_ids()) == dict.fromkeys(ids, 1)
    assert_ledger_matches_meta(company)


class InterruptedClient(MetaClient):
    """A client during whose n-th request something else happens, as if the worker had been asleep meanwhile."""

    def __init__(self, company: Company, *, nth: int, happens: Callable[[], object]) -> None:
        settings = MetaSettings(
            dataset_id=company.stand_in.dataset_id,
            crm_name=CRM_NAME,
            token=company.token,
            base_url=company.stand_in.base_url,
        )
        super().__init__(settings, timeout_s=60)
        self._nth = nth
        self._happens = happens

    def send_events(self, body: bytes, *, events: int) -> Answer:
        """Send, and let it happen before the answer is seen."""
        answer = super().send_events(body, events=events)
        self._nth -= 1
        if self._nth == 0:
            self._happens()
        return answer


def test_worker_taken_for_dead_sends_no_more(company: Company) -> None:
    """A run that was taken over while a request was under way stops there; both runs' figures hold."""
    shard, ids = prepare(company)
    heirs = []

    def take_over() -> None:
        company.end_lease(shard.run_key)
        heirs.append(company.run_day())

    with pytest.raises(RunTakenOverError):
        company.load(shard, client=InterruptedClient(company, nth=2, happens=take_over))
    result = company.audit(shard.run_key)

    assert heirs[0].errors == []
    assert (result.counts[Status.DELIVERED], result.taken_over) == (10, 25)
    assert doubtful_ids(company) == set(ids[10:20])
    assert company.statuses() == {"delivered": 35}
    assert_conserved(company, heirs[0].run_key)
    assert_ledger_matches_meta(company)


def test_earlier_try_of_the_same_task_sends_no_more(company: Company) -> None:
    """A try that Airflow gave up for dead, and that is not, leaves the field to the one that replaced it."""
    shard, ids = prepare(company)

    with pytest.raises(RunTakenOverError):
        company.load(shard, client=InterruptedClient(company, nth=2, happens=lambda: company.load(shard)))
    company.audit(shard.run_key)

    assert company.statuses() == {"delivered": 35}
    assert doubtful_ids(company) == set(ids[10:20])
    assert_conserved(company, shard.run_key)
    assert_ledger_matches_meta(company)


# Time passes ----------------------------------------------------------------------------------------------------------


def test_events_too_old_at_sending_time_expire(company: Company) -> None:
    """What becomes too old between transform and load is not sent, and holds up none of its chunk."""
    limit = company.now - timedelta(days=7) + timedelta(hours=1)
    old = company.record_sound(4, event_time=limit + timedelta(minutes=30))
    young = company.record_sound(8)
    (shard,) = company.prepare().shards
    company.move_clock(timedelta(hours=1))
    loading = company.load(shard)
    company.audit(shard.run_key)
    ledger = company.ledger()

    assert loading.events == {"expired": 4, "delivered": 8}
    assert {(ledger[event_id]["status"], ledger[event_id]["reason"]) for event_id in old} == {
        ("expired", "event_too_old")
    }
    assert company.received_ids() == young
    assert_conserved(company, shard.run_key)


def test_test_run_counts_its_outcomes_on_the_chunk(company: Company) -> None:
    """A test run isolates poisoned events as a live run does; its figures add up without the ledger."""
    company.configure(delivery={"chunk_size": 10, "test_events": 15})
    ids = company.record_sound(15)
    company.stand_in.set_settings(poisoned_event_ids={ids[3]: 2804050})
    day = company.run_day(company.facts(mode=Mode.TEST), test_event_code="TEST1")
    run = company.select("SELECT * FROM capi.run WHERE run_key = {}", sql.Literal(day.run_key))[0]

    assert day.errors == []
    assert (run["extracted"], run["delivered"], run["rejected"], run["pending"]) == (15, 14, 1, 0)
    assert company.ledger() == {}


# Two tries at once ----------------------------------------------------------------------------------------------------


def test_worker_that_wakes_up_sends_nothing_that_its_successor_sent(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow gave a sleeping worker up and tried its task again: awake again it sends nothing, however far that is."""
    shard, ids = prepare(company, 20)
    company.stand_in.set_settings(poisoned_event_ids={ids[9]: 2804050})
    company.stand_in.set_faults([{"kind": "answer", "json": LIMITED, "when": {"nth": 4}}])
    tries: list[str] = []

    def fall_asleep(journal: Journal, *arguments: Any, **named: Any) -> Any:
        recorded = end_request(journal, *arguments, **named)
        if not tries:
            tries.append("the second, while the first is asleep after its first request")
            with pytest.raises(RateLimitedError):
                company.load(shard)  # refused as a whole, one half delivered, then limited
            company.end_pauses()
        return recorded

    end_request = Journal.end_request
    monkeypatch.setattr(Journal, "end_request", fall_asleep)
    with pytest.raises(RunTakenOverError):
        company.load(shard)
    company.load(shard)
    company.audit(shard.run_key)

    assert sorted(company.received_ids()) == sorted(set(ids) - {ids[9]})
    assert_ledger_matches_meta(company)
