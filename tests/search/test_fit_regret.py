"""What a fit's choice is held against: the runs of a grid over all depths."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, load_script, made_up_rows, write_csv

from slimcls import RunConfig, runs
from slimcls.data.dataset import read_dataset
from slimcls.errors import UserError
from slimcls.kinds import CHEAP
from slimcls.search.kept_plan import keep_plan
from slimcls.search.plan import CHEAPEST, CONFIRMING, TRAINING, Plan
from slimcls.search.settings import FitConfig
from slimcls.train import train

SEEDS, DEPTHS = (7, 8), (1, 2, 6)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("rows") / "rows.csv", made_up_rows(80, 3))


@pytest.fixture(scope="module")
def grid(rows: Path) -> Path:
    for seed in SEEDS:
        for keep in DEPTHS:
            train(
                RunConfig(
                    dataset=str(rows),
                    model="tiny-gpt2",
                    mode="cls",
                    keep=keep,
                    seed=seed,
                    epochs=1,
                    shots="all",
                    save_model="none",
                    out=str(rows.parent / "grid"),
                )
            )
    return rows.parent / "grid"


def test_the_row_of_a_fit(
    rows: Path, grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load_script("fit_regret")
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results")
    words = [str(rows), "--model", "tiny-gpt2", "--out", str(tmp_path / "f"), "--budget", "9m"]
    config = FitConfig(dataset=str(rows), model="tiny-gpt2", out=str(tmp_path / "f"), budget="9m")
    steps = (CHEAPEST, TRAINING, CONFIRMING)
    plan = Plan(None, None, (2, 1), (), 2, 2, dict.fromkeys(steps, 1.0))
    keep_plan(config, read_dataset(str(rows)).fingerprint, plan)
    assert script.main([str(grid), *words]) == 0
    row = json.loads((tmp_path / "results" / "f.json").read_text())
    *cheap, one, two, every = row["grid"]
    assert (one, two, every) == ("1 of 6 layers", "2 of 6 layers", "all 6 layers")
    assert cheap[0] == "majority class"
    assert set(cheap) == set(CHEAP.values())
    assert {name: row["confirmed"][name] for name in cheap} == {
        name: row["grid"][name] for name in cheap
    }
    cells = script.depths_of(str(grid), config)
    assert len(cells) == len(SEEDS) * len(DEPTHS)
    deep = cells[cells.keep == 6].test_accuracy
    assert row["grid"]["all 6 layers"] == pytest.approx(deep.mean())
    best = max(row["grid"].values())
    assert row["regret"] == pytest.approx(100 * (best - row["confirmed"][row["chosen"]]))
    if row["chosen"] in cheap:
        assert row["regret_of_depth"] is None
    else:
        of_depth = 100 * (best - row["grid"][row["chosen"]])
        assert row["regret_of_depth"] == pytest.approx(of_depth)
    assert 100 * (best - row["grid"][row["oracle"]]) <= row["max_loss"]
    assert (row["seeds"], row["grid_seeds"]) == ([2, 3], list(SEEDS))
    assert row["grid_seconds"] == pytest.approx(cells.total_seconds.sum())
    assert row["share_of_time"] == pytest.approx(row["fit_seconds"] / row["grid_seconds"])


def test_a_grid_that_shares_a_seed_with_the_fit_is_refused(
    rows: Path, grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have seen the very items that confirmed the choice."""
    script = load_script("fit_regret")
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results")
    made = {"dataset": str(rows), "model": "tiny-gpt2", "out": str(tmp_path / "f")}
    config = FitConfig(**made, budget="9m", seed=SEEDS[0] - 1)  # type: ignore[arg-type]
    plan = Plan(None, None, (), (), 1, 1, dict.fromkeys((CHEAPEST, CONFIRMING), 1.0))
    keep_plan(config, read_dataset(str(rows)).fingerprint, plan)
    words = [str(rows), "--model", "tiny-gpt2", "--out", made["out"], "--budget", "9m"]
    words += ["--seed", str(config.seed)]
    with pytest.raises(UserError, match="has a seed that the fit used; give the fit another"):
        script.main([str(grid), *words])
    assert not (tmp_path / "results").exists()
    command = [sys.executable, str(ROOT / "scripts" / "fit_regret.py"), str(grid), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr


def test_runs_with_exits_are_not_counted(
    rows: Path, grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each depth of one was trained together with the others, which is another experiment."""
    script = load_script("fit_regret")
    config = FitConfig(dataset=str(rows), model="tiny-gpt2")
    alone = script.depths_of(str(grid), config)
    made = train(
        RunConfig(
            dataset=str(rows),
            model="tiny-gpt2",
            mode="cls",
            keep=2,
            exits=[1, 2],
            seed=SEEDS[0],
            epochs=1,
            shots="all",
            save_model="none",
            out=str(grid),
        )
    )
    every = runs.load(grid)
    assert every.exits.notna().sum() >= 2, "a row each"
    try:
        counted = script.depths_of(str(grid), config)
        assert sorted(counted.run) == sorted(alone.run)
        assert made.outcome.run not in set(counted.run)
        only = every[every.exits.notna()]
        monkeypatch.setattr(script.runs, "load", lambda _: only)
        with pytest.raises(UserError, match="has no run of"):
            script.depths_of(str(grid), config)
    finally:
        for run in every[every.exits.notna()].run:
            shutil.rmtree(grid / run)


def test_a_grid_that_does_not_fit_is_refused(rows: Path, grid: Path) -> None:
    script = load_script("fit_regret")
    with pytest.raises(UserError, match="has no run of trec and tiny-gpt2"):
        script.depths_of(str(grid), FitConfig(dataset="trec", model="tiny-gpt2"))
    cell = next(path for path in grid.iterdir() if "-k2-s8-" in path.name)
    (cell / "result.parquet").rename(cell / "elsewhere")
    try:
        with pytest.raises(UserError, match=r"fewer seeds at \[2\] layers"):
            script.depths_of(str(grid), FitConfig(dataset=str(rows), model="tiny-gpt2"))
    finally:
        (cell / "elsewhere").rename(cell / "result.parquet")
