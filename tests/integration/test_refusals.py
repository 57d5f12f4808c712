"""What Meta refuses: events at fault are found with few requests; what is at fault in all of them stops a load."""

from __future__ import annotations

import contextlib
import math
import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from daily_run import assert_conserved, assert_ledger_matches_meta
from load_process import kill, no_answer_from, start_worker, wait_until

from crm_to_meta.errors import AllRefusedError, DeliveryIncompleteError, MetaUnavailableError, RunTakenOverError
from crm_to_meta.load.isolation import PROBES
from crm_to_meta.load.journal import Journal
from crm_to_meta.load.step import load
from crm_to_meta.models import Mode

if TYPE_CHECKING:
    from daily_run import Company

SUBCODES = (2804050, 2804004, 2804009, 2804043)
NAMES_THE_PLACE = 2804019
TOO_OLD = 2804003
EVERYTHING: dict[str, Any] = {"kind": "answer", "json": {"error": {"code": 100, "type": "OAuthException"}}}


@pytest.fixture(autouse=True)
def _rows_are_sound(company: Company) -> None:
    """Great Expectations would take most of the time to say so."""
    company.judges_rows = False


def refused(company: Company) -> dict[str, tuple[str, str]]:
    """Return status and reason of each event that is not delivered."""
    rows = company.ledger().items()
    return {event_id: (row["status"], row["reason"]) for event_id, row in rows if row["status"] != "delivered"}


# Few of many ----------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("concurrency", [1, 4])
def test_25_poisoned_events_among_10000_cost_25_events(company: Company, concurrency: int) -> None:
    """Exactly these are rejected with their subcodes, all others arrive once, and the search stays within its bound."""
    company.configure(delivery={"chunk_size": 1000, "concurrency": concurrency})
    ids = company.record_sound(10_000)
    rng = random.Random(25)  # noqa: S311 - a test's own choice
    subcode_of = {event_id: rng.choice(SUBCODES) for event_id in rng.sample(ids, 25)}
    company.stand_in.set_settings(poisoned_event_ids=subcode_of)
    day = company.run_day()
    requests = len(company.requests())

    assert day.errors == []
    assert refused(company) == {event_id: ("rejected", f"meta_{subcode}") for event_id, subcode in subcode_of.items()}
    assert Counter(company.received_ids()) == dict.fromkeys(set(ids) - subcode_of.keys(), 1)
    assert requests == len(company.stand_in.requests())
    assert requests <= 2 * 25 * math.log2(10_000)
    assert_conserved(company, day.run_key)


def test_the_place_that_meta_names_is_looked_at_first(company: Company) -> None:
    """Where Meta says which event is at fault, that one is sent alone, and its neighbours are found sound at once."""
    company.configure(delivery={"chunk_size": 1000})
    ids = company.record_sound(1000)
    company.stand_in.set_settings(poisoned_event_ids={ids[137]: NAMES_THE_PLACE, ids[840]: NAMES_THE_PLACE})
    day = company.run_day()

    assert day.errors == []
    assert refused(company) == dict.fromkeys([ids[137], ids[840]], ("rejected", f"meta_{NAMES_THE_PLACE}"))
    assert len(company.requests()) <= 12


def test_event_that_meta_finds_too_old_is_expired(company: Company) -> None:
    """2804003 is about time, not about the event: it is expired, with the reason of all that is too old."""
    ids = company.record_sound(10)
    company.stand_in.set_settings(poisoned_event_ids={ids[4]: TOO_OLD})
    day = company.run_day()

    assert day.errors == []
    assert refused(company) == {ids[4]: ("expired", "event_too_old")}
    assert day.loadings[0].events == {"delivered": 9, "expired": 1}
    assert_conserved(company, day.run_key)


def test_too_old_is_a_rejection_where_the_event_may_have_arrived(company: Company) -> None:
    """An event in doubt is never called expired: Meta may have it from the time before."""
    (event_id,) = company.record_sound(1)
    company.stand_in.set_settings(poisoned_event_ids={event_id: TOO_OLD})
    company.stand_in.set_faults([{"kind": "reset_after", "when": {"nth": 1}}])
    day = company.run_day()

    assert day.errors == []
    assert refused(company) == {event_id: ("rejected", f"meta_{TOO_OLD}")}
    assert_conserved(company, day.run_key)


