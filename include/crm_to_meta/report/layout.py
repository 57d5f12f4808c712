"""What all pages of this project share: the environment of their templates, and how numbers and texts are written.

`templates/base.html` is the frame of a page, `templates/colours.css` and `templates/base.css` its colours and type,
`templates/macros.html` its parts. A page that is somewhere else (the stand-in's) has its own folder searched first.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES_FOLDER: Final = Path(__file__).resolve().parent / "templates"
SECONDS_PER_MINUTE: Final = 60
SMALLEST_SHARE: Final = 0.001


@cache
def make_environment(*folders: Path) -> Environment:
    """Return the environment of the templates in these folders, and then in the shared one. Everything is escaped."""
    environment = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES_FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "duration": duration, "prose": prose}
    return environment


def number(value: float) -> str:
    """Return a whole number with thousands separators."""
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """Return a share with one decimal. Only nothing is shown as 0%, and only all as 100%."""
    if 0 < share < SMALLEST_SHARE:
        return "< 0.1%"
    if 1 - SMALLEST_SHARE < share < 1:
        return "> 99.9%"
    return f"{share:.1%}" if 0 < share < 1 else f"{share:.0%}"


def prose(text: str) -> list[tuple[bool, str]]:
    """Split a text at its backticks; return each part with whether it is code."""
    return [(position % 2 == 1, part) for position, part in enumerate(text.split("`"))]


def duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < SECONDS_PER_MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), SECONDS_PER_MINUTE)
    hours, minutes_left = divmod(minutes, SECONDS_PER_MINUTE)
    return f"{hours:,} h {minutes_left} min" if hours else f"{minutes} min {rest} s"
