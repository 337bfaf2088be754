"""Before any run: the smallest loss that a grid's seeds and test items could tell from none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from grids import write_grid

from slimcls import grid as verb
from slimcls.statistics import smallest_detectable_loss

STUDY: dict[str, Any] = {"keep": [2, "all"], "seed": [0, 1, 2]}


def said(tmp_path: Path, toy: Path, capsys: Any, **settings: Any) -> list[str]:
    path = write_grid(tmp_path / "g.yaml", toy, **(STUDY | settings))
    words = ["--config", str(path), "--out", str(tmp_path / "out"), "--dry-run"]
    assert verb.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if line.startswith(("design:", "  taken:"))]


def points(seeds: int, items: int, level: float = 0.05) -> str:
    return f"{100 * smallest_detectable_loss(seeds, items, level=level):.1f} points"


def test_the_smallest_loss_that_could_be_told(tmp_path: Path, toy: Path, capsys: Any) -> None:
    line, taken = said(tmp_path, toy, capsys)
    assert line == (
        "design: 3 seeds, 60 test items (toy): the smallest loss that can be told from none, with "
        f"a chance of 80 %, is {points(3, 60)}"
    )
    assert taken == (
        "  taken: seeds differ by 1.5 points, cut and full depth disagree on 7% of the items, 30% "
        "of that with every seed"
    )
    fewer = said(tmp_path, toy, capsys, test_size=30)
    assert points(3, 30) in fewer[0]


def test_modes_and_tasks_share_the_level(tmp_path: Path, toy: Path, capsys: Any) -> None:
    line, taken = said(tmp_path, toy, capsys, mode=["cls", "p-cls"], seed=[0, 1, 2, 3])
    assert points(4, 60, 0.025) in line
    assert "4 seeds" in line
    assert taken.endswith("; 2 modes, tasks and rules share the level of 5 %")


def test_each_rule_for_layers_has_its_share_as_in_a_report(
    tmp_path: Path, toy: Path, capsys: Any
) -> None:
    blocks = [
        {"keep": [1, 2], "select": ["first", "sequential"]},
        {"layers": [[0, 2]]},
        {"keep": "all"},
    ]
    line, taken = said(tmp_path, toy, capsys, keep=None, cells=blocks)
    assert line.startswith("design: 3 seeds, 60 test items (toy): the smallest")
    assert points(3, 60, 0.05 / 3) in line
    assert taken.endswith("; 3 modes, tasks and rules share the level of 5 %")


def test_a_searched_setting_makes_no_other_design(tmp_path: Path, toy: Path, capsys: Any) -> None:
    search = {"lr": [1e-3, 1e-2], "choose": {"over": ["lr"], "seeds": [7, 8]}}
    (line, _) = said(tmp_path, toy, capsys, **search)
    assert line.startswith("design: 3 seeds, 60 test items")
    assert points(3, 60) in line


def test_the_cell_with_fewest_seeds_counts(tmp_path: Path, toy: Path, capsys: Any) -> None:
    blocks = [{"keep": 2, "seed": [0, 1, 2, 3, 4]}, {"keep": "all", "seed": [0, 1]}]
    line, _ = said(tmp_path, toy, capsys, keep=None, seed=None, cells=blocks)
    assert line == (
        "design: 2 seeds, 60 test items (toy): no loss can be told from none; verdicts need 3 seeds"
    )


def test_where_nothing_is_compared_nothing_is_said(tmp_path: Path, toy: Path, capsys: Any) -> None:
    assert said(tmp_path, toy, capsys, keep=2) == []


def test_a_model_out_of_reach_has_at_most_its_test_items(
    tmp_path: Path, toy: Path, capsys: Any
) -> None:
    line, _ = said(tmp_path, toy, capsys, model="gpt2-xl")
    assert re.match(r"design: 3 seeds, at most 1,000 test items \(toy\): the smallest", line)
