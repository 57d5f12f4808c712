"""Run the stand-in in tests, and control it.

with running_stand_in() as stand_in:
    stand_in.set_faults([{"kind": "reset_after", "when": {"nth": 1}}])
    ...
    assert stand_in.stats()["duplicate_event_ids"] == 0
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, cast

from requests import Response, Session

from crm_to_meta_demo.meta_stand_in.request_log import RequestLog
from crm_to_meta_demo.meta_stand_in.server import StandInServer, open_listener
from crm_to_meta_demo.meta_stand_in.settings import DEFAULT_DATASET_ID, DEFAULT_TOKEN, Settings
from crm_to_meta_demo.meta_stand_in.stand_in import MetaStandIn

START_TIMEOUT_S: Final = 10
CONTROL_TIMEOUT_S: Final = 60


class StandIn:
    """A client for the control routes of a running stand-in, in this process or another one."""

    def __init__(self, base_url: str, *, dataset_id: str = DEFAULT_DATASET_ID, token: str = DEFAULT_TOKEN) -> None:
        self.base_url, self.dataset_id, self.token = base_url, dataset_id, token
        self._session = Session()
        self._session.trust_env = False  # no proxy from the environment

    def url(self, *, version: str = "v24.0", dataset_id: str | None = None) -> str:
        """Return the URL that events are posted to."""
        return f"{self.base_url}/{version}/{dataset_id or self.dataset_id}/events"

    def set_faults(self, faults: Sequence[dict[str, Any]]) -> None:
        """Replace the fault plan. The module `faults` has the models."""
        self._control("PUT", "faults", list(faults))

    def clear_faults(self) -> None:
        self._control("DELETE", "faults")

    def faults(self) -> list[dict[str, Any]]:
        """Return each fault of the plan, and how often it has happened."""
        return cast("list[dict[str, Any]]", self._control("GET", "faults").json()["faults"])

    def set_settings(self, **changes: object) -> None:
        """Change the given members of `settings.Settings`."""
        sendable = {
            name: list(value) if isinstance(value, set | frozenset) else value for name, value in changes.items()
        }
        self._control("PUT", "settings", sendable)

    def restore_settings(self) -> None:
        self._control("DELETE", "settings")

    def events(self, *, event_name: str = "", test_event_code: str = "") -> list[dict[str, Any]]:
        """Return accepted events, each with `event`, `request`, `received_at`, `test_event_code`, `times_processed`."""
        filters = {"event_name": event_name, "test_event_code": test_event_code}
        lines = self._control("GET", "events.jsonl", params=filters).content.splitlines()
        return [json.loads(line) for line in lines]

    def requests(self) -> list[dict[str, Any]]:
        """Return all requests, with the members of `tally.RequestRecord`."""
        return cast("list[dict[str, Any]]", self._control("GET", "requests").json()["requests"])

    def stats(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._control("GET", "stats").json())

    def reset(self) -> None:
        """Forget events, requests and faults, and restore the settings of the start."""
        for what in ("events", "faults", "settings"):
            self._control("DELETE", what)

    def close(self) -> None:
        self._session.close()

    def _control(
        self, method: str, what: str, body: object = None, *, params: dict[str, str] | None = None
    ) -> Response:
        url = f"{self.base_url}/_stand_in/{what}"
        answer = self._session.request(method, url, json=body, params=params, timeout=CONTROL_TIMEOUT_S)
        if not answer.ok:
            raise ValueError(f"{method} {url} was refused: {answer.text}")
        return answer


@contextmanager
def running_stand_in(
    events_file: Path | None = None, *, settings: Settings | None = None, port: int = 0
) -> Iterator[StandIn]:
    """Run a stand-in in a thread of this process, on the loopback address. Port 0 takes a free one."""
    started = threading.Event()
    urls: list[str] = []

    def announce(base_url: str) -> None:
        urls.append(base_url)
        started.set()

    with closing(open_listener(port)) as listener, closing(RequestLog(events_file)) as request_log:
        server = StandInServer(MetaStandIn(request_log=request_log, settings=settings), listener, announce)
        thread = threading.Thread(target=server.run_on_listener, name="meta-stand-in", daemon=True)
        thread.start()
        if not started.wait(START_TIMEOUT_S):
            raise TimeoutError("the stand-in for Meta did not start")
        try:
            with closing(_connect(urls[0], settings or Settings())) as stand_in:
                yield stand_in
        finally:
            server.should_exit = True
            thread.join()


def _connect(base_url: str, settings: Settings) -> StandIn:
    return StandIn(base_url, dataset_id=min(settings.dataset_ids), token=settings.tokens[0].get_secret_value())
