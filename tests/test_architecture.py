"""The house rules that a reader relies on, held over the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "batch"

# Each may import those below its own line, and nothing on its own line or above.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("documents", "terminal", "simulator"),
    ("run",),
    ("reverse", "saved_plan", "doubt", "history"),
    ("check", "folders", "interruption"),
    ("read", "validate", "plan", "send", "lookup", "journal", "report", "export"),
    ("client",),
    ("files", "journal_schema"),
    ("settings", "formulas", "marker", "state"),
    ("models",),
    ("errors",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

ONLY = {
    "pandas": {"read"},
    "python_calamine": {"read"},
    "xlrd": {"read"},
    "openpyxl": {"read"},
    "xlsxwriter": {"export", "report"},
    "httpx": {"client", "settings"},
    "httptools": {"client"},
    "tenacity": {"client"},
    "jinja2": {"report"},
    "sqlite3": {"journal", "simulator"},
    "rich": {"terminal"},
    "typer": {"cli"},
    "starlette": {"simulator"},
    "uvicorn": {"simulator"},
}


def rooms() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        if inside != Path("__init__.py"):
            yield inside.parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "batch":
            yield from (f"batch.{name.name}" for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_imports_run_downward_only() -> None:
    upward = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for room, path in rooms()
        for name in imports(path)
        if name.startswith("batch.")
        and (other := name.split(".")[1]) in FLOOR_OF
        and other != room
        and FLOOR_OF[other] <= FLOOR_OF[room]
    ]

    assert upward == []


def test_every_room_has_its_floor() -> None:
    assert {room for room, _ in rooms()} == set(FLOOR_OF)


@pytest.mark.parametrize("library", ONLY)
def test_a_library_is_known_in_its_own_rooms_only(library: str) -> None:
    knowing = {
        room for room, path in rooms() for name in imports(path) if name.split(".")[0] == library
    }

    assert knowing <= ONLY[library]


def test_there_is_no_room_for_odds_and_ends() -> None:
    names = {part.removesuffix(".py") for _, path in rooms() for part in path.parts}

    assert names.isdisjoint({"utils", "util", "helpers", "common", "core", "misc"})


def test_no_function_is_longer_than_its_reader_can_hold() -> None:
    longest = 60  # lines; the commands of the command line are lists of options, and longer
    long = [
        f"{path.relative_to(PACKAGE)}:{node.name}"
        for room, path in rooms()
        if room != "cli"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= longest
    ]

    assert long == []