def test_request_that_is_too_much_goes_out_in_halves(company: Company) -> None:
    """Code 1 may ask for less data: what follows is half as large, not the same again."""
    ids = company.record_sound(10)
    too_much = {"kind": "answer", "status": 500, "json": {"error": {"code": 1}}, "when": {"more_than_events": 3}}
    company.stand_in.set_faults([too_much])
    day = company.run_day()

    assert day.errors == []
    assert company.received_ids() == ids
    assert max(r["events"] for r in company.requests() if r["outcome"] == "delivered") <= 3
    assert Counter(request["outcome"] for request in company.requests())["not_processed"] == 3
    assert len(company.pauses) == 3


def test_request_that_is_always_too_much_ends_the_try(company: Company) -> None:
    """Halving is an attempt like any other: it does not go on for ever, and nothing is rejected."""
    company.record_sound(10)
    company.stand_in.set_faults([{"kind": "answer", "status": 500, "json": {"error": {"code": 1}}}])
    (shard,) = company.prepare().shards
    with pytest.raises(MetaUnavailableError):
        company.load(shard)

    assert len(company.requests()) == company.pipeline.delivery.attempts
    assert company.statuses() == {"pending": 10}


# All of them ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subcode", [2804050, NAMES_THE_PLACE, TOO_OLD], ids=["no place", "names the place", "too old"])
def test_chunk_in_which_everything_is_refused_is_recognised_early(company: Company, subcode: int) -> None:
    """A thousand refused events cost about twenty requests; none is rejected, and one sentence says what to do."""
    company.configure(delivery={"chunk_size": 1000})
    ids = company.record_sound(1000)
    company.stand_in.set_settings(poisoned_event_ids=dict.fromkeys(ids, subcode))
    day = company.run_day()

    assert day.error_types == [AllRefusedError, DeliveryIncompleteError]
    assert f"alike: {subcode}: " in str(day.errors[0])
    assert company.statuses() == {"pending": 1000}
    assert len(company.requests()) == 1 + PROBES
    assert company.run_row(day.run_key)["stop_reason"] is None
    assert_conserved(company, day.run_key)


def test_what_all_events_had_in_common_is_mended_and_all_arrive(company: Company) -> None:
    """The cleared load sends everything, also what was refused alone before."""
    ids = company.record_sound(100)
    company.configure(delivery={"chunk_size": 50})
    company.stand_in.set_faults([EVERYTHING])
    (shard,) = company.prepare().shards
    with pytest.raises(AllRefusedError, match="make check"):
        company.load(shard)
    company.stand_in.clear_faults()
    company.load(shard)
    company.audit(shard.run_key)

    assert sorted(company.received_ids()) == sorted(ids)
    assert company.statuses() == {"delivered": 100}


@pytest.mark.parametrize("events", [1, 5, 25])
def test_refusal_without_a_subcode_is_no_rejection_while_meta_takes_nothing(company: Company, events: int) -> None:
    """Code 100 alone may be a missing permission, however few events there are: they stay pending."""
    company.configure(delivery={"shard_chunks": 1})
    company.record_sound(events)
    company.stand_in.set_faults([EVERYTHING])
    day = company.run_day()

    assert set(day.error_types) == {AllRefusedError, DeliveryIncompleteError}
    assert company.statuses() == {"pending": events}


# A refusal without a subcode ------------------------------------------------------------------------------------------


def poison(*event_ids: str) -> list[dict[str, Any]]:
    """Return faults that refuse each request with one of these events, without a subcode."""
    return [{**EVERYTHING, "when": {"event_id": event_id}} for event_id in event_ids]


def lose_permission(*, from_request: int, to_request: int | None = None) -> dict[str, Any]:
    """Return the fault of a permission that is gone from the n-th request on, or for some requests."""
    return {**EVERYTHING, "when": {"from_request": from_request, "to_request": to_request}}


