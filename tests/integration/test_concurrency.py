"""Several requests at a time: nothing is sent twice or lost, whatever happens while others are under way."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from daily_run import CRM_NAME, Company, assert_conserved, assert_ledger_matches_meta
from load_process import kill, no_answer_from, start_worker, wait_until
from psycopg import sql

from crm_to_meta.errors import (
    CredentialsError,
    CrmToMetaError,
    DeliveryIncompleteError,
    MetaUnavailableError,
    RateLimitedError,
    RunTakenOverError,
    WarehouseError,
)
from crm_to_meta.load.journal import Journal
from crm_to_meta.load.step import load
from crm_to_meta.meta.client import MetaClient, MetaSettings
from crm_to_meta.models import Mode, Shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm_to_meta.meta.answers import Answer

CONCURRENCY = 8
PATIENCE_S = 60


@pytest.fixture(autouse=True)
def _eight_at_a_time(company: Company) -> None:
    company.judges_rows = False
    company.configure(delivery={"concurrency": CONCURRENCY, "chunk_size": 5, "shard_chunks": 200, "attempts": 5})


class WatchedClient(MetaClient):
    """Counts how many requests are under way at a time, and does something before the n-th is sent.

    With `meets`, the n-th and those before it wait for each other: then as many are under way as the setting allows.
    """

    def __init__(
        self, company: Company, *, nth: int = 0, happens: Callable[[], object] = lambda: None, meets: bool = False
    ) -> None:
        settings = MetaSettings(
            dataset_id=company.stand_in.dataset_id,
            crm_name=CRM_NAME,
            token=company.token,
            base_url=company.stand_in.base_url,
        )
        super().__init__(settings, timeout_s=60)
        self.most = self._now = self._begun = 0
        self._lock = threading.Lock()
        self._nth, self._happens = nth, happens
        self._meeting = threading.Barrier(CONCURRENCY, action=happens) if meets else None

    def send_events(self, body: bytes, *, events: int) -> Answer:
        """Count, send, count."""
        with self._lock:
            self._begun += 1
            self._now += 1
            self.most = max(self.most, self._now)
            number = self._begun
        if self._meeting is not None and self._nth - CONCURRENCY < number <= self._nth:
            self._meeting.wait(PATIENCE_S)
        elif self._meeting is None and number == self._nth:
            self._happens()
        try:
            return super().send_events(body, events=events)
        finally:
            with self._lock:
                self._now -= 1


def prepare(company: Company, events: int = 200) -> tuple[Shard, list[str]]:
    """Do everything up to the sending; return the only shard and the event ids."""
    ids = company.record_sound(events)
    (shard,) = company.prepare().shards
    return shard, ids


def outcomes(company: Company) -> Counter[str]:
    """Return the outcomes of the requests on record."""
    return Counter(request["outcome"] for request in company.requests())


def test_as_many_requests_are_under_way_as_the_pipeline_says(company: Company) -> None:
    """As many as `delivery.concurrency` allows, and no more; each event arrives once."""
    shard, ids = prepare(company)
    client = WatchedClient(company, nth=20, meets=True)
    company.load(shard, client=client)

    assert client.most == CONCURRENCY
    assert Counter(company.received_ids()) == dict.fromkeys(ids, 1)
    assert outcomes(company) == {"delivered": 40}


@pytest.mark.sweep(keep=1)
@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (2, 3), (8, 9)])
def test_few_answers_wait_for_being_written_down(
    company: Company, monkeypatch: pytest.MonkeyPatch, concurrency: int, most: int
) -> None:
    """Where Meta is faster than the warehouse, a crash would still put hardly more in doubt than what is under way."""
    shard, ids = prepare(company)
    company.configure(delivery={"concurrency": concurrency})
    end_request = Journal.end_request
    sending = []

    def slow(journal: Journal, *arguments: Any, **named: Any) -> Any:
        time.sleep(0.02)  # longer than the stand-in takes
        sending.append(outcomes(company)["sending"])
        return end_request(journal, *arguments, **named)

    monkeypatch.setattr(Journal, "end_request", slow)
    company.load(shard)

    assert max(sending) <= most
    assert Counter(company.received_ids()) == dict.fromkeys(ids, 1)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_few_chunks_are_read_ahead(company: Company, monkeypatch: pytest.MonkeyPatch, concurrency: int) -> None:
    """A shard is larger than what a worker should hold: it reads ahead no more chunks than it sends at a time."""
    shard, ids = prepare(company)
    company.configure(delivery={"concurrency": concurrency})
    company.stand_in.set_settings(latency_ms=20)
    read_chunk, finish_chunk = Journal.read_chunk, Journal.finish_chunk
    held, most = 0, 0

    def read(journal: Journal, chunk_no: int) -> Any:
        nonlocal held, most
        held += 1
        most = max(most, held)
        return read_chunk(journal, chunk_no)

    def finish(journal: Journal, chunk_no: int) -> None:
        nonlocal held
        held -= 1
        finish_chunk(journal, chunk_no)

    monkeypatch.setattr(Journal, "read_chunk", read)
    monkeypatch.setattr(Journal, "finish_chunk", finish)
    company.load(shard)

    assert len(ids) // 5 > most
    assert most <= 2 * concurrency + 1


def test_few_chunks_need_few_requests_at_a_time(company: Company) -> None:
    """Fewer chunks than requests allowed at a time are no reason to wait or to fail."""
    shard, ids = prepare(company, 7)
    company.load(shard)

    assert sorted(company.received_ids()) == sorted(ids)


# Errors while others are under way ------------------------------------------------------------------------------------


def test_token_that_expires_with_eight_requests_in_flight_costs_nothing(company: Company) -> None:
    """Nothing is rejected, nothing lost or doubtful; with a new token the rest is delivered, all exactly once."""
    shard, ids = prepare(company)
    good = company.token

    def expire() -> None:
        company.stand_in.set_settings(expired_tokens=[good], tokens=["new-token"])

    client = WatchedClient(company, nth=20, happens=expire, meets=True)
    with pytest.raises(CredentialsError, match=r"expired\. It ended on .*fbtrace_id") as raised:
        company.load(shard, client=client)
    after = (company.statuses(), outcomes(company))
    requests_before = len(company.stand_in.requests())
    company.token = "new-token"
    with company.client() as renewed:
        load(company.warehouse, company.pipeline, shard, renewed, mode=Mode.LIVE, clears_stop=True)
    company.audit(shard.run_key)

    assert client.most == CONCURRENCY
    assert good not in str(raised.value)
    assert after == ({"delivered": 60, "pending": 140}, {"delivered": 12, "stopped": CONCURRENCY})
    assert requests_before == 12 + CONCURRENCY
    assert company.statuses() == {"delivered": 200}
    assert Counter(company.received_ids()) == dict.fromkeys(ids, 1)
    assert {row["doubts"] for row in company.ledger().values()} == {0}


def test_stop_reaches_all_shards_at_once(company: Company) -> None:
    """Another shard's load, in the middle of its own requests, sends nothing more once the token is refused."""
    company.configure(delivery={"shard_chunks": 20, "parallel_shards": 2})
    company.record_sound(200)
    first, second = company.prepare().shards
    errors: list[CrmToMetaError] = []

    def load_with_expired_token() -> None:
        with company.connect() as other, company.client() as client:
            try:
                load(other, company.pipeline, second, client, mode=Mode.LIVE)
            except CrmToMetaError as error:
                errors.append(error)

    client = WatchedClient(company, nth=CONCURRENCY, happens=load_with_expired_token, meets=True)
    company.token = "expired-token"
    with pytest.raises(CredentialsError, match="stopped by another shard: auth_190_463"):
        company.load(first, client=client)

    assert [type(error) for error in errors] == [CredentialsError]
    assert company.run_row(first.run_key)["stop_reason"] == "auth_190_463"
    assert outcomes(company)["stopped"] <= CONCURRENCY
    assert len(company.stand_in.requests()) <= 2 * CONCURRENCY
    assert company.statuses().keys() <= {"delivered", "pending"}


