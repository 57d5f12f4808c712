"""The walls of the house: who may import whom, and whose SQL runs where (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
CORE = "crm_to_meta"
DEMO = "crm_to_meta_demo"

# From the ground up. A room imports what is below it, and never its neighbours: so no step imports another one.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("models", "errors"),
    ("warehouse_errors",),
    ("warehouse", "meta"),
    ("pipeline", "reasons"),
    ("ledger",),
    ("extract", "validate", "transform", "load", "audit"),
    ("check", "report"),
    ("crm_to_meta_airflow",),
    ("crm_to_meta_cli", "dags", "crm_to_meta_plugin"),
    (DEMO,),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FOLDERS = ("dags", "plugins", "include")


class Arrow(NamedTuple):
    """One module imports another one."""

    path: str
    line: int
    source: str  # the room that imports
    target: str  # the room that is imported
    module: str  # what is imported, whole


def room_of_path(path: Path) -> str:
    """Return the room that a file is in; "" for the core's own `__init__`."""
    parts = path.relative_to(PROJECT_FOLDER).with_suffix("").parts
    if parts[0] == "dags":
        return "dags"
    return room_of_module(".".join(parts[1:]))


def room_of_module(module: str) -> str:
    """Return the room of a dotted name: of the core its first folder or module, else the top-level package."""
    package, *rest = module.split(".")
    if package != CORE:
        return package
    return rest[0] if rest and rest[0] != "__init__" else ""


def modules_of(node: ast.AST) -> Iterator[str]:
    """Yield what an import statement imports; of `from a import b` both `a` and `a.b`, since b may be a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files() -> list[Path]:
    """Return all Python files that are not tests, nested ones too."""
    return [path for folder in FOLDERS for path in sorted((PROJECT_FOLDER / folder).rglob("*.py"))]


def arrows() -> list[Arrow]:
    """Return every import of this project's own modules, also those within functions."""
    return [
        Arrow(str(path.relative_to(PROJECT_FOLDER)), node.lineno, room_of_path(path), room_of_module(module), module)
        for path in files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in modules_of(node)
        if module.split(".")[0] in {CORE, *FLOOR_OF}
    ]


ARROWS = arrows()


def test_each_file_is_in_a_room() -> None:
    """A new folder gets a floor here and a line in docs/architecture.md."""
    rooms = {room_of_path(path) for path in files()} - {""}

    assert rooms == set(FLOOR_OF)


def test_no_import_is_relative() -> None:
    """Absolute imports only: Airflow loads files from several folders, and a relative import breaks there."""
    relative = [
        f"{path.relative_to(PROJECT_FOLDER)}:{node.lineno}"
        for path in files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert relative == []


@pytest.mark.parametrize("room", sorted(FLOOR_OF))
def test_a_room_imports_only_what_is_below_it(room: str) -> None:
    """No import goes up, and none goes to a neighbour: steps never import each other."""
    mine = [arrow for arrow in ARROWS if arrow.source == room and arrow.target not in {room, ""}]

    assert [arrow for arrow in mine if FLOOR_OF[arrow.target] >= FLOOR_OF[room]] == []


def test_the_core_imports_no_airflow() -> None:
    """The core runs without Airflow, so that it can be tested and reused without it."""
    found = [
        f"{path.relative_to(PROJECT_FOLDER)}: {module}"
        for path in sorted((PROJECT_FOLDER / "include" / CORE).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for module in modules_of(node)
        if module.split(".")[0].startswith("airflow")
    ]

    assert found == []


def test_production_imports_nothing_of_the_demo() -> None:
    """What `make run` needs is in no image: nothing that a worker runs may import it."""
    assert [arrow for arrow in ARROWS if arrow.target == DEMO and arrow.source != DEMO] == []


def test_a_statement_is_run_by_its_own_room_or_by_one_above() -> None:
    """SQL has the same walls: `execute(connection, "load/begin_request")` is for load and those that may import it."""
    crossing = []
    for path in files():
        room = room_of_path(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "execute"):
                continue
            name = node.args[1] if len(node.args) > 1 else None
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                owner = name.value.split("/")[0]
                if owner != room and FLOOR_OF.get(owner, 99) >= FLOOR_OF[room]:
                    crossing.append(f"{path.relative_to(PROJECT_FOLDER)}:{node.lineno} runs {name.value}")

    assert crossing == []


def test_the_picture_shows_each_room() -> None:
    """docs/architecture.md names every room."""
    page = (PROJECT_FOLDER / "docs/architecture.md").read_text(encoding="utf-8")

    assert [room for room in FLOOR_OF if f"`{room}" not in page] == []
