"""Did a fit choose as a search over all depths would have? ``scripts/fit_regret.py trec ...``.

Takes the words of ``slimcls fit``. Fits, or reads the finished fit; then trains every depth that
the fit might have tried on the seeds that confirmed its choice, with the fit's own settings, and
holds the choice against all of them on the test part. A row goes to ``results/fit/NAME.json``:

- ``regret``: points of test accuracy between the choice and the best of all candidates;
- ``oracle``: the smallest candidate that loses no more than ``--max-loss`` on test, and how much it
  is ahead of the choice;
- ``share_of_time``: seconds of the fit over those of all depths in full.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from slimcls import cli
from slimcls.fit import run
from slimcls.log import Log
from slimcls.runs.schema import RunResult
from slimcls.search.settings import FitConfig
from slimcls.search.work import Fit

RESULTS = Path(__file__).parents[1] / "results" / "fit"


def regret(config: FitConfig) -> dict[str, Any]:
    """The row of one fit. Raises UserError as ``slimcls fit`` does."""
    answer = run(config).answer
    bench = Fit(config, Log(aloud=False)).bench
    seeds = answer.confirmed[0].seeds
    (kept,) = (one.layers for one in answer.candidates if one.chosen)
    runs: dict[str, list[RunResult]] = {}
    for seed in seeds:
        # What was handed over has its model beside it, and a name of its own for that.
        first = seed == seeds[0]
        runs.setdefault("TF-IDF", []).append(bench.words(seed, save=first and kept is None))
        for keep in bench.plan.depths:
            result = bench.cut(keep, seed, save=first and keep == kept)
            runs.setdefault(bench.tried(result).candidate.name, []).append(result)
    tested = {name: _mean([one.test_accuracy for one in each]) for name, each in runs.items()}
    sizes = {name: bench.tried(each[0]).candidate.megabytes for name, each in runs.items()}
    best = max(tested.values())
    passing = [name for name in tested if 100 * (best - tested[name]) <= config.max_loss]
    oracle = min(passing, key=sizes.__getitem__)
    chosen = answer.confirmed[0].name
    whole = sum(one.total_seconds for each in runs.values() for one in each)
    return {
        "dataset": config.dataset,
        "model": config.model,
        "shots": config.shots,
        "budget": config.budget,
        "max_loss": config.max_loss,
        "seeds": seeds,
        "chosen": chosen,
        "verdict": answer.verdict,
        "test_accuracy": tested,
        "megabytes": sizes,
        "regret": 100 * (best - tested[chosen]),
        "oracle": oracle,
        "behind_oracle": 100 * (tested[oracle] - tested[chosen]),
        "fit_seconds": answer.seconds,
        "all_depths_seconds": whole,
        "share_of_time": answer.seconds / whole,
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def main(words: list[str]) -> int:
    """Write and print the row of the fit that the words describe."""
    config = cli.parse(FitConfig, words, prog="fit_regret", positional=("dataset",))
    row = regret(config)
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(row, indent=1)
    (RESULTS / f"{config.folder.name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(lambda: main(sys.argv[1:])))