def test_permanent_error_outranks_one_that_is_worth_a_retry(company: Company) -> None:
    """Where the token is refused while a rate limit ends the load, Airflow must not try again for nothing."""
    shard, _ = prepare(company)
    limit = {"kind": "answer", "json": {"error": {"code": 17}}, "when": {"nth": 1}}
    refusal = {"kind": "answer", "json": {"error": {"code": 190}}}
    company.stand_in.set_faults([limit, refusal])
    with pytest.raises(CredentialsError):
        company.load(shard, client=WatchedClient(company, nth=CONCURRENCY, meets=True))

    assert company.statuses() == {"pending": 200}
    assert outcomes(company) == {"rate_limited": 1, "stopped": CONCURRENCY - 1}


def test_what_is_under_way_is_written_down_before_an_error_is_raised(company: Company) -> None:
    """A load that fails knows the outcome of all that it sent: nothing becomes doubtful by an error of others."""
    shard, ids = prepare(company)
    company.configure(delivery={"attempts": 1})
    company.stand_in.set_settings(latency_ms=50)
    company.stand_in.set_faults([{"kind": "answer", "json": {"error": {"code": 2}}, "when": {"nth": 9}}])
    with pytest.raises(MetaUnavailableError):
        company.load(shard)
    delivered = [event_id for event_id, row in company.ledger().items() if row["status"] == "delivered"]

    assert outcomes(company).keys() == {"delivered", "not_processed"}
    assert sorted(company.received_ids()) == sorted(delivered)
    assert len(delivered) >= 8 * 5
    assert set(delivered) < set(ids)


