"""Settings chosen on seeds of their own (``choose`` with ``seeds``), and the plan of a grid."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from grids import table, write_grid

from slimcls import grid as verb
from slimcls import runs
from slimcls.baseline import main as baseline
from slimcls.errors import UserError
from slimcls.grids import attempts
from slimcls.grids.cells import Grid
from slimcls.grids.definition import read_grid
from slimcls.reporting.evidence import gather
from slimcls.reporting.study import read_study
from slimcls.runs import choices, plans

RATES = [1e-4, 1e-2]
CHOOSE: dict[str, Any] = {"over": ["lr"], "seeds": [7, 8]}
SEARCH: dict[str, Any] = {"keep": [2, 6], "seed": [0, 1], "lr": RATES, "choose": CHOOSE}


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    attempts.shared.cache_clear()


def grid(tmp_path: Path, **settings: Any) -> Grid:
    return read_grid(str(write_grid(tmp_path / "g.yaml", Path("toy"), **(SEARCH | settings))))


def test_every_candidate_runs_with_the_seeds_that_choose(tmp_path: Path) -> None:
    made = grid(tmp_path)
    assert made.search is not None
    assert made.search.seeds == (7, 8)
    for group in made.groups():
        assert {cell.run.seed for cell in group.cells} == {0, 1}
        tried = [(cell.run.lr, cell.run.seed) for cell in group.candidates]
        assert sorted(tried) == sorted((lr, seed) for lr in RATES for seed in (7, 8))
    seeds = [cell.run.seed for cell in made.cells]
    assert seeds[:8] == [7, 8] * 4, "what chooses stands first"


def test_cuts_that_follow_have_none(tmp_path: Path) -> None:
    made = grid(tmp_path, choose=CHOOSE | {"at": {"keep": 6}})
    assert {cell.run.keep for cell in made.cells if cell.run.seed in (7, 8)} == {6}
    assert {group.guide is None: len(group.candidates) for group in made.groups()} == {
        True: 4, False: 0,
    }  # fmt: skip


def test_one_seed_may_stand_alone(tmp_path: Path) -> None:
    assert len(grid(tmp_path, choose={"over": ["lr"], "seeds": 7}).groups()[0].candidates) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"choose": CHOOSE | {"seeds": [1, 7]}}, "choose: seeds: 1: is a seed of the runs that"),
        ({"choose": CHOOSE | {"seeds": [0]}, "seed": None}, "choose: seeds: 0: is a seed of the"),
        ({"choose": CHOOSE | {"seeds": []}}, "choose: seeds: []: whole numbers, each once"),
        ({"choose": CHOOSE | {"seeds": [7, 7]}}, "choose: seeds: [7, 7]: whole numbers, each once"),
        ({"choose": CHOOSE | {"seeds": ["a"]}}, "choose: seeds: ['a']: whole numbers, each once"),
        ({"choose": CHOOSE | {"seeds": [-1]}}, "--seed -1: must be at least 0"),
    ],
)
def test_what_cannot_choose_is_said(tmp_path: Path, settings: Any, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        grid(tmp_path, **settings)


def test_what_chose_is_in_no_mean(toy: Path, tmp_path: Path, capsys: Any) -> None:
    path, out = write_grid(tmp_path / "g.yaml", toy, **SEARCH), tmp_path / "out"
    words = ["--config", str(path), "--out", str(out)]
    assert verb.main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "12 cells: 0 done, 0 failed, 12 left" in printed
    assert "then 4 cells: 2 groups at more seeds, with their best lr" in printed
    assert verb.main(words) == 0
    assert "12 cells: 12 done, 0 failed, 0 left" in capsys.readouterr().out
    rows = table(out)
    assert len(rows) == 2 * (2 * 2 + 2)
    for choice in choices.read_choices(out):
        assert (choice.seeds, choice.apart) == ((7, 8), True)
        tried = [{one.run, *one.others} for one in choice.candidates]
        assert choice.rejected == set().union(*tried)
        for one in choice.candidates:
            mine = rows[rows.run.isin({one.run, *one.others})]
            assert sorted(mine.seed) == [7, 8]
            assert one.score == pytest.approx(mine.validation_accuracy.mean())
        best = max(choice.candidates, key=lambda one: (one.score or 0, -one.settings["lr"]))
        assert choice.settings == best.settings
    found = gather(runs.load(out), choices.read_choices(out))
    assert sorted(set(found.runs.seed)) == [0, 1]
    assert len(found.runs) == 4
    assert found.left_out == ()
    assert found.choices["compared on seeds"].tolist() == ["7, 8", "7, 8"]
    assert found.choices.settings.tolist() == [2, 2]
    assert baseline(["--grid", str(path), "--out", str(out)]) == 0
    measured = runs.load(out)
    assert set(measured.seed[measured.method == "tfidf"]) == {0, 1}


def test_a_grid_keeps_the_seeds_it_was_planned_with(toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = write_grid(tmp_path / "g.yaml", toy, **SEARCH | {"lr": 1e-3, "choose": None})
    words = ["--config", str(path), "--out", str(out)]
    assert verb.main([*words, "--dry-run"]) == 0
    assert not out.exists()
    assert verb.main(words) == 0
    read = plans.read_plans(out)
    assert read is not None
    assert [(one.settings["keep"], one.seeds) for one in read["g"]] == [
        (2, (0, 1)),
        ("all", (0, 1)),
    ]
    assert read_study(out).on_seeds == (), "each run is one that was planned"
    more = SEARCH | {"seed": [0, 1, 2], "lr": 1e-3, "choose": None}
    write_grid(path, toy, **more)
    assert verb.main(words) == 0
    assert plans.read_plans(out) == read, "what was planned first stays"
    (said,) = read_study(out).on_seeds
    assert "keep 2; " in said
    assert said.endswith("fixed beforehand")
    assert (out / "plans" / "g.json").read_text().count('"seeds"') == 4


def test_seeds_that_choose_are_not_planned_for_a_report(tmp_path: Path) -> None:
    reported = [cell.run for cell in grid(tmp_path).reported]
    assert {one.seeds for one in plans.planned_seeds(reported)} == {(0, 1)}


def test_choices_that_were_stored_are_read_still() -> None:
    (made,) = {path.parents[1] for path in (ROOT / "results").rglob("choices/*.json")}
    for choice in choices.read_choices(made):
        assert (choice.seeds, choice.apart) == ((), False)
        assert choice.run not in choice.rejected
    (file,) = (made / "choices").iterdir()
    assert "apart" not in json.loads(file.read_text())[0]
