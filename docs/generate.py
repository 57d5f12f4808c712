"""Write the generated parts of the pages in docs/: settings, reasons and tables (`make docs`).

A part stands between `<!-- generated: settings -->` and `<!-- end of settings -->`; the rest of a page is written by
hand. Settings come from the model of a pipeline file, reasons from the words of the report, tables from the comments in
a freshly migrated database. A test compares the pages with what this script would write.
"""

from __future__ import annotations

import re
import tempfile
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from crm_to_meta.ledger.schema import migrate
from crm_to_meta.models import BatchReason, Reason, Status
from crm_to_meta.pipeline.settings import Pipeline
from crm_to_meta.reasons import BATCH_TEXTS, META_PREFIX, META_TEXTS, REASON_TEXTS
from crm_to_meta.report.words import OUTCOME_WORDS, STATUS_WORDS
from crm_to_meta.validate.contract import row_rules
from crm_to_meta_demo.embedded_postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pydantic.fields import FieldInfo

    from crm_to_meta.warehouse import Connection

DOCS_FOLDER: Final = Path(__file__).resolve().parent
_PART: Final = re.compile(r"<!-- generated: (?P<name>[a-z ]+) -->\n.*?<!-- end of (?P=name) -->", re.DOTALL)
_INTERNAL: Final = "Internal"  # how the comment of a table begins that is no public interface

_PLAIN_TYPES: Final = {
    str: "text", bool: "`true` or `false`", int: "whole number", float: "number", date: "date", dict: "mapping",
}  # fmt: skip
_STATUSES_OF_LATER_STEPS: Final = {  # the other reasons belong to a rule, which says what it does to a row
    Reason.OUTCOME_UNKNOWN: {Status.IN_DOUBT},
    Reason.SENT_WITHOUT_LEAD_ID: {Status.DELIVERED},
    Reason.SETTLED_BY_HAND: {Status.DELIVERED},
    Reason.ERASED: {Status.SKIPPED},
}


class Setting(NamedTuple):
    """A key of a pipeline file, in words."""

    key: str
    type: str
    default: str
    meaning: str


def main() -> None:
    """Write all pages anew."""
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, running_postgres(Path(folder) / "data") as postgres:
        postgres.create_database("docs")
        with postgres.connect("docs") as connection:
            migrate(connection)
            parts = render_parts(connection)
    for page in list_pages():
        page.write_text(render_page(page.read_text(encoding="utf-8"), parts), encoding="utf-8")


def list_pages() -> list[Path]:
    """Return the pages that have generated parts."""
    return [page for page in sorted(DOCS_FOLDER.glob("*.md")) if _PART.search(page.read_text(encoding="utf-8"))]


def render_page(text: str, parts: Mapping[str, str]) -> str:
    """Return a page with its generated parts as they have to be."""

    def render(found: re.Match[str]) -> str:
        name = found["name"]
        return f"<!-- generated: {name} -->\n\n{parts[name]}\n\n<!-- end of {name} -->"

    return _PART.sub(render, text)


def render_parts(connection: Connection) -> dict[str, str]:
    """Return all parts by name.

    Args:
        connection: to a database that has the schema `capi`.
    """
    settings = list(list_settings(Pipeline))
    return {
        "settings": _render_settings(settings),
        "statuses": _table(["status", "meaning"], [(status, STATUS_WORDS[status].meaning) for status in Status]),
        "reasons": _table(["reason", "status", "meaning", "what to do"], _list_reasons()),
        "refusals": _table(
            ["reason", "meaning", "what to do"],
            [(f"{META_PREFIX}{code}", text.meaning, text.remedy) for code, text in META_TEXTS.items()],
        ),
        "outcomes": _table(["outcome", "meaning"], [(name, words.meaning) for name, words in OUTCOME_WORDS.items()]),
        "batch rules": _table(["rule", "setting", "meaning", "what to do"], _list_batch_rules(settings)),
        "tables": _render_tables(connection),
    }


def _render_settings(settings: Iterable[Setting]) -> str:
    """Return a table for the keys outside sections, and one for each section."""
    sections: dict[str, list[Setting]] = {}
    for setting in settings:
        name = setting.key.split(".")[0] if "." in setting.key else ""
        sections.setdefault(name, []).append(setting)
    head = ["key", "values", "default", "meaning"]
    return "\n\n".join(
        f"### {name}\n\n{_table(head, rows)}" if name else _table(head, rows) for name, rows in sections.items()
    )