def test_pause_is_everybodys(company: Company) -> None:
    """While one chunk waits for a rate limit, no other sends; what is under way is answered first."""
    shard, ids = prepare(company)
    company.stand_in.set_settings(latency_ms=20)
    limit = {"kind": "answer", "json": {"error": {"code": 17}}, "headers": {"Retry-After": "30"}, "when": {"nth": 10}}
    company.stand_in.set_faults([limit])
    seen: list[tuple[float, int]] = []
    client = WatchedClient(company)

    def sleep(seconds: float) -> None:
        seen.append((seconds, client._now))

    with client:
        load(company.warehouse, company.pipeline, shard, client, mode=Mode.LIVE, sleep=sleep, now=lambda: company.now)

    assert seen == [(30.0, 0)]
    assert Counter(company.received_ids()) == dict.fromkeys(ids, 1)


def test_interrupted_load_leaves_a_true_record(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle: requests under way are written down where their answers come soon, the rest is pending."""
    shard, ids = prepare(company)
    company.stand_in.set_settings(latency_ms=50)
    calls = []
    end_request = Journal.end_request

    def interrupted(journal: Journal, *arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return end_request(journal, *arguments, **named)

    monkeypatch.setattr(Journal, "end_request", interrupted)
    monkeypatch.setattr("crm_to_meta.load.step.GRACE_S", PATIENCE_S)  # for a busy computer
    with pytest.raises(KeyboardInterrupt):
        company.load(shard)
    monkeypatch.undo()
    assert outcomes(company)["sending"] == 1
    company.load(shard)
    company.audit(shard.run_key)

    assert company.statuses() == {"delivered": 200}
    assert set(company.received_ids()) == set(ids)
    assert sum(1 for row in company.ledger().values() if row["doubts"]) == 5
    assert_ledger_matches_meta(company)


def test_defect_in_a_thread_is_not_swallowed(company: Company) -> None:
    """What no rule foresees, raised while a request is under way, ends the load; its events are doubtful."""
    shard, ids = prepare(company)

    def break_down() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        company.load(shard, client=WatchedClient(company, nth=4, happens=break_down))
    company.load(shard)
    company.audit(shard.run_key)

    assert company.statuses() == {"delivered": 200}
    assert Counter(company.received_ids()) == dict.fromkeys(ids, 1)
    assert sum(1 for row in company.ledger().values() if row["doubts"]) == 5


def test_warehouse_that_goes_away_ends_the_load_and_no_thread_is_left(company: Company) -> None:
    """A broken connection to the warehouse: nothing more is sent, and the next try finds the truth."""
    shard, ids = prepare(company)
    company.stand_in.set_settings(latency_ms=30)
    with company.connect() as doomed:
        pid = doomed.info.backend_pid

        def end() -> None:
            company.warehouse.execute("SELECT pg_terminate_backend(%s)", [pid])

        watched = WatchedClient(company, nth=12, happens=end)
        with watched, pytest.raises((WarehouseError, psycopg.OperationalError)):
            load(doomed, company.pipeline, shard, watched, mode=Mode.LIVE)
    company.load(shard)
    company.audit(shard.run_key)

    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("meta_")])
    assert company.statuses() == {"delivered": 200}
    assert set(company.received_ids()) == set(ids)
    assert_ledger_matches_meta(company)


@pytest.mark.sweep(keep=1)
@pytest.mark.parametrize("requests_before", [3, 13])
def test_worker_killed_with_eight_requests_in_flight_loses_nothing(company: Company, requests_before: int) -> None:
    """A kill -9, and another: everything arrives, and no more is doubtful than was under way or being written down."""
    shard, ids = prepare(company)
    company.stand_in.set_settings(latency_ms=40)
    for _ in range(2):
        company.stand_in.set_faults([no_answer_from(requests_before + 4)])
        enough = len(company.stand_in.requests()) + requests_before
        worker = start_worker(company, shard)
        wait_until(lambda enough=enough: len(company.stand_in.requests()) >= enough)  # type: ignore[misc]
        kill(worker)
    company.stand_in.clear_faults()
    company.stand_in.set_settings(latency_ms=0)
    company.load(shard)
    company.audit(shard.run_key)

    assert company.statuses() == {"delivered": 200}
    assert set(company.received_ids()) == set(ids)
    assert sum(row["doubts"] for row in company.ledger().values()) <= 2 * (CONCURRENCY + 1) * 5
    assert_conserved(company, shard.run_key)
    assert_ledger_matches_meta(company)


# Others at the same work ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nth", [1, 9, 25])
def test_earlier_try_with_eight_requests_in_flight_sends_no_more(company: Company, nth: int) -> None:
    """A try that was replaced stops; doubtful is at most what it had under way or was writing down."""
    shard, ids = prepare(company)
    company.stand_in.set_settings(latency_ms=20)
    done = threading.Event()

    def replace() -> None:
        if not done.is_set():
            done.set()
            with company.connect() as other, company.client() as client:
                load(other, company.pipeline, shard, client, mode=Mode.LIVE)

    with pytest.raises(RunTakenOverError):
        company.load(shard, client=WatchedClient(company, nth=nth, happens=replace))
    company.audit(shard.run_key)

    assert company.statuses() == {"delivered": 200}
    assert set(company.received_ids()) == set(ids)
    assert sum(1 for row in company.ledger().values() if row["doubts"]) <= (CONCURRENCY + 1) * 5
    assert_ledger_matches_meta(company)


def test_late_worker_of_another_shard_finds_its_chunks_set_aside(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It slept while another run took its transitions, and wakes up in a run that is open again: nothing is sent."""
    company.configure(delivery={"chunk_size": 10, "shard_chunks": 2, "concurrency": 1})
    ids = company.record_sound(40)
    day = company.prepare()
    first, second = day.shards
    end_request, slept = Journal.end_request, []

    def sleep_through_a_takeover(journal: Journal, *arguments: Any, **named: Any) -> Any:
        result = end_request(journal, *arguments, **named)
        if not slept:
            slept.append(1)
            company.end_lease(day.run_key)
            assert company.run_day().errors == []
            company.load(first)  # somebody cleared that task: the run is open again
        return result

    monkeypatch.setattr(Journal, "end_request", sleep_through_a_takeover)
    with pytest.raises(RunTakenOverError):
        company.load(second)
    company.load(second)

    assert Counter(company.received_ids()) == dict.fromkeys(ids, 1)


def test_two_shards_at_once_share_no_event(company: Company) -> None:
    """Two mapped tasks of eight: sixteen requests at a time, two connections, no deadlock and no duplicate."""
    company.configure(delivery={"shard_chunks": 20})
    ids = company.record_sound(200)
    shards = company.prepare().shards
    company.stand_in.set_settings(latency_ms=10)
    failures: list[BaseException] = []

    def work(shard: Shard) -> None:
        with company.connect() as own, company.client() as client:
            try:
                load(own, company.pipeline, shard, client, mode=Mode.LIVE)
            except BaseException as error:  # noqa: BLE001 - for the assertion
                failures.append(error)

    threads = [threading.Thread(target=work, args=[shard]) for shard in shards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert [thread.is_alive() for thread in threads] == [False, False]
    assert failures == []
    assert Counter(company.received_ids()) == dict.fromkeys(ids, 1)
    assert company.audit(shards[0].run_key).counts["delivered"] == 200  # type: ignore[index]


# In doubt -------------------------------------------------------------------------------------------------------------


def test_fifth_of_the_answers_lost_after_processing(company: Company) -> None:
    """20 % resets: each such event is recorded in doubt as often as its answer was lost, and resent once each time."""
    company.configure(delivery={"attempts": 12})
    shard, ids = prepare(company, 500)
    company.stand_in.set_faults([{"kind": "reset_after", "when": {"probability": 0.2, "seed": 6}}])
    company.load(shard)
    company.audit(shard.run_key)
    times = Counter(company.received_ids())
    doubts = {event_id: row["doubts"] for event_id, row in company.ledger().items()}

    assert company.statuses() == {"delivered": 500}
    assert times == {event_id: 1 + doubts[event_id] for event_id in ids}
    assert sum(doubts.values()) == 5 * outcomes(company)["in_doubt"]
    assert 0.1 <= outcomes(company)["in_doubt"] / len(company.requests()) <= 0.3
    assert_conserved(company, shard.run_key)


# The rate limit -------------------------------------------------------------------------------------------------------

BUSINESS = {"business": {"call_count": 0, "estimated_time_to_regain_access": 7}, "rise_per_request": 4}


def test_headers_that_rise_to_the_limit_slow_down_and_stop(company: Company) -> None:
    """Pauses grow from 75 %; at 100 % nothing goes out for as long as Meta says, by any shard or try."""
    company.configure(delivery={"concurrency": 1, "shard_chunks": 50})
    company.record_sound(500)
    first, second = company.prepare().shards
    company.stand_in.set_settings(usage=BUSINESS)
    with pytest.raises(RateLimitedError) as raised:
        company.load(first)
    sent = len(company.stand_in.requests())
    blocked = []
    for shard in (first, second, first):
        with pytest.raises(RateLimitedError) as again:
            company.load(shard)
        blocked.append(again.value.retry_after_s)

    assert raised.value.retry_after_s == pytest.approx(7 * 60, abs=20)
    assert sent == 26  # 0, 4, 8 ... 100 %: the answer to the 26th request says that the limit is met
    assert company.pauses == sorted(company.pauses)
    assert len(company.pauses) == 6  # 76, 80, 84, 88, 92 and 96 %
    assert len(company.stand_in.requests()) == sent
    assert all(6 * 60 < (seconds or 0) <= 7 * 60 for seconds in blocked)
    assert company.statuses() == {"delivered": sent * 5, "pending": 500 - sent * 5}

    company.stand_in.set_settings(usage=None)
    company.end_pauses()
    for shard in (first, second):
        company.load(shard)
    assert company.statuses() == {"delivered": 500}


def test_limit_that_is_met_with_eight_in_flight_stops_them_all(company: Company) -> None:
    """What is under way when the limit is met is answered; no other request is sent."""
    shard, _ = prepare(company, 300)
    company.stand_in.set_settings(usage=BUSINESS, latency_ms=20)
    with pytest.raises(RateLimitedError):
        company.load(shard)

    assert 26 <= len(company.stand_in.requests()) <= 26 + CONCURRENCY
    assert outcomes(company).keys() == {"delivered"}


def test_other_run_of_the_pipeline_keeps_the_pause(company: Company) -> None:
    """A backfill that runs beside a daily run that was told to wait does not ask Meta meanwhile."""
    company.record_sound(5, event_time=company.midnight - timedelta(days=3))
    company.record_sound(5)
    day = company.prepare(company.facts(days=1))
    limit = {"kind": "answer", "json": {"error": {"code": 17}}, "headers": {"Retry-After": "900"}}
    company.stand_in.set_faults([limit])
    with pytest.raises(RateLimitedError):
        company.load(day.shards[0])
    backfill = company.run_day(company.facts(days=2, end=company.midnight - timedelta(days=2), is_sweep=False))

    assert backfill.error_types == [RateLimitedError, DeliveryIncompleteError]
    assert len(company.stand_in.requests()) == 1


def test_pause_outlives_the_run_that_was_told(company: Company) -> None:
    """Meta limits the app, not a run: after audit has closed the run, the next one waits as well."""
    company.record_sound(5)
    limit = {"kind": "answer", "json": {"error": {"code": 17}}, "headers": {"Retry-After": "900"}}
    company.stand_in.set_faults([{**limit, "when": {"nth": 1}}])
    first, second = company.run_day(), company.run_day()
    sent = len(company.stand_in.requests())
    company.end_pauses()
    third = company.run_day()

    assert first.error_types == second.error_types == [RateLimitedError, DeliveryIncompleteError]
    assert "Meta asked for a pause, of which" in str(second.errors[0])
    assert sent == 1
    assert third.errors == []
    assert company.statuses() == {"delivered": 5}


# The lease ------------------------------------------------------------------------------------------------------------


def test_lease_is_renewed_with_each_request(company: Company) -> None:
    """A load that takes longer than its lease keeps it, as long as requests go out."""
    shard, _ = prepare(company, 100)
    company.stand_in.set_settings(latency_ms=10)
    company.end_lease(shard.run_key)
    company.load(shard)
    (row,) = company.select("SELECT lease_until > now() AS is_held FROM capi.run WHERE run_key = {}", sql.Literal(
        shard.run_key
    ))  # fmt: skip

    assert row["is_held"]
