"""Transform: what is stored is what will be sent, a shard is either done or still to do, and raw rows do not stay."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests
from daily_run import CRM_NAME, Company, assert_conserved, create_source, events_of, insert_transitions
from psycopg import sql

from crm_to_meta.errors import StagingLostError
from crm_to_meta.meta.client import MetaClient, MetaSettings
from crm_to_meta.models import Mode, Shard, staging_table_of
from crm_to_meta.transform.step import Transformation


class RecordingTransport(requests.adapters.HTTPAdapter):
    """Keeps the bytes of each request on their way to the stand-in."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []
        self.urls: list[str] = []
        self.headers: list[dict[str, str]] = []

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Note the request and pass it on."""
        assert isinstance(request.body, bytes)
        self.bodies.append(request.body)
        self.urls.append(str(request.url))
        self.headers.append(dict(request.headers))
        return super().send(request, *args, **options)


def recording_client(company: Company, transport: RecordingTransport) -> MetaClient:
    """Return a client whose requests are noted."""
    settings = MetaSettings(
        dataset_id=company.stand_in.dataset_id,
        crm_name=CRM_NAME,
        token=company.token,
        base_url=company.stand_in.base_url,
    )
    return MetaClient(settings, timeout_s=60, transport=transport)


def stage(company: Company, number: int) -> Shard:
    """Record sound rows and return the only shard of a run."""
    company.judges_rows = False
    company.record_sound(number)
    shard: Shard
    (shard,) = company.validate(company.extract().run_key).shards
    return shard


def test_chunks_are_cut_at_the_pipelines_size(company: Company) -> None:
    """35 events make chunks of 10, 10, 10 and 5, in the order of time, whatever the order in the CRM."""
    company.judges_rows = False
    moments = [company.midnight - timedelta(minutes=7 * (number * 17 % 35) + 1) for number in range(35)]
    company.record(*(company.transition(event_time=moment) for moment in moments))
    day = company.prepare()
    chunks = [events_of(body) for body in company.bodies(day.run_key)]
    times = [event["event_time"] for chunk in chunks for event in chunk]

    assert day.transformations == [Transformation(events=35, chunks=4, held_back=0)]
    assert [len(chunk) for chunk in chunks] == [10, 10, 10, 5]
    assert times == sorted(int(moment.timestamp()) for moment in moments)


def test_a_shard_of_several_batches_is_one_shard(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are put together in batches; chunks, counts and rows held back are those of the whole shard, in order."""
    company.judges_rows = False
    monkeypatch.setattr("crm_to_meta.transform.step.BATCH_ROWS", 20)
    company.record_sound(30, phone="n/a")
    company.record(company.transition(transition_id="weak", lead_id=None, email="n/a"))
    company.record_sound(14, phone="+1 202 555 0143")
    (shard,) = company.validate(company.extract().run_key).shards

    done = company.transform(shard)
    events = [event for body in company.bodies(shard.run_key) for event in events_of(body)]
    (counts,) = company.select("SELECT fields FROM capi.shard")
    chunks = company.select("SELECT chunk_no, events, dropped FROM capi.chunk ORDER BY chunk_no")

    assert (done.events, done.held_back) == (44, 1)
    assert [event["event_time"] for event in events] == sorted(event["event_time"] for event in events)
    assert counts["fields"]["ph"] == {"usable": 14, "phone_not_possible": 30}
    assert [chunk["chunk_no"] for chunk in chunks] == list(range(len(chunks)))
    assert sum(chunk["events"] for chunk in chunks) == 44
    assert chunks[0]["dropped"] == {"ph": {"phone_not_possible": list(range(10))}}
    assert chunks[-1]["dropped"] == {}


def test_shards_never_share_a_chunk_number(company: Company) -> None:
    """Each shard numbers its own chunks, so that shards can be transformed in any order and by several workers."""
    company.judges_rows = False
    company.configure(delivery={"shard_chunks": 2})
    company.record_sound(45)
    company.extract()
    run_key = company.extract(company.facts("again", mode=Mode.PREVIEW)).run_key
    assert company.validate(run_key).shards == []  # the first run holds them: nothing to see for a preview

    company.end_lease(company.select("SELECT run_key FROM capi.run WHERE mode = 'live'")[0]["run_key"])
    run_key = company.extract().run_key
    shards = company.validate(run_key).shards
    for shard in reversed(shards):
        company.transform(shard)
    chunks = company.select("SELECT shard_no, chunk_no, events FROM capi.chunk ORDER BY chunk_no")

    assert [(chunk["shard_no"], chunk["chunk_no"], chunk["events"]) for chunk in chunks] == [
        (0, 0, 10), (0, 1, 10), (1, 2, 10), (1, 3, 10), (2, 4, 5),
    ]  # fmt: skip


