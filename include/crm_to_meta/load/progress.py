"""Tell at intervals how far a load is: events that are settled, their rate, and the time left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TELL_EVERY_S: Final = 30.0


class LoadProgress:
    """Counts events and tells about them at intervals."""

    def __init__(self, total: int, tell: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._tell = tell
        self._clock = clock
        self._started = self._told = clock()
        self._done = 0

    def add(self, events: int) -> None:
        """Count events that need no more sending."""
        self._done += events
        now = self._clock()
        if now - self._told >= TELL_EVERY_S:
            self._told = now
            self._tell(describe_progress(self._done, self._total, seconds=now - self._started))


def describe_progress(done: int, total: int, *, seconds: float) -> str:
    """Return events done, rate and time left, in words."""
    rate = done / seconds if seconds > 0 else 0.0
    left = f", about {_duration((total - done) / rate)} left" if rate and done < total else ""
    return f"{done:,} of {total:,} events, {rate:,.0f} a second{left}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 120:  # noqa: PLR2004 - two minutes
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"  # noqa: PLR2004
