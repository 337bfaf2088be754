"""An epoch of training: slimcls against the Hugging Face Trainer.

Both sides fine-tune the same cut model on the same rows in the same order, with AdamW, a linear
schedule, clipping and the same peak learning rate, in one process. slimcls is its whole training
path (slimcls.training.loop.fit) but for the files of its best weights; the Trainer writes and logs
nothing either. The Trainer runs in two ways: as the text-classification example of transformers
runs it (every text padded to 128 tokens, the Trainer's own settings), and at its best (each batch
padded to its longest text, texts grouped by length, fused AdamW). In p-cls and lm it gets the whole
prompts, and in lm a loss over the label words' rows of the head alone, like slimcls.

The losses of the first steps must agree. The share of the matrix rate is 6 x matmul parameters x
real tokens / seconds over the best square product of the same precision, measured in the same
process before each repetition; a shared prefix counts once a step, as it is computed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from benchmarks import harness, machine, workload
from benchmarks.harness import Row
from benchmarks.sides import Trail, beside_rate, check_same, real_tokens, slimcls_side, trainer_side
from slimcls import cli

#: Real tokens a step from which on a floor holds for the share of the matrix rate.
ENOUGH = 1024
EXAMPLE, BEST = "Trainer as in its example", "Trainer at its best"


@dataclass(frozen=True)
class Case:
    """One mode and precision, with what each rival is measured at."""

    name: str
    settings: dict[str, Any]
    rivals: dict[str, float | None]
    """How many times faster slimcls has to be, by rival."""
    share: float | None = None
    """Least share of the matrix rate, where steps have tokens enough."""


def _full_steps(keep: int, epochs: int) -> Case:
    """Steps of tokens enough, at full size."""
    settings: dict[str, Any] = {"mode": "cls", "precision": "32", "batch_tokens": 2048}
    settings |= {"keep": keep, "epochs": epochs}
    name = f"cls, fp32, 2,048 tokens, keep {keep}"
    return Case(name, settings, {BEST: None}, share=0.5)


#: What is measured at the small size: the first claim and that of the shared prompt.
SMALL = ("cls, fp32, batch 16", "p-cls, fp32, batch 16")
CASES = (
    Case("cls, fp32, batch 16", {"mode": "cls", "precision": "32"}, {EXAMPLE: 8, BEST: 1.5}),
    Case("cls, bf16, batch 16", {"mode": "cls", "precision": "bf16"}, {BEST: 1.5}),
    Case("p-cls, fp32, batch 16", {"mode": "p-cls", "precision": "32"}, {BEST: 4}),
    Case("lm, fp32, batch 16", {"mode": "lm", "precision": "32"}, {BEST: 4}),
    _full_steps(2, epochs=2),
    _full_steps(8, epochs=1),
)


def measure(case: Case, load: workload.Workload, repetitions: int) -> Row:
    """All sides of a case in turns."""
    order: Trail = slimcls_side(load).outcome
    precision = load.config.precision
    sides: dict[str, Callable[[], Any]] = {"slimcls": lambda: slimcls_side(load)}
    for rival in case.rivals:
        sides[rival] = lambda example=rival == EXAMPLE: trainer_side(load, order, example=example)

    turns, rates = beside_rate(
        sides,
        precision,
        repetitions=repetitions,
        check=lambda trails: check_same(trails, order, precision),
    )
    parameters, tokens = machine.matmul_parameters(load.model()), real_tokens(load, order)
    shares = [
        machine.share_of_gemm(parameters, tokens, seconds, rate)
        for seconds, rate in zip(turns.seconds["slimcls"], rates, strict=True)
    ]
    ours = turns.seconds["slimcls"]
    figures = [
        harness.ratio(turns.seconds[rival], ours, name=f"times faster than {rival}", at_least=floor)
        for rival, floor in case.rivals.items()
    ]
    a_step = tokens / len(order.places)
    floor = case.share if a_step >= ENOUGH else None
    figures.append(harness.figure("share of matrix rate", shares, at_least=floor))
    note = f"{len(order.places)} steps of {a_step:,.0f} real tokens"
    return Row(case.name, turns.seconds, figures, note=note)


def main(argv: list[str] | None = None) -> int:
    """Measure every case (small: two), or those whose name fits ``--only``."""
    options = harness.parser("training", __doc__).parse_args(argv)
    small = options.size == "small"
    common = {"epochs": 1, "shots": 20 if small else 200, "checkpoint_seconds": 1e9}
    rows = []
    for case in CASES:
        if fnmatchcase(case.name, options.only) and (case.name in SMALL or not small):
            load = workload.prepare(options.data_dir, **(common | case.settings))
            rows.append(measure(case, load, options.repetitions or (2 if small else 3)))
    settings = {"model": "smollm2-135m", "dataset": "trec", "keep": 2, "batch_size": 16} | common
    harness.report("training", rows, options, settings)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
