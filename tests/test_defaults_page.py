"""docs/defaults.md says what the stored runs say, and what the code does."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from conftest import ROOT

from slimcls.runs.folder import run_name
from slimcls.runs.results import read_result
from slimcls.session.settle import LEARNING_RATES

PAGE = ROOT / "docs" / "defaults.md"


def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "scripts/defaults_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_those_of_the_results() -> None:
    page = PAGE.read_text()
    assert tables().filled(page) == page, "run python scripts/defaults_tables.py"
    assert page.count("| trec | 2 |") >= 1, "a page without figures is no page"


def test_the_rates_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    for tune, rows in LEARNING_RATES.items():
        (line,) = [line for line in lines if f"`{tune}`" in line or f"`{tune}-K`" in line]
        assert [float(cell) for cell in line.split("|")[2:4]] == [rows[0][1], rows[-1][1]]


def test_stored_runs_are_read_by_the_one_loader() -> None:
    folders = sorted(tables().RESULTS.iterdir())
    for folder in folders:
        result = read_result(folder)
        if result is None:  # a run that is under way in this working tree
            continue
        prints = {"source": result.source_fingerprint, "data": result.data_fingerprint}
        assert run_name(result.config, prints) == folder.name, "its settings answer to its name"
    assert len(folders) > 10
