"""The pages in docs/ say what the code and the schema say; `make docs` writes their generated parts anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from generate import list_pages, render_page, render_parts

from crm_to_meta.ledger.schema import migrate

if TYPE_CHECKING:
    from crm_to_meta.warehouse import Connection


@pytest.fixture
def parts(warehouse: Connection) -> dict[str, str]:
    """All generated parts, made of this code and of an up-to-date database."""
    migrate(warehouse)
    return render_parts(warehouse)


def test_the_pages_are_up_to_date(parts: dict[str, str]) -> None:
    """Each page is what `make docs` would write. If this fails, run it and commit the pages."""
    pages = {page.name: page.read_text(encoding="utf-8") for page in list_pages()}

    assert [name for name, text in pages.items() if render_page(text, parts) != text] == []


def test_every_part_is_on_a_page(parts: dict[str, str]) -> None:
    """A setting, reason or column is documented somewhere: no part is generated in vain."""
    text = "".join(page.read_text(encoding="utf-8") for page in list_pages())

    assert [name for name in parts if f"<!-- generated: {name} -->" not in text] == []
