"""README.md names what the code has: a setting, status or reason cannot be added without its words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from pydantic import BaseModel

from crm_to_meta.models import BatchReason, Mode, Reason, Status
from crm_to_meta.pipeline import SOURCE_FIELDS, Pipeline
from crm_to_meta.reason_texts import BATCH_TEXTS, REASON_TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a pipeline file, as it is written: section.key."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings_of(field.annotation, f"{prefix}{name}.")
        elif name != "name":  # the file's own name
            yield prefix + name


@pytest.mark.parametrize("key", list(settings_of(Pipeline)))
def test_every_setting_is_in_the_readme(key: str) -> None:
    """A key of the pipeline file has a row."""
    assert f"`{key}`" in README


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_its_row(reason: Reason) -> None:
    """A reason's row carries the words of the report."""
    text = REASON_TEXTS[reason]
    words = rf"{re.escape(text.meaning)} \| {re.escape(text.remedy)}"

    assert re.search(rf"^\| `{reason}` \| [a-z_ ]+ \| {words} \|$", README, re.MULTILINE)


@pytest.mark.parametrize("reason", list(BatchReason))
def test_every_rule_about_the_batch_has_its_row(reason: BatchReason) -> None:
    """The same for what may be odd about a batch, with the settings that it has."""
    text = BATCH_TEXTS[reason]
    words = rf"{re.escape(text.meaning)} \| {re.escape(text.remedy)}"

    assert re.search(rf"^\| `{reason}` \| `quality\.[a-z_]+` \| {words} \|$", README, re.MULTILINE)


def test_the_example_of_own_rules_is_the_tested_one() -> None:
    """The rules that the README shows are those that a test runs."""
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
    tested = (PROJECT / "tests" / "integration" / "test_own_rules.py").read_text(encoding="utf-8")
    example = re.search(r'README_EXAMPLE = """(.*?)"""', tested, re.DOTALL)

    assert example
    assert yaml.safe_load(example[1])["quality"] in [block.get("quality") for block in blocks]


@pytest.mark.parametrize("word", [*Status, *Mode, *SOURCE_FIELDS])
def test_every_status_mode_and_field_is_explained(word: str) -> None:
    """What people meet in tables and files is in the README."""
    assert f"`{word}`" in README


def test_every_link_leads_somewhere() -> None:
    """Links to files of the repository are not broken."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)

    assert targets
    assert [target for target in targets if not (PROJECT / target).exists()] == []


def test_every_make_target_is_there() -> None:
    """A command that the README names exists."""
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z]+)`", README))

    assert named
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
