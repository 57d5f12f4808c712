"""Breaks an error's message into lines that Airflow's pages show whole: what happened, then what to do.

At 1400 pixels the list of failed tasks and the log show about a hundred characters of a line, behind the error's class.
"""

from __future__ import annotations

import re
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from crm_to_meta.errors import CrmToMetaError
from crm_to_meta_airflow.outcome import hand_over_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_WIDTH: Final = 90
_QUOTED: Final = re.compile(r"(`[^`]*`)")  # commands and names stay in one piece
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9`(])|(?<=;)\s+")


@contextmanager
def told_in_short_lines() -> Iterator[None]:
    """Give an error of this project that leaves the block its message in short lines; the run's note gets the first."""
    try:
        yield
    except CrmToMetaError as error:
        hand_over_problem(_split_sentences(str(error))[0])
        error.args = (break_lines(str(error), class_name=f"{type(error).__module__}.{type(error).__name__}: "),)
        raise


def break_lines(message: str, *, class_name: str = "") -> str:
    """Return a message with each sentence on a line of its own, long ones on several.

    Args:
        message: sentences; a semicolon, too, begins a new line, since the remedy stands behind it.
        class_name: what Airflow puts before the first line.
    """
    lines: list[str] = []
    for line in _split_sentences(message):
        indent = " " * (len(class_name) if not lines else 0)
        wrapped = textwrap.wrap(line, LINE_WIDTH, initial_indent=indent, break_long_words=False, break_on_hyphens=False)
        lines += [part.removeprefix(indent) for part in wrapped]
    return "\n".join(lines)


def _split_sentences(message: str) -> list[str]:
    quoted: list[str] = []

    def hide(match: re.Match[str]) -> str:
        quoted.append(match.group())
        return f"`{len(quoted) - 1}`"

    hidden = _QUOTED.sub(hide, message)
    sentences = [line for text in hidden.split("\n") for line in _SENTENCE_END.split(text)]
    return [_QUOTED.sub(lambda match: quoted[int(match.group().strip("`"))], sentence) for sentence in sentences]
