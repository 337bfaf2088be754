"""Did a fit choose as a grid of all depths would have? ``scripts/fit_regret.py GRID trec ...``.

Takes the folder of a finished grid and the words of ``slimcls fit``. Fits, or reads the finished
fit, and holds its choice against the grid's runs on the same data and model: mode cls, plainly
trained cuts to the first layers, means over the grid's seeds, none of which the fit has used. A row
goes to ``results/fit/NAME.json``:

- ``regret``: points of test accuracy between the best there is (a depth of the grid, or a cheap
  rival, as the fit has confirmed it) and what the fit handed over;
- ``regret_of_depth``: the same for the grid's own runs at the depth that the fit chose, which were
  trained on other items and without the fit's limits of time. None where a cheap rival was
  chosen, or a depth that the grid lacks;
- ``oracle``: the smallest that loses no more than ``--max-loss`` against the best;
- ``share_of_time``: seconds of the fit over those of the grid.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from slimcls import cli, runs
from slimcls.errors import UserError
from slimcls.fit import run
from slimcls.search.candidates import BYTES, called
from slimcls.search.settings import FitConfig

RESULTS = Path(__file__).parents[1] / "results" / "fit"


def depths_of(grid: str, config: FitConfig) -> pd.DataFrame:
    """The grid's runs that a fit is held against. Raises UserError where there are none."""
    found = runs.load(grid)
    asked = {
        "dataset": config.dataset,
        "model": config.model,
        "mode": "cls",
        "select": "first",
        "method": "fine-tuned",
        "taught": "",
    }
    for column, value in asked.items():
        found = found[found[column] == value]
    found = found[found.exits.isna()]
    if found.empty:
        raise UserError(f"{grid}: has no run of {config.dataset} and {config.model} in mode cls")
    counts = found.groupby("keep").seed.nunique()
    if counts.min() < counts.max():
        few = counts[counts < counts.max()].index.tolist()
        raise UserError(f"{grid}: has fewer seeds at {few} layers than elsewhere; finish it first")
    return found


def _megabytes(cells: pd.DataFrame) -> dict[int, float]:
    """What each depth of the grid takes, as a fit counts it."""
    kept = cells.groupby("keep").params_kept.first()
    return {int(keep): BYTES * int(count) / 1e6 for keep, count in kept.items()}


def regret(grid: str, config: FitConfig) -> dict[str, Any]:
    """The row of one fit. Raises UserError as ``slimcls fit`` does."""
    cells = depths_of(grid, config)
    answer = run(config).answer
    if set(cells.seed) & set(answer.confirmed[0].seeds):
        raise UserError(f"{grid}: has a seed that the fit used; give the fit another --seed")
    confirmed = {one.name: one.accuracy for one in answer.confirmed}
    (mine,) = (one for one in answer.candidates if one.chosen)
    chosen, kept = mine.name, mine.layers if mine.kind == "cut" else None
    by_depth = cells.groupby("keep").test_accuracy.mean().to_dict()
    all_layers = int(cells.depth.iloc[0])
    cheap = sorted(
        (one for one in answer.candidates if one.name in confirmed and one.kind != "cut"),
        key=lambda one: one.megabytes,
    )
    known = {one.name: confirmed[one.name] for one in cheap} | {
        called(keep, all_layers): accuracy for keep, accuracy in by_depth.items()
    }
    best = max(known.values())
    # From small to large; a trained depth is one layer smaller than frozen ones, which average.
    sizes = {one.name: one.megabytes for one in answer.candidates}
    sizes |= {called(keep, all_layers): size for keep, size in _megabytes(cells).items()}
    enough = [name for name in known if 100 * (best - known[name]) <= config.max_loss]
    oracle = min(enough, key=sizes.__getitem__)
    seconds = float(cells.total_seconds.sum())
    return {
        "dataset": Path(config.dataset).stem,
        "model": config.model,
        "shots": config.shots,
        "budget": config.budget,
        "max_loss": config.max_loss,
        "seeds": list(answer.confirmed[0].seeds),
        "chosen": chosen,
        "verdict": answer.verdict,
        "confirmed": confirmed,
        "grid_seeds": sorted({int(seed) for seed in cells.seed}),
        "grid": known,
        "regret": 100 * (best - confirmed[chosen]),
        "regret_of_depth": 100 * (best - by_depth[kept]) if kept in by_depth else None,
        "oracle": oracle,
        "fit_seconds": answer.seconds,
        "grid_seconds": seconds,
        "share_of_time": answer.seconds / seconds,
    }


def main(words: list[str]) -> int:
    """Write and print the row of the fit that the words describe."""
    if not words:
        raise UserError("usage: fit_regret.py GRID DATASET [settings of slimcls fit]")
    config = cli.parse(FitConfig, words[1:], prog="fit_regret", positional=("dataset",))
    row = regret(words[0], config)
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(row, indent=1)
    (RESULTS / f"{config.folder.name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(lambda: main(sys.argv[1:])))
