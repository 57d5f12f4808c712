"""Run the stand-in in a process of its own."""

from __future__ import annotations

import os
import secrets
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from crm_to_meta_demo.meta_stand_in.testing import StandIn
from crm_to_meta_demo.processes import tracked_process

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

_START_TIMEOUT_S: Final = 30.0


@contextmanager
def running_stand_in_process(folder: Path) -> Iterator[StandIn]:
    """Run the stand-in for as long as the block lasts. It starts with the events that the folder has from before."""
    folder.mkdir(parents=True, exist_ok=True)
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    token = secrets.token_urlsafe(24)
    command = [sys.executable, "-m", "crm_to_meta_demo.meta_stand_in.server", "--port", "0", "--quiet"]
    files = ["--port-file", str(port_file), "--events-file", str(folder / "events.jsonl")]
    with (folder / "log").open("ab") as log:
        environment = {**os.environ, "META_STAND_IN_TOKENS": token}
        with tracked_process("stand_in", [*command, *files], environment=environment, log=log) as process:
            url = f"http://127.0.0.1:{_wait_for_port(process, port_file)}"
            with closing(StandIn(url, token=token)) as stand_in:
                yield stand_in


def _wait_for_port(process: subprocess.Popen[bytes], port_file: Path) -> int:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if port_file.exists():
            return int(port_file.read_text())
        time.sleep(0.05)
    raise TimeoutError(f"The stand-in for Meta did not start; see {port_file.parent / 'log'}.")
