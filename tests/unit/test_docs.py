"""README.md and the pages in docs/: what they point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from crm_to_meta.models import Mode
from crm_to_meta.pipeline.settings import SOURCE_FIELDS
from crm_to_meta.warehouse_errors import LASTING

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))


def anchors_of(page: Path) -> set[str]:
    """Return what GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_there(page: Path, target: str) -> bool:
    """Say whether a link leads to a file, and where it names one to a heading of it."""
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    return file.exists() and (not anchor or anchor in anchors_of(file))


@by_name
def test_every_link_leads_somewhere(page: Path) -> None:
    """Links to files of the repository and to headings in them are not broken."""
    targets = re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8"))

    assert [target for target in targets if not is_there(page, target)] == []


@by_name
def test_every_make_target_is_there(page: Path) -> None:
    """A command that a page names exists."""
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^\$ |\n)make ([a-z-]+)", page.read_text(encoding="utf-8")))

    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_every_page_that_the_code_names_is_there() -> None:
    """A message or comment that sends people to a page sends them to one that exists."""
    files = [path for folder in ("include", "plugins", "dags", "tests") for path in (PROJECT / folder).rglob("*.*")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.suffix in {".py", ".sql", ".yaml", ".html"}]
    named = {name for text in texts for name in re.findall(r"\bdocs/(?:adr/\d{4}|[a-z-]+\.md)", text)}

    assert named
    assert [name for name in named if not list(PROJECT.glob(f"{name}*"))] == []


def test_the_page_that_is_named_for_versions_of_postgresql_has_them() -> None:
    """Whose server does not support a statement finds which versions do."""
    page = re.search(r"docs/[a-z-]+\.md", LASTING["0A"])

    assert page
    assert re.search(r"PostgreSQL \d+ or newer", (PROJECT / page[0]).read_text(encoding="utf-8"))


def test_the_readme_leads_to_every_page() -> None:
    """A page that README.md does not link to is found by nobody."""
    linked = re.findall(r"\]\(docs/([a-z-]+\.md)\)", (PROJECT / "README.md").read_text(encoding="utf-8"))

    assert sorted(page.name for page in DOCS.glob("*.md")) == sorted(set(linked))


def test_the_readme_is_short() -> None:
    """README.md is to be read from top to bottom; details are in docs/."""
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    ("page", "word"),
    [*(("source-contract.md", field) for field in SOURCE_FIELDS), *(("operations.md", mode) for mode in Mode)],
)
def test_what_the_code_names_is_explained(page: str, word: str) -> None:
    """A field of the source and a mode of a run are on their page; settings, statuses and reasons are generated."""
    assert f"`{word}`" in (DOCS / page).read_text(encoding="utf-8")


def test_the_example_of_own_rules_is_the_tested_one() -> None:
    """The rules that data-quality.md shows are those that a test runs."""
    page = (DOCS / "data-quality.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    tested = (PROJECT / "tests" / "integration" / "test_own_rules.py").read_text(encoding="utf-8")
    example = re.search(r'EXAMPLE_OF_THE_DOCS = """(.*?)"""', tested, re.DOTALL)

    assert example
    assert {"quality": yaml.safe_load(example[1])["quality"]} in blocks