def test_repeated_transform_changes_nothing(company: Company) -> None:
    """Done before, a shard is not touched again: not a byte of its chunks differs."""
    shard = stage(company, 25)
    first = company.transform(shard)
    before = company.select("SELECT * FROM capi.chunk ORDER BY chunk_no")
    second = company.transform(shard)

    assert first == second
    assert company.select("SELECT * FROM capi.chunk ORDER BY chunk_no") == before


def test_killed_transform_leaves_the_shard_to_do(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies after it stored chunks and before it committed leaves every row staged and no chunk."""
    shard = stage(company, 25)

    def die(*_: object, **__: object) -> None:
        raise SystemExit(137)

    with monkeypatch.context() as patched:
        patched.setattr("crm_to_meta.transform.step._hold_back", die)
        with pytest.raises(SystemExit):
            company.transform(shard)
    after_kill = (len(company.staged(shard.run_key)), company.select("SELECT * FROM capi.chunk"))
    company.transform(shard)
    company.load(shard)
    company.audit(shard.run_key)

    assert after_kill == (25, [])
    assert company.statuses() == {"delivered": 25}


def test_raw_rows_are_gone_with_the_transformation(company: Company) -> None:
    """What is personal is deleted in the same moment as its hashes are stored."""
    shard = stage(company, 12)
    company.transform(shard)

    assert company.staged(shard.run_key) == []


def test_stored_bodies_are_what_meta_receives(company: Company) -> None:
    """Byte for byte: the body in capi.chunk, its digest, and what goes over the wire."""
    shard = stage(company, 25)
    company.transform(shard)
    transport = RecordingTransport()
    company.load(shard, client=recording_client(company, transport))
    chunks = company.select("SELECT body_sha256 FROM capi.chunk ORDER BY chunk_no")

    assert transport.bodies == company.bodies(shard.run_key)
    assert [chunk["body_sha256"] for chunk in chunks] == [hashlib.sha256(body).digest() for body in transport.bodies]
    assert [event for body in transport.bodies for event in events_of(body)] == company.received()


def test_token_travels_in_the_header_alone(company: Company) -> None:
    """Neither the URL nor the body holds the token."""
    shard = stage(company, 3)
    company.transform(shard)
    transport = RecordingTransport()
    company.load(shard, client=recording_client(company, transport))

    assert transport.headers[0]["Authorization"] == f"Bearer {company.token}"
    assert company.token not in transport.urls[0]
    assert company.token.encode() not in transport.bodies[0]


def test_preview_builds_the_bytes_of_a_live_run(company: Company) -> None:
    """Law 7: for the same rows a preview stores exactly the bodies that a live run sends."""
    company.record(
        *(company.transition(phone=f"+1 202 555 {number:04d}", first_name="Zoë", country="US") for number in range(23)),
        company.transition(stage=None),
        company.transition(opted_out=True),
    )
    preview = company.run_day(company.facts(mode=Mode.PREVIEW))
    requests_of_preview = company.stand_in.requests()
    live = company.run_day()

    assert (preview.errors, live.errors) == ([], [])
    assert requests_of_preview == []
    assert company.bodies(preview.run_key) == company.bodies(live.run_key)


def test_test_run_carries_the_test_code_beside_the_same_events(company: Company) -> None:
    """A test run's body is a live body with `test_event_code` beside `data`."""
    company.judges_rows = False
    company.record_sound(7)
    test = company.run_day(company.facts(mode=Mode.TEST), test_event_code="TEST123")
    live = company.run_day()
    (test_body,), (live_body,) = company.bodies(test.run_key), company.bodies(live.run_key)

    assert (test.errors, live.errors) == ([], [])
    assert json.loads(test_body) == {**json.loads(live_body), "test_event_code": "TEST123"}
    assert company.stand_in.stats()["per_test_event_code"] == {"TEST123": 7}


def test_event_is_what_the_design_says(company: Company) -> None:
    """Every member of an event follows from the row: hashes of normalised text, numbers as numbers, time as it is."""
    company.judges_rows = False
    event_time = company.midnight - timedelta(hours=2, microseconds=1)
    row = company.transition(
        lead_id="l:12345678901234567", stage="won", event_time=event_time, email=" Ada@Example.COM ",
        phone="(202) 555-0143", first_name="Ada", gender="Female", country="us", value=Decimal("1234.50"),
        currency="eur",
    )  # fmt: skip
    (event_id,) = company.record(row)
    company.run_day()
    hashed = {
        "em": "ada@example.com",
        "ph": "12025550143",
        "fn": "ada",
        "ge": "f",
        "country": "us",
    }

    assert company.received() == [
        {
            "event_name": "Converted",
            "event_time": int(event_time.timestamp()),
            "event_id": event_id,
            "action_source": "system_generated",
            "custom_data": {"event_source": "crm", "lead_event_source": CRM_NAME, "value": 1234.5, "currency": "EUR"},
            "user_data": {
                "lead_id": 12345678901234567,
                **{field: [hashlib.sha256(text.encode()).hexdigest()] for field, text in hashed.items()},
            },
        }
    ]


def test_unmatchable_identifiers_are_held_back(company: Company) -> None:
    """A row whose identifiers all turn out unusable, or match nobody at Meta, is quarantined by transform."""
    company.record(
        company.transition(transition_id="junk", lead_id=None, email="n/a", phone="unknown"),
        company.transition(transition_id="weak", lead_id=None, email=None, first_name="Ada", gender="f"),
        company.transition(transition_id="sound"),
    )
    day = company.run_day()

    assert day.errors == []
    assert company.outcomes() == {
        "junk": ("quarantined", "no_identifier"),
        "weak": ("quarantined", "no_identifier"),
        "sound": ("delivered", None),
    }
    assert_conserved(company, day.run_key)


ODD_CREATIONS = ("0044-03-15 00:00:00+00 BC", "-infinity", "294276-12-31 00:00:00+00", "0001-01-01 00:00:00+00")


@pytest.mark.sweep(keep=3)
@pytest.mark.parametrize(
    ("column", "kind", "values"),
    [
        ("value", "numeric", ("1e400", "-1e131000", "NaN", "Infinity")),
        ("value", "double precision", ("1e308", "NaN", "-Infinity")),
        ("lead_created_at", "timestamptz", ODD_CREATIONS[:2] + ODD_CREATIONS[3:]),
        ("country", "text", ("NO", "Ünknown", "\u202eSU", "X" * 100_000)),
        ("phone", "text", ("+" * 5000, "٠" * 40, "ext", "+1" + "0" * 3000)),
        ("email", "text", ("@", "a@b@c", "x" * 100_000 + "@example.com", "\U0001f600@example.com")),
        ("date_of_birth", "text", ("0000-00-00", "9" * 400, "31/02/1990", "٢٠٠٠-٠١-٠١")),
        ("fbclid", "text", (" ", "a b", "ü" * 9000, '"},{"')),
    ],
    ids=[
        "amount numeric",
        "amount double",
        "created",
        "country",
        "phone",
        "e-mail",
        "birth",
        "click id",
    ],
)
def test_odd_value_in_one_row_holds_up_no_other(
    company: Company, column: str, kind: str, values: tuple[str, ...]
) -> None:
    """Law 4: whatever is in an optional field, each row of the shard is delivered or held back, and no step fails."""
    columns = {"transition_id": "text", "lead_id": "text", "stage": "text", "event_time": "timestamptz", column: kind}
    create_source(company.warehouse, {**columns, "currency": "text", "lead_created_at": "timestamptz"})
    sound = {"lead_id": "1234567890123456", "stage": "new", "event_time": company.midnight - timedelta(hours=1)}
    created = {"lead_created_at": company.midnight - timedelta(days=2)}
    rows = [
        {"transition_id": str(number), **sound, "currency": "EUR", **created, column: value}
        for number, value in enumerate(values)
    ]
    insert_transitions(company.warehouse, [*rows, {"transition_id": "sound", **sound}])
    day = company.run_day()

    assert day.errors == []
    assert Counter(company.statuses()) == Counter(
        {"quarantined" if column == "value" else "delivered": len(values)}
    ) + Counter({"delivered": 1})


def test_lead_created_beyond_the_calendar_is_read_as_unknown(company: Company) -> None:
    """A creation time that no program can read is left out; it is not an error of the whole shard."""
    company.record(*(company.transition(transition_id=text, lead_created_at=text) for text in ODD_CREATIONS))
    day = company.run_day()

    assert day.errors == []
    assert company.statuses() == {"delivered": len(ODD_CREATIONS)}


def test_lost_rows_of_a_shard_are_told(company: Company) -> None:
    """A shard whose staged rows are not all there is not transformed in part."""
    shard = stage(company, 5)
    company.warehouse.execute(
        sql.SQL("DELETE FROM {} WHERE row_no = 3").format(sql.Identifier("capi", staging_table_of(shard.run_key)))
    )

    with pytest.raises(StagingLostError, match="rows 1-5"):
        company.transform(shard)

    assert company.select("SELECT * FROM capi.chunk") == []


def test_transform_of_a_closed_run_is_told_what_to_do(company: Company) -> None:
    """Clearing `transform` alone after audit closed the run cannot work, since raw rows are gone: it says so."""
    shard = stage(company, 5)
    company.warehouse.execute("UPDATE capi.run SET mode = 'preview'")  # else audit raises, and clears away all the same
    company.audit(shard.run_key)

    with pytest.raises(StagingLostError, match="another run took the rows over, or the run was closed; clear the task"):
        company.transform(shard)
