"""Leaving early: how much faster, and whether the promise holds, against the deepest exit.

Runs are of `slimcls train trec --exits` with the packaged model, cls; both sides are the same model
folder, once as `slimcls cascade` has left it and once with `leave_early=False`. What is promised is
at most one point of accuracy (small: five, of eight layers trained for a minute). Every label must
be that of the run of the exit where the text left.

The promise is checked over 100 halves of the validation and the test texts, drawn at random: a
threshold is chosen on one half, and the loss is what the other shows. A half is broken where that
is above the risk. The bound is of the loss of all texts like these; the loss that a half of them
shows has chance of its own, as large again, so that at a loss of exactly the risk's bound it would
be broken in 12 of 100 and not in 5.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness, predict, workload
from benchmarks.harness import Figure, Row
from slimcls import cli

CASCADE, DEEPEST = "leaving early", "all layers"
#: Settings of the runs beside the defaults, and the risk in points.
SETTINGS: dict[str, dict[str, Any]] = {
    "small": {"exits": [2, 4, 8], "shots": 50, "epochs": 2, "patience": 0},
    "full": {"exits": [4, 8, 15, 30], "epochs": 4, "patience": 0, "schedule": "linear"},
}
RISK = {"small": 5.0, "full": 1.0}
SEEDS = {"small": (0,), "full": (0, 1, 2)}
REPETITIONS = {"small": 3, "full": 9}
#: How many texts, and how many of them one by one.
TEXTS = {"small": (200, 40), "full": (500, 200)}
#: How many times as fast; halves that are drawn, and of 100 how many may be broken.
FASTER, HALVES, BROKEN = 1.7, 100, 12.0


@dataclass(frozen=True)
class Trained:
    """A finished run that leaves early, and the test part."""

    folder: Path
    texts: list[str]
    labels: list[int]


def trained(seed: int, options: Any, out: Path) -> Trained:
    """A run with exits, trained if it is not there, that leaves early."""
    from slimcls.cascade import cascade
    from slimcls.cascading.settings import CascadeConfig
    from slimcls.config import RunConfig
    from slimcls.session.again import drawn_again
    from slimcls.train import train

    common = {"dataset": "trec", "model": "smollm2-135m", "mode": "cls", "seed": seed}
    where = {"data_dir": options.data_dir, "out": str(out), "accelerator": "cpu", "baseline": False}
    folder = train(RunConfig(**common, **where, **SETTINGS[options.size])).folder
    cascade(CascadeConfig(run=str(folder), risk=RISK[options.size]))
    test = drawn_again(folder, options.data_dir).splits.test
    return Trained(folder, [item.text for item in test], [item.label for item in test])


def check_labels(run: Trained) -> None:
    """Raise where a text's label is not that of the run of the exit at which it left."""
    import slimcls
    from slimcls.cascading.family import exits_of_run

    found = slimcls.load(run.folder).predict(run.texts)
    exits = exits_of_run(run.folder)
    alone = {
        depth: [one.label for one in slimcls.load(cut.folder, leave_early=False).predict(run.texts)]
        for depth, cut in zip(exits.depths, exits.runs, strict=True)
    }
    for place, one in enumerate(found):
        if one.label != alone[one.depth or 0][place]:
            raise harness.Different(f"text {place} is {one.label} at {one.depth} layers")


def speeds(run: Trained, options: Any) -> list[Row]:
    """One text, and many, beside the same folder with all its layers."""
    import slimcls

    count, alone = TEXTS[options.size]
    many, few = run.texts[:count], run.texts[:alone]
    opened = {
        CASCADE: slimcls.load(run.folder),
        DEEPEST: slimcls.load(run.folder, leave_early=False),
    }
    layers = np.mean([one.depth or 0 for one in opened[CASCADE].predict(many)])

    def by(name: str, texts: Sequence[str]) -> list[list[float]]:
        return [list(one.probabilities.values()) for one in opened[name].predict(list(texts))]

    sides = {
        "one text": {
            name: lambda name=name: predict.each(few, lambda text: by(name, text))
            for name in opened
        },
        "many texts": {name: lambda name=name: by(name, many) for name in opened},
    }
    seen = f"seen by {layers:.1f} of {SETTINGS[options.size]['exits'][-1]} layers on average"
    notes = {
        "one text": f"median of {len(few)} texts",
        "many texts": f"{len(many)} texts, {seen}",
    }
    rows = []
    for kind, both in sides.items():
        repetitions = options.repetitions or REPETITIONS[options.size]
        turns = harness.alternate(both, repetitions=repetitions)
        ours, theirs = turns.seconds[CASCADE], turns.seconds[DEEPEST]
        floor = FASTER if options.size == "full" else None
        faster = harness.ratio(theirs, ours, name="times faster", at_least=floor)
        rows.append(Row(kind, turns.seconds, [faster], note=notes[kind]))
    return rows