@pytest.mark.parametrize("place", [0, 4, 9], ids=["first", "in the middle", "last"])
def test_lone_event_at_fault_is_rejected_once_all_others_of_its_request_arrived(company: Company, place: int) -> None:
    """Also in the only chunk of a small day, where nothing else is left to be sent after it."""
    ids = company.record_sound(10)
    company.stand_in.set_faults(poison(ids[place]))
    day = company.run_day()

    assert day.errors == []
    assert refused(company) == {ids[place]: ("rejected", "meta_100")}
    assert Counter(company.received_ids()) == dict.fromkeys(set(ids) - {ids[place]}, 1)
    assert_conserved(company, day.run_key)


@pytest.mark.parametrize("concurrency", [1, 4, 8])
@pytest.mark.parametrize(
    "places",
    [{0: None, 1: None}, {5: None, 17: 2804050, 18: None}, {0: 2804050, 1: None, 39: 2804009}, {3: None, 38: None}],
    ids=["neighbours", "with and without", "first and last", "far apart"],
)
def test_events_at_fault_with_and_without_a_subcode_are_rejected(
    company: Company, places: dict[int, int | None], concurrency: int
) -> None:
    """Several events at fault among good ones are rejected, wherever they stand; all others arrive once."""
    company.configure(delivery={"chunk_size": 40, "concurrency": concurrency})
    ids = company.record_sound(40)
    subcode_of = {ids[place]: subcode for place, subcode in places.items() if subcode}
    company.stand_in.set_settings(poisoned_event_ids=subcode_of)
    company.stand_in.set_faults(poison(*(ids[place] for place, subcode in places.items() if not subcode)))
    day = company.run_day()

    assert day.errors == []
    assert refused(company) == {ids[place]: ("rejected", f"meta_{subcode or 100}") for place, subcode in places.items()}
    assert Counter(company.received_ids()) == dict.fromkeys(set(ids) - refused(company).keys(), 1)
    assert_ledger_matches_meta(company)


def test_event_after_which_meta_took_nothing_is_decided_by_the_next_run(company: Company) -> None:
    """The last request of a run is refused: what arrived before it proves nothing. The next run's events do."""
    ids = company.record_sound(11)
    company.stand_in.set_faults(poison(ids[10]))
    day = company.run_day()
    after = refused(company)
    more = company.record_sound(20)
    next_day = company.run_day()

    assert day.error_types == [AllRefusedError, DeliveryIncompleteError]
    assert "Meta refused 1 events of 1 chunks (first: 1)" in str(day.errors[0])
    assert "none of them is rejected, and 1 events stay pending" in str(day.errors[0])
    assert after == {ids[10]: ("pending", None)}
    assert next_day.errors == []
    assert refused(company) == {ids[10]: ("rejected", "meta_100")}
    assert sorted(company.received_ids()) == sorted([*ids[:10], *more])


def test_lone_chunk_that_is_at_fault_is_rejected_once_meta_took_another_after_it(company: Company) -> None:
    """An event that has its chunk for itself is sent once more at the end, after a chunk that was sent after it."""
    company.configure(delivery={"chunk_size": 1})
    ids = company.record_sound(3)
    company.stand_in.set_faults(poison(ids[0]))
    day = company.run_day()

    assert day.errors == []
    assert refused(company) == {ids[0]: ("rejected", "meta_100")}
    assert [request["outcome"] for request in company.requests()] == [
        "refused_alone", "delivered", "delivered", "payload_refused",
    ]  # fmt: skip


@pytest.mark.sweep(keep=3)
@pytest.mark.parametrize("concurrency", [1, 4, 8])
@pytest.mark.parametrize("from_request", [1, 2, 3, 9])
@pytest.mark.parametrize("chunk_size", [5, 10, 30])
def test_permission_that_goes_between_chunks_rejects_nothing(
    company: Company, chunk_size: int, from_request: int, concurrency: int
) -> None:
    """Law 4: whatever Meta took before proves nothing about a permission that is gone now."""
    company.configure(delivery={"chunk_size": chunk_size, "concurrency": concurrency})
    ids = company.record_sound(90)
    company.stand_in.set_faults([lose_permission(from_request=from_request)])
    day = company.run_day()
    statuses = company.statuses()
    arrived = company.received_ids()
    company.stand_in.clear_faults()
    next_day = company.run_day()

    assert statuses.keys() <= {"delivered", "pending"}
    assert statuses.get("delivered", 0) == len(arrived)
    assert bool(day.errors) == ("pending" in statuses)
    assert next_day.errors == []
    assert company.statuses() == {"delivered": 90}
    assert Counter(company.received_ids()) == dict.fromkeys(ids, 1)


