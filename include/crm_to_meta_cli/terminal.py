"""What every command works with: where to print, and how a person starts the next command."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM: Final = "python -m crm_to_meta_cli"
_PLAIN_WIDTH: Final = 110  # of output that goes to a file


def spell_command(command: str, **options: str) -> str:
    """Return what a person types for a command with its options."""
    return " ".join([PROGRAM, command, *(f"--{name} {value}" for name, value in options.items())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Where a command prints, and how the commands that it names are typed there."""

    console: Console
    spell: Callable[..., str] = spell_command


def make_console(*, stderr: bool = False) -> Console:
    """Return the terminal; output that goes to a file has a fixed width."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _PLAIN_WIDTH)
