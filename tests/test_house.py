"""Imports run only downwards, no files import one another in a circle, the map is up to date."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location("house", ROOT / "scripts" / "house.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


house = load_script()


def test_imports_run_downwards() -> None:
    assert house.against(house.imports(), house.order()) == []


def test_neither_files_nor_rooms_import_one_another_in_a_circle() -> None:
    graph = house.imports()
    assert house.circles(graph) == []
    assert house.circles(house.rooms(graph)) == []


def test_every_room_has_its_sentence() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "slimcls").glob("*/__init__.py")}
    assert [room for room in sorted(rooms) if f"| `{room}/` |" not in text] == []


def test_the_map_is_made_from_the_docstrings() -> None:
    written = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    assert written == house.page_of_files(), "run python scripts/house.py --write-map"
    assert all(row.split("|")[2].strip() for row in written.splitlines()[6:])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A package of three rooms: high imports low lazily, low imports high for its types."""
    for name, text in {
        "high/__init__.py": "", "low/__init__.py": "", "low/a.py": "import slimcls.low.b\n",
        "low/b.py": "def f():\n    from slimcls.low import a\n",
        "high/c.py": "def f():\n    from slimcls.low.a import g\n",
        "low/d.py": "if TYPE_CHECKING:\n    from slimcls.high import c\n",
        "__init__.py": "",
    }.items():  # fmt: skip
        path = tmp_path / "slimcls" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_what_is_found_in_a_house_with_faults(small: Path) -> None:
    graph = house.imports(small)
    assert house.circles(graph) == [["slimcls.low.a", "slimcls.low.b"]]
    assert house.circles(house.rooms(graph)) == [["high", "low"]]
    assert house.against(graph, {"high": 1, "low": 0}) == ["slimcls.low.d imports slimcls.high.c"]
    assert house.against(graph, {"low": 0})[0].startswith("high: not in the order")
    floors = house.floors(graph)
    assert floors["slimcls.low.a"] == floors["slimcls.low.b"] < floors["slimcls.high.c"]
    trace = house.Trace(small)
    trace.calls = [("slimcls.low.a", "slimcls.high.c"), ("slimcls.high.c", "slimcls.low.a"),
                   ("slimcls.low.a", "slimcls.high.c")]  # fmt: skip
    assert trace.counts(floors) == (3, 1, 1)