@pytest.mark.sweep(keep=3)
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("from_request", range(2, 27, 3))
@pytest.mark.parametrize("vague", [False, True], ids=["with a subcode", "without one"])
def test_permission_that_goes_in_the_midst_of_an_isolation_rejects_no_good_event(
    company: Company, *, vague: bool, from_request: int, concurrency: int
) -> None:
    """Law 4, also after parts of the chunk were taken and events of it rejected."""
    company.configure(delivery={"chunk_size": 60, "concurrency": concurrency})
    ids = company.record_sound(100)
    bad = {ids[7], ids[45]}
    if not vague:
        company.stand_in.set_settings(poisoned_event_ids=dict.fromkeys(bad, 2804050))
    lost = lose_permission(from_request=from_request)
    company.stand_in.set_faults([lost, *(poison(*bad) if vague else [])])
    day = company.run_day()
    rejected = {event_id for event_id, (status, _) in refused(company).items() if status == "rejected"}
    assert_conserved(company, day.run_key)
    company.stand_in.set_faults(poison(*bad) if vague else [])
    company.run_day()
    company.record_sound(3)
    last_day = company.run_day()

    assert rejected <= bad
    assert last_day.errors == []
    assert refused(company) == dict.fromkeys(bad, ("rejected", f"meta_{100 if vague else 2804050}"))
    assert Counter(company.received_ids()) == dict.fromkeys(company.ledger().keys() - bad, 1)


@pytest.mark.parametrize("to_request", [2, 12, 22, 24, 42])
def test_permission_that_comes_back_in_the_midst_of_a_load_delivers_everything(
    company: Company, to_request: int
) -> None:
    """An event that was refused meanwhile is sent once more before it is called rejected."""
    company.configure(delivery={"chunk_size": 30})
    ids = company.record_sound(90)
    company.stand_in.set_faults([lose_permission(from_request=2, to_request=to_request)])
    day = company.run_day()

    assert day.errors == []
    assert company.statuses() == {"delivered": 90}
    assert Counter(company.received_ids()) == dict.fromkeys(ids, 1)


@pytest.mark.parametrize("from_request", [1, 3, 14])
def test_permission_that_is_given_back_and_the_task_cleared(company: Company, from_request: int) -> None:
    """What was refused alone is open again for the cleared task, which delivers all of it."""
    company.configure(delivery={"chunk_size": 30})
    ids = company.record_sound(90)
    company.stand_in.set_settings(poisoned_event_ids={ids[3]: 2804050})
    company.stand_in.set_faults([lose_permission(from_request=from_request)])
    (shard,) = company.prepare().shards
    with pytest.raises(AllRefusedError, match="make check"):
        company.load(shard)
    company.stand_in.clear_faults()
    company.load(shard)
    company.audit(shard.run_key)

    assert refused(company) == {ids[3]: ("rejected", "meta_2804050")}
    assert Counter(company.received_ids()) == dict.fromkeys(set(ids) - {ids[3]}, 1)


def test_other_shards_do_not_speak_for_a_permission_that_is_gone(company: Company) -> None:
    """Several shards: what the first one delivered is no reason to reject what the others are refused."""
    company.configure(delivery={"shard_chunks": 1, "chunk_size": 30})
    company.record_sound(90)
    company.stand_in.set_faults([lose_permission(from_request=2)])
    day = company.run_day()

    assert day.error_types == [AllRefusedError, AllRefusedError, DeliveryIncompleteError]
    assert company.statuses() == {"delivered": 30, "pending": 60}
    assert_conserved(company, day.run_key)


