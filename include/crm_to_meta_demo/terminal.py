"""How every command of `make` begins and ends: a terminal, and an exit code with a sentence instead of a traceback."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from crm_to_meta.errors import CrmToMetaError
from crm_to_meta_cli.terminal import make_console

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

_EXIT_CODE_OF_ERRORS: Final = 2


def run_in_terminal(command: Callable[[Console], int], *, interrupted: str = "Interrupted.") -> NoReturn:
    """Run a command and exit with its code, or with 2 where it could not do its work, which is told in a sentence.

    Args:
        command: prints to the terminal and returns the exit code.
        interrupted: what is printed where somebody ends it.
    """
    end_on_sigterm()
    console = make_console()
    try:
        sys.exit(command(console))
    except CrmToMetaError as error:
        console.print(f"[bold red]{type(error).__name__}[/bold red]:", end=" ")
        console.print(str(error), markup=False, soft_wrap=True)
        sys.exit(_EXIT_CODE_OF_ERRORS)
    except KeyboardInterrupt:
        sys.exit(interrupted)


def end_on_sigterm() -> None:
    """Let a polite kill end this process as Ctrl-C does: with everything that it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
