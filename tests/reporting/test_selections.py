"""Which layers: cuts of one depth against each other, in tables, figures and pages."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from reporting.made_study import DRAWS, RULES, add_run, make_cuts, make_study

from slimcls.report import ReportConfig, report
from slimcls.reporting import study, tables


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cuts(tmp_path_factory.mktemp("cuts") / "runs")


def test_differences_are_those_the_data_were_made_for(made: Path) -> None:
    table = study.read_study(made).compared.selections.set_index("rule")
    wanted = {"bi": -0.05, "even": 0.005, "layers 1,4": -0.10, "layers 2-3": -0.20}
    assert table.difference.to_dict() == pytest.approx(wanted, abs=1e-9)
    assert set(table.keep) == {2}
    assert set(table.seeds) == {"0, 1, 2"}
    assert (table.low < table.difference).all()
    assert (table.difference < table.high).all()
    assert table.loc["bi", "high"] < 0 < table.loc["even", "high"]
    assert table.loc["bi", "cut"] == "0,5"


def test_cuts_named_by_hand_are_lines_of_their_own(made: Path) -> None:
    compared = study.read_study(made).compared
    lines = set(compared.cells[compared.cells.keep == 2].line)
    rules = ["first", "bi", "even", "layers 1,4", "layers 2-3"]
    assert lines == {f"cls, {rule}" for rule in rules}
    assert len(compared.differences) == 5
    assert compared.missing == ()


def test_named_layers_alone_are_told_apart_too(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        add_run(tmp_path, right=0.9, keep=6, seed=seed)
        for layers, right in DRAWS.items():
            add_run(tmp_path, right=right, keep=2, seed=seed, layers=list(layers))
    compared = study.read_study(tmp_path).compared
    assert set(compared.differences.line) == {"p-cls, layers 1,4", "p-cls, layers 2-3"}
    assert compared.selections.empty


def test_what_cannot_be_compared_is_named(tmp_path: Path) -> None:
    for seed, select in ((0, "first"), (1, "bi")):
        add_run(tmp_path, right=0.9, keep=6, seed=seed, mode="cls")
        layers = RULES[select][1]
        add_run(tmp_path, right=0.8, keep=2, seed=seed, mode="cls", select=select, layers=layers)
    compared = study.read_study(tmp_path).compared
    assert compared.selections.empty
    assert any("keep 2, bi against first: a paired difference" in one for one in compared.missing)


def test_a_report_has_them_where_there_are_any(made: Path, tmp_path: Path) -> None:
    page = report(ReportConfig(folder=str(made), out=str(tmp_path / "with")))
    text = page.read_text()
    assert "## Which layers" in text
    shown = tables.selection_table(study.read_study(made).compared).set_index("layers chosen by")
    difference = shown["difference to the first (points)"]
    assert difference["layers 1,4"].startswith("-10.0 (")
    assert f"| sst2 | cls | 2 | bi | 0,5 | {difference['bi']} | 0, 1, 2 |" in text
    assert (page.parent / "figures" / "selections.png").stat().st_size > 5_000
    assert len(pd.read_csv(page.parent / "tables" / "selections.csv")) == 4
    page = report(ReportConfig(folder=str(make_study(tmp_path / "r")), out=str(tmp_path / "w")))
    assert "Which layers" not in page.read_text()
    assert not list(page.parent.rglob("selections*"))