@pytest.mark.parametrize(
    ("is_after", "fate"), [(True, ("rejected", "meta_100")), (False, ("pending", None))], ids=["after", "before"]
)
def test_other_shard_speaks_for_an_event_that_was_refused_before(
    company: Company, monkeypatch: pytest.MonkeyPatch, *, is_after: bool, fate: tuple[str, str | None]
) -> None:
    """What another shard sent after a refusal, and Meta took, shows that no permission was missing."""
    company.configure(delivery={"shard_chunks": 1, "chunk_size": 1})
    ids = company.record_sound(2)
    first, second = company.prepare().shards
    company.stand_in.set_faults(poison(ids[0]))
    end_request = Journal.end_request
    answers = []

    def load_other() -> None:
        with company.connect() as other, company.client() as client:
            load(other, company.pipeline, second, client, mode=Mode.LIVE, now=lambda: company.now)

    def end(*arguments: Any, **named: Any) -> Any:
        answers.append(1)
        if len(answers) > 1:
            return end_request(*arguments, **named)
        if not is_after:
            load_other()
        recorded = end_request(*arguments, **named)
        if is_after:
            load_other()
        return recorded

    monkeypatch.setattr(Journal, "end_request", end)
    with contextlib.suppress(AllRefusedError):
        company.load(first)
    company.audit_anyhow(first.run_key)

    assert refused(company) == {ids[0]: fate}
    assert company.received_ids() == [ids[1]]


@pytest.mark.sweep(keep=2)
@pytest.mark.parametrize("requests_before", [2, 6, 12])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_killed_worker_and_a_permission_that_is_gone_reject_nothing(
    company: Company, requests_before: int, concurrency: int
) -> None:
    """The second try finds deliveries of the first one on record: they are from before its own refusals."""
    company.configure(delivery={"chunk_size": 40, "concurrency": concurrency})
    ids = company.record_sound(200)
    company.stand_in.set_settings(poisoned_event_ids={ids[2]: 2804050}, latency_ms=60)
    company.stand_in.set_faults([no_answer_from(requests_before + 2)])
    (shard,) = company.prepare().shards
    worker = start_worker(company, shard)
    wait_until(lambda: len(company.stand_in.requests()) >= requests_before)
    kill(worker)
    company.stand_in.set_settings(latency_ms=0)
    company.stand_in.set_faults([EVERYTHING])
    with contextlib.suppress(AllRefusedError):
        company.load(shard)
    rejected = {event_id for event_id, (status, _) in refused(company).items() if status == "rejected"}
    company.stand_in.clear_faults()
    company.load(shard)
    company.audit(shard.run_key)

    assert rejected <= {ids[2]}
    assert refused(company) == {ids[2]: ("rejected", "meta_2804050")}
    assert_ledger_matches_meta(company)


# A whole chunk is refused ---------------------------------------------------------------------------------------------


def test_bad_chunk_holds_up_no_good_one(company: Company) -> None:
    """A chunk of nothing but bad events waits until all others are through; then it is searched, and rejected."""
    company.configure(delivery={"chunk_size": 30})
    ids = company.record_sound(90)
    company.stand_in.set_settings(poisoned_event_ids=dict.fromkeys(ids[:30], 2804050))
    day = company.run_day()
    sizes = [request["events"] for request in company.requests()]

    assert day.errors == []
    assert company.received_ids() == ids[30:]
    assert refused(company) == dict.fromkeys(ids[:30], ("rejected", "meta_2804050"))
    assert sizes[: 1 + PROBES + 2] == [30, *[1] * PROBES, 30, 30]
    assert_conserved(company, day.run_key)


