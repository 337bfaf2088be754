"""Classifying with a finished run: slimcls against the pipeline of transformers.

Both open the same artefact: the packaged model cut to 2 layers, trained in passing on trec. Both
get the bare texts; in p-cls the tokenizer puts the prompt around them in the time that is measured.
The pipeline runs at its best batch size, which is looked for beforehand, and gets its texts sorted
by length, which slimcls does by itself. Every probability must be the same within 1e-5. Latency
is the median over texts that go in one by one.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks import harness, workload
from benchmarks.harness import Row, Took
from slimcls import cli

SLIMCLS, PIPELINE = "slimcls", "pipeline"
#: How many texts, how many of them one by one, and the batch sizes the pipeline is tried at.
SIZES: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "small": (200, 40, (8, 32)),
    "full": (500, 100, (1, 4, 8, 16, 32, 64, 128)),
}
REPETITIONS = {"small": 3, "full": 5}
#: By mode: how many times as many texts a second slimcls has to classify.
FLOORS = {"cls": 1.3, "p-cls": 3.0}
WITHIN = 1e-5


@dataclass(frozen=True)
class Opened:
    """A finished run, opened by both sides."""

    classifier: Any
    pipeline: Any

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of a row of probabilities."""
        names: list[str] = self.classifier.labels
        return names

    def by_slimcls(self, texts: Sequence[str]) -> list[list[float]]:
        """Probabilities (texts, classes)."""
        found = self.classifier.predict(texts)
        return [list(prediction.probabilities.values()) for prediction in found]

    def by_pipeline(self, texts: Sequence[str], batch_size: int) -> list[list[float]]:
        """Probabilities (texts, classes)."""
        found = self.pipeline(list(texts), batch_size=batch_size, top_k=None, truncation=True)
        named = [{entry["label"]: entry["score"] for entry in row} for row in found]
        return [[row[label] for label in self.labels] for row in named]


def finished_run(
    mode: str, data_dir: str | None, folder: Path, **settings: Any
) -> tuple[Path, list[str]]:
    """Train in passing, or as ``settings`` say; its ``model/`` and the texts of the test part."""
    from slimcls.config import RunConfig
    from slimcls.train import train

    few = {"shots": 20, "epochs": 1, "validation_size": 20, "test_size": 20}
    common: dict[str, Any] = {"dataset": "trec", "model": "smollm2-135m", "keep": 2, "mode": mode}
    where = {"data_dir": data_dir, "out": str(folder), "accelerator": "cpu", "precision": "32"}
    result = train(RunConfig(**common, **few | settings, **where))
    load = workload.prepare(data_dir, mode=mode)
    return result.folder / "model", [example.text for example in load.inputs.splits.test]


def open_both(folder: Path) -> Opened:
    """The artefact as slimcls and as transformers open it."""
    from transformers import pipeline
    from transformers.utils import logging

    import slimcls

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return Opened(slimcls.load(folder), pipeline("text-classification", str(folder), device="cpu"))


def many_texts(mode: str, opened: Opened, texts: list[str], options: Any) -> Row:
    """All texts in one call."""
    count, _, tried = SIZES[options.size]
    texts = sorted(texts[:count], key=len)
    best, note = best_size(opened, texts, tried)
    sides = {
        SLIMCLS: lambda: opened.by_slimcls(texts),
        PIPELINE: lambda: opened.by_pipeline(texts, best),
    }
    turns = harness.alternate(
        sides, repetitions=options.repetitions or REPETITIONS[options.size], check=agree
    )
    return row(mode, turns, FLOORS[mode], f"{len(texts)} texts; {note}")


def one_text(mode: str, opened: Opened, texts: list[str], options: Any) -> Row:
    """Texts that come one by one."""
    texts = texts[: SIZES[options.size][1]]
    sides = {
        SLIMCLS: lambda: each(texts, opened.by_slimcls),
        PIPELINE: lambda: each(texts, lambda text: opened.by_pipeline(text, 1)),
    }
    turns = harness.alternate(
        sides, repetitions=options.repetitions or REPETITIONS[options.size], check=agree
    )
    return row(mode, turns, 1.0, f"median of {len(texts)} texts")


#: What is measured in each mode.
KINDS = {"many texts": many_texts, "one text": one_text}


def best_size(opened: Opened, texts: list[str], tried: Sequence[int]) -> tuple[int, str]:
    """The pipeline's best batch size, the better of two runs each, and all of them in words."""
    seconds = {}
    for size in tried:
        turns = harness.alternate(
            {PIPELINE: lambda size=size: opened.by_pipeline(texts, size)}, repetitions=2
        )
        seconds[size] = min(turns.seconds[PIPELINE])
    words = ", ".join(f"{harness.number(seconds[size])} s at {size}" for size in tried)
    best = min(seconds, key=lambda size: seconds[size])
    return best, f"the pipeline at batch size {best}; before, it took {words}"


def each(texts: Sequence[str], classify: Callable[[list[str]], list[list[float]]]) -> Took:
    """Every text alone; the median of their times."""
    times, found = [], []
    for text in texts:
        started = time.perf_counter()
        found += classify([text])
        times.append(time.perf_counter() - started)
    return Took(statistics.median(times), found)


def agree(outcomes: dict[str, Any]) -> None:
    """Raise where a probability differs."""
    harness.agree("probabilities", outcomes, WITHIN)


def row(mode: str, turns: harness.Turns, floor: float, note: str) -> Row:
    """A comparison as a row; ``main`` adds its kind to the name."""
    ours, theirs = turns.seconds[SLIMCLS], turns.seconds[PIPELINE]
    faster = harness.ratio(theirs, ours, name="times faster", at_least=floor)
    return Row(mode, turns.seconds, [faster], note=note)


def main(argv: list[str] | None = None) -> int:
    """Train, measure, report."""
    options = harness.parser("predict", __doc__).parse_args(argv)
    rows: list[Row] = []
    for mode in FLOORS:
        kinds = [kind for kind in KINDS if fnmatchcase(f"{mode}, {kind}", options.only)]
        if not kinds:
            continue
        with workload.run_folder() as folder:
            run, texts = finished_run(mode, options.data_dir, folder)
            opened = open_both(run)
            for kind in kinds:
                found = KINDS[kind](mode, opened, texts, options)
                rows.append(replace(found, name=f"{mode}, {kind}"))
    settings = {"model": "smollm2-135m", "dataset": "trec", "keep": 2, "precision": "32"}
    harness.report("predict", rows, options, settings)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
