"""One cell's search for many: ``choose`` with ``at``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from grids import table, write_grid

from slimcls import grid as verb
from slimcls.errors import UserError
from slimcls.grids.cells import Grid
from slimcls.grids.definition import read_grid
from slimcls.runs import choices

RATES = [1e-4, 1e-2]
SEARCH: dict[str, Any] = {
    "seed": [3, 4], "lr": RATES, "choose": {"over": ["lr"], "at": {"keep": 6}},
    "cells": [{"keep": 6}, {"keep": 2, "select": ["first", "even"]}, {"layers": [[0, 4]]}],
}  # fmt: skip


def grid(tmp_path: Path, **settings: Any) -> Grid:
    return read_grid(str(write_grid(tmp_path / "g.yaml", Path("toy"), **(SEARCH | settings))))


def test_only_the_named_cells_search(tmp_path: Path):
    groups = grid(tmp_path, mode=["cls", "p-cls"]).groups()
    assert len(groups) == 2 * 4
    for group in groups:
        first = group.cells[0].run
        assert len(group.candidates) == (2 if first.keep == 6 else 0)
        if first.keep != 6:
            assert group.guide
            assert (group.guide.cells[0].run.keep, group.guide.cells[0].run.mode) == (6, first.mode)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"choose": {"over": ["lr"], "at": {"keep": 5}}}, "choose: at: toy cls tiny-gpt2 keep 6"),
        ({"choose": {"over": ["lr"], "at": {"mode": "cls"}}}, "a mapping of keep, layers"),
        ({"choose": {"over": ["lr"], "at": 6}}, "a mapping of keep, layers"),
        (
            {"cells": [{"keep": 6, "mode": "lm"}, {"keep": 2, "mode": "cls"}]},
            "toy cls tiny-gpt2 keep 2",
        ),
        (
            {"cells": [{"keep": 6}, {"keep": 2, "lr": [1e-3, 1e-1]}]},
            "toy cls tiny-gpt2 keep 2 lr 0.001 seed 3 has other lr than toy cls tiny-gpt2 keep 6",
        ),
    ],
)
def test_what_cannot_be_searched_is_said(tmp_path: Path, settings: Any, message: str):
    with pytest.raises(UserError, match=re.escape(message)):
        grid(tmp_path, **settings)


def test_all_cuts_take_what_full_depth_chose(tmp_path: Path, toy: Path, capsys: Any):
    path, out = write_grid(tmp_path / "g.yaml", toy, **SEARCH), tmp_path / "out"
    words = ["--config", str(path), "--out", str(out)]
    assert verb.main([*words, "--dry-run"]) == 0
    assert "9 cells: 0 done, 0 failed, 9 left" in capsys.readouterr().out
    assert verb.main(words) == 0
    assert "9 cells: 9 done" in capsys.readouterr().out
    (choice,) = choices.read_choices(out)
    rows = table(out)
    assert set(rows[rows.keep == 2].lr) == {choice.settings["lr"]}
    assert len(rows[rows.keep == 2]) == 3 * 2
    assert sorted(rows[rows.keep == 6].lr) == sorted([*RATES, choice.settings["lr"]])
    assert verb.main([*words, "--dry-run"]) == 0
    assert "9 cells: 9 done, 0 failed, 0 left" in capsys.readouterr().out