def test_chunks_of_bad_events_have_a_share_of_requests(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Meta takes other events, bad chunks are isolated bit by bit: each try within its share, until all are."""
    monkeypatch.setattr("crm_to_meta.load.step.MOST_ISOLATING_REQUESTS", 10)
    company.configure(delivery={"chunk_size": 100})
    ids = company.record_sound(200)
    company.stand_in.set_settings(poisoned_event_ids=dict.fromkeys(ids[:100], 2804050))
    (shard,) = company.prepare().shards
    rejected = []
    for _ in range(50):
        try:
            company.load(shard)
        except AllRefusedError:
            rejected.append(company.statuses()["rejected"])
        else:
            break
    company.audit(shard.run_key)

    assert rejected == sorted(set(rejected))
    assert len(rejected) > 1
    assert company.statuses() == {"rejected": 100, "delivered": 100}
    assert company.received_ids() == ids[100:]


def test_share_that_is_just_enough_is_enough(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of which nothing is left to send is done, also where no request is left to be made."""
    company.configure(delivery={"chunk_size": 30})
    shares = [1_000]
    for _ in range(2):
        monkeypatch.setattr("crm_to_meta.load.step.MOST_ISOLATING_REQUESTS", shares[-1])
        ids = company.record_sound(60)
        company.stand_in.set_settings(poisoned_event_ids=dict.fromkeys(ids[:30], 2804050))
        day = company.run_day()
        shares.append(len(company.requests(day.run_key)) - (1 + PROBES + 1))  # one chunk until it is parked, one sound
        assert day.errors == []

    assert shares[1] == shares[2] > 0
    assert company.statuses() == {"rejected": 60, "delivered": 60}


def test_next_run_judges_anew(company: Company) -> None:
    """Events that stayed pending since everything was refused are isolated once there is a sound one among them."""
    ids = company.record_sound(30)
    company.configure(delivery={"chunk_size": 100})
    company.stand_in.set_settings(poisoned_event_ids=dict.fromkeys(ids, 2804050))
    first = company.run_day()
    more = company.record_sound(70)
    second = company.run_day()

    assert first.error_types == [AllRefusedError, DeliveryIncompleteError]
    assert second.errors == []
    assert refused(company) == dict.fromkeys(ids, ("rejected", "meta_2804050"))
    assert sorted(company.received_ids()) == sorted(more)


def test_test_run_tells_the_same(company: Company) -> None:
    """A test run, which leaves the ledger alone, recognises a chunk in which everything is refused as well."""
    company.configure(delivery={"chunk_size": 100, "test_events": 40})
    company.record_sound(40)
    company.stand_in.set_faults([EVERYTHING])
    day = company.run_day(company.facts(mode=Mode.TEST), test_event_code="TEST1")
    run = company.run_row(day.run_key)

    assert day.error_types == [AllRefusedError, DeliveryIncompleteError]
    assert (run["rejected"], run["pending"]) == (0, 40)


def test_refusals_of_an_earlier_try_are_no_rejections(company: Company) -> None:
    """A try that was replaced while it searched does not reject what its successor delivered."""
    company.configure(delivery={"chunk_size": 40})
    ids = company.record_sound(40)
    (shard,) = company.prepare().shards
    limited = {"kind": "answer", "json": {"error": {"code": 17}}, "headers": {"Retry-After": "1"}}
    company.stand_in.set_faults([{**limited, "when": {"nth": 4}}, {**EVERYTHING, "when": {"to_request": 5}}])
    tries = []

    def fall_asleep(_: float) -> None:
        tries.append("the second")
        company.stand_in.clear_faults()
        company.load(shard)

    with company.client() as client, pytest.raises(RunTakenOverError):
        load(
            company.warehouse, company.pipeline, shard, client, mode=Mode.LIVE, sleep=fall_asleep,
            now=lambda: company.now,
        )  # fmt: skip

    assert tries == ["the second"]
    assert company.statuses() == {"delivered": 40}
    assert sorted(company.received_ids()) == sorted(ids)
    assert_ledger_matches_meta(company)


def test_events_that_grow_too_old_in_a_pause_expire_before_the_next_attempt(company: Company) -> None:
    """Each attempt looks at the clock: waiting never outlives the events."""
    old = company.record_sound(3, event_time=company.now - timedelta(days=7) + timedelta(minutes=61))
    young = company.record_sound(3)
    (shard,) = company.prepare().shards
    company.stand_in.set_faults(
        [{"kind": "answer", "json": {"error": {"code": 17}}, "headers": {"Retry-After": "100"}, "when": {"nth": 1}}]
    )
    with company.client() as client:
        result = load(
            company.warehouse, company.pipeline, shard, client, mode=Mode.LIVE,
            sleep=lambda seconds: company.move_clock(timedelta(seconds=seconds)), now=lambda: company.now,
        )  # fmt: skip
    statuses = {event_id: row["status"] for event_id, row in company.ledger().items()}

    assert result.events == {"expired": 3, "delivered": 3}
    assert statuses == {**dict.fromkeys(old, "expired"), **dict.fromkeys(young, "delivered")}
