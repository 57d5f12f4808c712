"""Start the stand-in: `python -m crm_to_meta_demo.meta_stand_in.server --port 0 --port-file F --events-file E`.

It listens on the loopback address only. The tokens that it accepts come from META_STAND_IN_TOKENS (separated by commas)
and not from the command line, which every user of the computer can read. It stops cleanly on SIGTERM and SIGINT.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NoReturn

import uvicorn
from pydantic import SecretStr

from crm_to_meta_demo.meta_stand_in.app import LOOPBACK_NAMES, create_app
from crm_to_meta_demo.meta_stand_in.connection import ConnectionProtocol
from crm_to_meta_demo.meta_stand_in.request_log import RequestLog, RequestLogError
from crm_to_meta_demo.meta_stand_in.settings import DEFAULT_DATASET_ID, DEFAULT_TOKEN, Settings
from crm_to_meta_demo.meta_stand_in.stand_in import MetaStandIn

LOOPBACK: Final = "127.0.0.1"
TOKENS_VARIABLE: Final = "META_STAND_IN_TOKENS"
KEEP_ALIVE_S: Final = 75  # longer than a client keeps an idle connection, so that only planned faults reset it
GRACE_S: Final = 1  # a slow answer does not delay the stop for longer


class StandInServer(uvicorn.Server):
    """A uvicorn server on a bound socket. `on_listening` gets the base URL once requests are served."""

    def __init__(self, stand_in: MetaStandIn, listener: socket.socket, on_listening: Callable[[str], None]) -> None:
        config = uvicorn.Config(
            create_app(stand_in),
            http=ConnectionProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        super().__init__(config)
        self._listener = listener
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening("http://{}:{}".format(*self._listener.getsockname()))

    def run_on_listener(self) -> None:
        self.run(sockets=[self._listener])


def open_listener(port: int = 0) -> socket.socket:
    """Return a socket on the loopback address. Port 0 takes a free one."""
    # TCP by name: otherwise asyncio leaves Nagle's algorithm on, and each answer waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError:
        listener.close()
        raise
    return listener


def write_port_file(path: Path, port: int) -> None:
    """Write the port in one step, so that nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.write_text(f"{port}\n")
    draft.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    # uvicorn raises the signal again once it has stopped; then the process has to end with exit code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_orderly)
    try:
        listener, request_log = open_listener(options.port), RequestLog(options.events_file)
    except (OSError, RequestLogError) as error:
        sys.exit(f"The stand-in for Meta cannot start: {error}")
    port: int = listener.getsockname()[1]

    def announce(base_url: str) -> None:
        if options.port_file:
            write_port_file(options.port_file, port)
        if not options.quiet:
            sys.stdout.write(f"Stand-in for Meta: {base_url}\n")
            sys.stdout.flush()

    stand_in = MetaStandIn(request_log=request_log, settings=read_settings(options.dataset_id))
    with closing(listener), closing(request_log):
        try:
            StandInServer(stand_in, listener, announce).run_on_listener()
        finally:
            if options.port_file:
                options.port_file.unlink(missing_ok=True)


def _exit_orderly(*_: object) -> NoReturn:
    sys.exit(0)


def read_settings(dataset_ids: Sequence[str]) -> Settings:
    tokens = [token.strip() for token in os.environ.get(TOKENS_VARIABLE, DEFAULT_TOKEN).split(",") if token.strip()]
    return Settings(
        tokens=[SecretStr(token) for token in tokens], dataset_ids=frozenset(dataset_ids or [DEFAULT_DATASET_ID])
    )


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="meta_stand_in", description="A stand-in for Meta's Conversions API, on this computer."
    )
    parser.add_argument("--host", choices=LOOPBACK_NAMES, default=LOOPBACK, help="loopback only")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--port-file", type=Path, help="written once the stand-in listens, removed when it stops")
    parser.add_argument("--events-file", type=Path, help="JSON lines; kept over a restart")
    parser.add_argument(
        "--dataset-id", action="append", default=[], help=f"may be repeated; default {DEFAULT_DATASET_ID}"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