def accuracy(runs: dict[int, Trained], options: Any) -> Row:
    """Accuracy on the test part, leaving early and not."""
    import slimcls
    from slimcls.statistics import SeedItems, paired_difference

    sides: dict[str, list[Any]] = {CASCADE: [], DEEPEST: []}
    for seed, run in runs.items():
        for name, side in sides.items():
            opened = slimcls.load(run.folder, leave_early=name == CASCADE)
            ids = opened.encoder.encode(run.texts).ids
            right = np.asarray(opened.logits(ids)).argmax(1) == np.asarray(run.labels)
            side.append(SeedItems(seed, np.arange(len(right)), right))
    found = paired_difference(sides[CASCADE], sides[DEEPEST])
    points = Figure(
        "points of accuracy, leaving early minus all layers",
        100 * found.mean, 100 * found.low, 100 * found.high,
        at_least=-RISK["full"] if options.size == "full" else None,
    )  # fmt: skip
    means = {name: [float(one.correct.mean()) for one in side] for name, side in sides.items()}
    texts = len(next(iter(runs.values())).texts)
    note = f"accuracy on {texts} test texts, {len(runs)} seed{'s' * (len(runs) > 1)}"
    return Row("accuracy", means, [points], unit="right", note=note)


def promise(runs: dict[int, Trained], options: Any) -> Row:
    """Of random halves, how often the other half loses more than was promised."""
    risk, points, broken, refused, layers = RISK[options.size] / 100, [], [], 0, []
    for seed, run in runs.items():
        pool = pooled(run)
        chance = np.random.default_rng(seed)
        mine = []
        for _ in range(HALVES):
            loss, seen = halved(pool, risk, chance)
            if loss is None:
                refused += 1
                continue
            mine.append(loss)
            layers.append(seen)
        points += [100 * loss for loss in mine]
        broken.append(100 * float(np.sum(np.array(mine) > risk + 1e-9)) / HALVES)
    row = Row("promise", {"points lost on the other half": points or [float("nan")]}, unit="points")
    row.figures = [
        harness.figure("halves broken, of 100", broken, at_most=BROKEN),
        harness.figure("halves refused, of 100", [100 * refused / (HALVES * len(runs))]),
    ]
    row.note = (
        f"{HALVES} halves of {len(pool.labels)} validation and test texts a seed, {len(runs)} "
        f"seed{'s' * (len(runs) > 1)}; seen by {np.mean(layers or [np.nan]):.1f} layers"
    )
    return row


def pooled(run: Trained) -> Any:
    """What each end says of the validation and the test texts of a run."""
    from slimcls.cascading.choosing import Scores
    from slimcls.cascading.family import exits_of_run

    exits = exits_of_run(run.folder)
    validation, test = exits.validation(), exits.test()
    assert test is not None
    # The probabilities that a run keeps of its test texts have its temperature in them.
    heats = np.array(validation.temperatures)[:, None, None]
    return Scores(
        exits.depths,
        np.concatenate([validation.logits, test.logits * heats], 1),
        np.concatenate([validation.labels, test.labels]),
    )


def halved(pool: Any, risk: float, chance: np.random.Generator) -> tuple[float | None, float]:
    """The loss that one half shows of what the other has chosen, and the layers; None: refused."""
    from slimcls.cascading.choosing import choose

    order = chance.permutation(len(pool.labels))
    middle = len(order) // 2
    chosen = choose(pool.part(order[:middle]), risk)
    if chosen is None:
        return None, float("nan")
    found = chosen.on(pool.part(order[middle:]))
    return found.loss, float(np.take(pool.depths, found.ends).mean())


def main(argv: list[str] | None = None) -> int:
    """Train, choose, measure, report; ``--only`` chooses among the rows' names."""
    parser = harness.parser("cascade", __doc__)
    parser.add_argument("--runs", type=Path, help="folder for the runs, which are kept; else none")
    parser.add_argument("--seeds", type=int, help="how many seeds; the size's own if not given")
    options = parser.parse_args(argv)
    rows: list[Row] = []

    def wanted(name: str) -> bool:
        return fnmatchcase(name, options.only)

    with workload.run_folder() as temporary:
        out = options.runs or temporary
        runs = {seed: trained(seed, options, out) for seed in SEEDS[options.size][: options.seeds]}
        if any(map(wanted, ("one text", "many texts"))):
            first = runs[SEEDS[options.size][0]]
            check_labels(first)
            rows += [row for row in speeds(first, options) if wanted(row.name)]
        rows += [
            measure(runs, options)
            for name, measure in {"accuracy": accuracy, "promise": promise}.items()
            if wanted(name)
        ]
    settings = {"model": "smollm2-135m", "mode": "cls", **SETTINGS[options.size]}
    harness.report("cascade", rows, options, settings | {"risk": RISK[options.size]})
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