def list_settings(section: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """Yield every key of a section and of the sections in it."""
    for name, field in section.model_fields.items():
        if section is Pipeline and name == "name":
            continue  # the file's own name
        key, inner = f"{prefix}{name}", _section_in(field.annotation)
        if inner is None or field.description:
            yield _describe_setting(key, field, is_section=inner is field.annotation)
        if inner:
            yield from list_settings(inner, f"{key}." if inner is field.annotation else f"{key}[].")


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field is, or is a list of."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _describe_setting(key: str, field: FieldInfo, *, is_section: bool) -> Setting:
    if not field.description:
        raise ValueError(f"{key} has no description in the model of a pipeline file")
    if is_section:
        return Setting(key, "section", "", field.description)
    return Setting(key, _describe_type(field.annotation, field.metadata), _describe_default(field), field.description)


def _describe_type(annotation: Any, constraints: Iterable[Any] = ()) -> str:
    """Return what may stand there, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _describe_type(arguments[0], arguments[1:])
    if origin in (Union, UnionType):  # with None, which the default tells
        return _describe_type(next(part for part in arguments if part is not type(None)), constraints)
    if origin is Literal:
        return _listed([f"`{word}`" for word in arguments])
    if origin is tuple:
        return "list"
    words = _PLAIN_TYPES[origin or annotation]
    bounds = {name: value for limit in constraints for name, value in _limits_of(limit)}
    match bounds:
        case {"ge": low, "le": high}:
            words = f"{words}, {low:,} to {high:,}"
        case {"gt": low, "le": high}:
            words = f"{words} above {low:,}, up to {high:,}"
        case {"ge": low}:
            words = f"{words}, {low:,} or more"
    return f"{words}, in steps of {bounds['multiple_of']}" if "multiple_of" in bounds else words


def _limits_of(constraint: Any) -> Iterator[tuple[str, Any]]:
    for name in ("ge", "gt", "le", "multiple_of"):
        if hasattr(constraint, name):
            yield name, getattr(constraint, name)


def _describe_default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default in (None, ""):
        return "none"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix('...' + chr(10)).strip()}`"


def _list_reasons() -> Iterator[tuple[str, str, str, str]]:
    statuses = {reason: set(found) for reason, found in _STATUSES_OF_LATER_STEPS.items()}
    for unmapped in ("quarantine", "skip"):
        for rule in row_rules(_example_pipeline(unmapped), datetime.now(UTC)):
            statuses.setdefault(rule.reason, set()).add(rule.status)
    for reason, text in REASON_TEXTS.items():
        yield reason, _listed(sorted(statuses[reason])), text.meaning, text.remedy


def _example_pipeline(unmapped_stages: str) -> Pipeline:
    """Return a pipeline that has a rule of each kind."""
    own_rule = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "email"}, "quarantine": True}
    return Pipeline.model_validate({
        "name": "example",
        "start_date": date(2026, 1, 1),
        "stages": {"new": "Lead"},
        "unmapped_stages": unmapped_stages,
        "quality": {"expectations": [own_rule]},
    })  # fmt: skip


def _list_batch_rules(settings: Iterable[Setting]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the rules about the batch; a rule belongs to the setting whose description names it."""
    settings = list(settings)
    for reason in BatchReason:
        text = BATCH_TEXTS[reason]
        key = next(setting.key for setting in settings if f"`{reason}`" in setting.meaning)
        yield reason, f"`{key}`", text.meaning, text.remedy


def _render_tables(connection: Connection) -> str:
    rows = connection.execute((DOCS_FOLDER / "list_columns.sql").read_text(encoding="utf-8")).fetchall()
    tables = {heading: [row[2:] for row in columns] for heading, columns in groupby(rows, key=lambda row: row[:2])}
    public = [
        f"### capi.{name}\n\n{comment}.\n\n" + _table(["column", "type", "meaning"], columns)
        for (name, comment), columns in tables.items()
        if not comment.startswith(_INTERNAL)
    ]
    internal = [
        (f"capi.{name}", comment.removeprefix(_INTERNAL).lstrip(",: "))
        for name, comment in tables
        if comment.startswith(_INTERNAL)
    ]
    return "\n\n".join(
        [*public, f"### Internal tables\n\nThey may change without notice.\n\n{_table(['table', 'content'], internal)}"]
    )


def _table(head: list[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is code."""
    lines = [head, ["---"] * len(head), *([f"`{row[0]}`", *(_escape(cell) for cell in row[1:])] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escape(text: str) -> str:
    """Escape what Markdown would read as the end of a cell or, outside code, as a tag."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part.replace("<", "\\<") if place % 2 == 0 else part for place, part in enumerate(parts))


def _listed(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


if __name__ == "__main__":
    main()
