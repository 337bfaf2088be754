"""Whole runs with --tune head: features kept on disk, against the backbone in every step.

Each side is one slimcls.train.train from settings to result: open, tokenise, train, validate, test
and the time for one text alone; only the model's files are not written. The plain way runs the
frozen backbone in every step and every validation (--recompute-features). The first run computes
the features of each text once and keeps them; the next run, with another learning rate, finds them.

Losses of all steps must agree with the plain way's at the same learning rate, and every test text
must get the same class.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from benchmarks import harness
from benchmarks.harness import Different, Row, Took
from slimcls import cli

PLAIN, FIRST, NEXT = "plain way", "first run", "next learning rate"
RATES = {PLAIN: 1e-2, FIRST: 1e-2, NEXT: 3e-3}
CASES: dict[str, dict[str, Any]] = {
    "cls, keep 2": {"mode": "cls", "keep": 2},
    "cls, keep 8": {"mode": "cls", "keep": 8},
    "p-cls, keep 2": {"mode": "p-cls", "keep": 2},
}


@dataclass
class Trail:
    """What a run did, and what it found."""

    losses: list[float]
    predictions: list[str]


def measure(settings: dict[str, Any], name: str, repetitions: int) -> list[Row]:
    """The three ways in turns; a row for each that keeps features."""
    with TemporaryDirectory(prefix="slimcls-bench-") as folder:
        made, count = Path(folder), itertools.count()

        def side(way: str, lr: float, cache: str) -> Took:
            config = settings | {"lr": lr, "recompute_features": way == PLAIN}
            return run(config, made / f"run-{next(count)}", made / cache)

        def new() -> str:
            return f"cache-{next(count)}"

        filled = new()
        side(FIRST, RATES[FIRST], filled)
        other = side(PLAIN, RATES[NEXT], new()).outcome
        sides: dict[str, Callable[[], Any]] = {
            PLAIN: lambda: side(PLAIN, RATES[PLAIN], new()),
            FIRST: lambda: side(FIRST, RATES[FIRST], new()),
            NEXT: lambda: side(NEXT, RATES[NEXT], filled),
        }

        def check(found: dict[str, Trail]) -> None:
            _check_same(found[FIRST], found[PLAIN])
            _check_same(found[NEXT], other)

        turns = harness.alternate(sides, repetitions=repetitions, warm_up=0, check=check)
    rows = []
    for way in (FIRST, NEXT):
        pair = {one: turns.seconds[one] for one in (way, PLAIN)}
        faster = harness.ratio(pair[PLAIN], pair[way], name="times faster")
        note = f"{len(other.losses)} steps; losses within 1e-4, the same predictions"
        rows.append(Row(f"{name}: {way}", pair, [faster], note=note))
    return rows


def run(settings: dict[str, Any], out: Path, cache: Path) -> Took:
    """One run in silence, with the features of ``cache``."""
    import pandas as pd

    from slimcls import RunConfig
    from slimcls.train import train
    from slimcls.training import frozen

    losses: list[float] = []
    with (
        mock.patch.object(frozen, "cache_dir", return_value=cache),
        noted(losses),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        started = time.perf_counter()
        result = train(RunConfig(**settings, out=str(out), save_model="none"))
        seconds = time.perf_counter() - started
    predictions = pd.read_parquet(result.folder / "predictions.parquet")["prediction"].tolist()
    return Took(seconds, Trail(losses, predictions))


@contextlib.contextmanager
def noted(losses: list[float]) -> Iterator[None]:
    """Inside, the loss of every training step is added to ``losses``."""
    from slimcls.training.learner import Learner

    step = Learner.training_step

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = step(self, batch, batch_idx)
        losses.append(float(loss.detach()))
        return loss

    with mock.patch.object(Learner, "training_step", training_step):
        yield


def _check_same(kept: Trail, plain: Trail) -> None:
    harness.agree("losses", {"kept features": kept.losses, "plain way": plain.losses}, 1e-4)
    if kept.predictions != plain.predictions:
        raise Different("kept features and the plain way predict other classes")


def main(argv: list[str] | None = None) -> int:
    """Measure every case (small: the first), or those whose name fits ``--only``."""
    options = harness.parser("head", __doc__).parse_args(argv)
    small = options.size == "small"
    common: dict[str, Any] = {
        "model": "smollm2-135m", "dataset": "trec", "shots": 20 if small else 200,
        "epochs": 5, "tune": "head", "precision": "32", "accelerator": "cpu",
    }  # fmt: skip
    if small:
        common |= {"validation_size": 100, "test_size": 100}
    rows = []
    for name, case in list(CASES.items())[: 1 if small else None]:
        if fnmatchcase(name, options.only):
            settings = common | case | {"data_dir": options.data_dir}
            rows += measure(settings, name, options.repetitions or 3)
    harness.report("head", rows, options, common)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
