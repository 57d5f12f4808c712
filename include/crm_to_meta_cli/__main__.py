"""Starts the command line as a process."""

from __future__ import annotations

import signal
import sys

from crm_to_meta_cli.command_line import main

_EXIT_INTERRUPTED = 130  # what shells report for Ctrl-C

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill closes what was begun, as Ctrl-C does
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201 - a command line
        sys.exit(_EXIT_INTERRUPTED)
