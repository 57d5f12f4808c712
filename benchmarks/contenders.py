"""The contenders of the benchmark. Each turns the rows of a shard into the bytes of its request bodies.

Each function returns a worker, so that imports and set-up are not timed.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import TYPE_CHECKING, Final

from rows import CRM_NAME, Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CHUNK_EVENTS: Final = 1_000


def prepare_transform() -> Callable[[Shard], list[bytes]]:
    """Prepare this project's transform: the work of a DAG's task, with lists instead of the warehouse."""
    from crm_to_meta.meta.body import build_body
    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.transform.step import BATCH_ROWS, COLUMNS, build_events

    pipeline = Pipeline(name="benchmark", start_date=date(2026, 1, 1), stages={"new": "Lead"})
    source_names = {
        "em": "email", "ph": "phone", "fn": "first_name", "ln": "last_name", "ct": "city", "zp": "zip",
    }  # fmt: skip

    def transform(shard: Shard) -> list[bytes]:
        bodies = []
        for start in range(0, len(shard.event_ids), BATCH_ROWS):
            batch = slice(start, start + BATCH_ROWS)
            columns = {
                **dict.fromkeys(COLUMNS, [None] * len(shard.event_ids[batch])),
                **{source_names.get(field, field): values[batch] for field, values in shard.spelled.items()},
                "event_id": shard.event_ids[batch],
                "event_name": shard.event_names[batch],
                "stage": shard.event_names[batch],
                "event_time": shard.event_times[batch],
            }
            payloads = build_events(columns, pipeline, crm_name=CRM_NAME)[0].payloads
            bodies += [
                build_body(payloads[first : first + _CHUNK_EVENTS]) for first in range(0, len(payloads), _CHUNK_EVENTS)
            ]
        return bodies

    return transform


def prepare_floor() -> Callable[[Shard], list[bytes]]:
    """Prepare the least possible work: hash values that are already normalised, and write the JSON."""

    def write(shard: Shard) -> list[bytes]:
        sha256 = hashlib.sha256
        events = [
            f'{{"event_name":"{name}","event_time":{event_time},"event_id":"{event_id}",'
            f'"action_source":"system_generated","custom_data":{{"event_source":"crm","lead_event_source":"{CRM_NAME}"}},'
            f'"user_data":{{"lead_id":{lead_id},"em":["{sha256(em.encode()).hexdigest()}"],'
            f'"ph":["{sha256(ph.encode()).hexdigest()}"],"fn":["{sha256(fn.encode()).hexdigest()}"],'
            f'"ln":["{sha256(ln.encode()).hexdigest()}"],"ct":["{sha256(ct.encode()).hexdigest()}"],'
            f'"zp":["{sha256(zp.encode()).hexdigest()}"],"country":["{sha256(country.encode()).hexdigest()}"]}}}}'
            for name, event_time, event_id, lead_id, em, ph, fn, ln, ct, zp, country in zip(
                shard.event_names, shard.event_times, shard.event_ids, *shard.normal.values(), strict=True
            )
        ]
        return [
            ('{"data":[\n' + ",\n".join(events[start : start + _CHUNK_EVENTS]) + "\n]}").encode()
            for start in range(0, len(events), _CHUNK_EVENTS)
        ]

    return write


def prepare_sdk() -> Callable[[Shard], list[bytes]]:
    """Prepare Meta's Business SDK: it normalises and hashes `Event`, `UserData` and `CustomData`, and writes JSON.

    It gets phones in their normal form, since it raises for a label or an extension and does not add the country code.
    Its events are not compared with the others', since it keeps values that they leave out.
    """
    from facebook_business.adobjects.serverside.action_source import ActionSource
    from facebook_business.adobjects.serverside.custom_data import CustomData
    from facebook_business.adobjects.serverside.event import Event
    from facebook_business.adobjects.serverside.user_data import UserData

    def build(shard: Shard) -> list[bytes]:
        fields = shard.spelled | {"ph": shard.normal["ph"]}
        rows = zip(shard.event_names, shard.event_times, shard.event_ids, *fields.values(), strict=True)
        events = [
            Event(
                event_name=name,
                event_time=int(event_time),
                event_id=event_id,
                action_source=ActionSource.SYSTEM_GENERATED,
                custom_data=CustomData(custom_properties={"event_source": "crm", "lead_event_source": CRM_NAME}),
                user_data=UserData(
                    lead_id=lead_id, email=em, phone=ph, first_name=fn, last_name=ln, city=ct, zip_code=zp,
                    country_code=country,
                ),
            ).normalize()
            for name, event_time, event_id, lead_id, em, ph, fn, ln, ct, zp, country in rows
        ]  # fmt: skip
        chunks: Iterable[list[object]] = (
            events[start : start + _CHUNK_EVENTS] for start in range(0, len(events), _CHUNK_EVENTS)
        )
        return [json.dumps({"data": chunk}).encode() for chunk in chunks]

    return build
