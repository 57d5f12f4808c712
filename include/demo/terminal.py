"""The terminal of every command of `make`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from crm_to_meta.errors import CrmToMetaError

_PLAIN_WIDTH: Final = 110  # of output that goes to a file


def make_console() -> Console:
    """Return the terminal; output that goes to a file has a fixed width."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)


def print_failure(console: Console, error: CrmToMetaError) -> None:
    """Print an error in one sentence, without a traceback."""
    console.print(f"[bold red]{type(error).__name__}[/bold red]:", end=" ")
    console.print(str(error), markup=False, soft_wrap=True)
