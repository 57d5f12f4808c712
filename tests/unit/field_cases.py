"""How the tests of the fields name their cases."""

from __future__ import annotations

from typing import Any

import pytest


def cases(*rows: tuple[Any, ...]) -> pytest.MarkDecorator:
    """Parametrise over (text, expected) with the text, made printable, as the id."""
    return pytest.mark.parametrize(("text", "expected"), [pytest.param(*row, id=ascii(row[0])) for row in rows])
