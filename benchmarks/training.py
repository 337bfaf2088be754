"""An epoch of training: slimcls against the Hugging Face Trainer.

Both sides fine-tune the same cut model on the same rows in the same order, with AdamW, a linear
schedule, clipping and the same peak learning rate, in one process. slimcls is its whole training
path (slimcls.fitting.fit) but for writing the best weights; the Trainer writes and logs nothing
either. The Trainer runs in two ways: as the text-classification example of transformers runs it
(every text padded to 128 tokens, the Trainer's own settings), and at its best (each batch padded to
its longest text, texts grouped by length, fused AdamW). In p-cls and lm it gets the whole prompts,
and in lm a loss over the label words' rows of the head alone, like slimcls.

The losses of the first steps must agree. The share of the matrix rate is 6 x matmul parameters x
real tokens / seconds over the best square product of the same precision in the same process; a
shared prefix counts once a step, as it is computed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from benchmarks import harness, machine, workload
from benchmarks.harness import Row, Took

#: Steps whose losses are compared, and how far apart they may be. In bf16 another padding is
#: another rounding.
FIRST = 3
WITHIN = {"32": 1e-4, "bf16": 5e-2}

EXAMPLE = "Trainer, its example"
BEST = "Trainer, at its best"

Side = Callable[[], Took]


@dataclass(frozen=True)
class Case:
    """One mode and precision, with what each rival is measured at."""

    name: str
    settings: dict[str, Any]
    rivals: dict[str, float | None]
    """How many times faster slimcls has to be, by rival."""
    share: float | None = None
    """Least share of the matrix rate."""


CASES = (
    Case("cls, fp32", {"mode": "cls", "precision": "32"}, {EXAMPLE: 8, BEST: 1.5}),
    Case("cls, bf16", {"mode": "cls", "precision": "bf16"}, {BEST: 1.5}),
    Case("p-cls, fp32", {"mode": "p-cls", "precision": "32"}, {BEST: 4}),
    Case("lm, fp32", {"mode": "lm", "precision": "32"}, {BEST: 4}),
    *(
        Case(
            f"cls, fp32, batch 128, keep {keep}",
            {"mode": "cls", "precision": "32", "batch_size": 128, "keep": keep, "epochs": 2},
            {BEST: None},
            share=0.5,
        )
        for keep in (2, 8)
    ),
)


@dataclass
class Trail:
    """What slimcls did step by step: the order for the others, and losses to compare."""

    places: list[list[int]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


@contextmanager
def watched(trail: Trail) -> Iterator[Callable[[], float]]:
    """Note each training batch; gives a function for the seconds spent writing best weights."""
    from slimcls import checkpoints
    from slimcls.learner import Learner

    step, save, writing = Learner.training_step, checkpoints.save_trained, [0.0]

    def noted(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = step(self, batch, batch_idx)
        trail.places.append(batch.places.tolist())
        if len(trail.losses) < FIRST:
            trail.losses.append(float(loss.detach()))
        return loss

    def timed(*arguments: Any) -> None:
        started = time.perf_counter()
        save(*arguments)
        writing[0] += time.perf_counter() - started

    with (
        mock.patch.object(Learner, "training_step", noted),
        mock.patch.object(checkpoints, "save_trained", timed),
    ):
        yield lambda: writing[0]


def slimcls_side(load: workload.Workload) -> Took:
    """One training by slimcls; the outcome is its :class:`Trail`."""
    from slimcls.fitting import fit

    model, trail = workload.without_dropout(load.model()), Trail()
    with workload.run_folder() as folder, watched(trail) as writing:
        work = load.work(model, folder, validation=1)
        started = time.perf_counter()
        fit(work)
        seconds = time.perf_counter() - started - writing()
    return Took(seconds, trail)


def trainer_side(load: workload.Workload, trail: Trail, *, example: bool) -> Took:
    """The same training by the library's Trainer; the outcome is the losses of its first steps."""
    from transformers.utils import logging

    from benchmarks.rival import Fed, arguments, rows_of

    logging.set_verbosity_error()
    model = workload.without_dropout(load.model())
    rows, collate = rows_of(load, pad_to=128 if example else None)
    with workload.run_folder() as folder:
        started = time.perf_counter()
        settings = arguments(load, folder, steps=len(trail.places), plain=example)
        trainer = Fed(load, model, settings, rows, collate, trail.places, keep=FIRST)
        trainer.train()
        seconds = time.perf_counter() - started
    return Took(seconds, trainer.losses)


def measure(case: Case, load: workload.Workload, repetitions: int) -> list[Row]:
    """Both sides of a case in turns; a row for each rival, and slimcls' share of the rate."""
    first: Trail = slimcls_side(load).outcome
    sides: dict[str, Side] = {"slimcls": lambda: slimcls_side(load)}
    for rival in case.rivals:
        sides[rival] = lambda example=rival == EXAMPLE: trainer_side(load, first, example=example)

    def check(outcomes: dict[str, Any]) -> None:
        trail = outcomes.pop("slimcls")
        if trail.places != first.places:
            raise harness.Different("slimcls' batches are others than before")
        within = WITHIN[load.config.precision]
        harness.agree("losses of the first steps", {"slimcls": trail.losses} | outcomes, within)

    turns = harness.alternate(sides, repetitions=repetitions, check=check)
    rate = machine.best_gemm(load.config.precision)
    work = machine.matmul_parameters(load.model()), real_tokens(load, first)
    shares = [machine.share_of_gemm(*work, s, rate) for s in turns.seconds["slimcls"]]
    rows = []
    for rival, floor in case.rivals.items():
        pair = {name: turns.seconds[name] for name in ("slimcls", rival)}
        faster = harness.ratio(pair[rival], pair["slimcls"], name="times faster", at_least=floor)
        share = harness.figure("share of matrix rate", shares, at_least=case.share)
        note = f"{len(first.places)} steps of {work[1] / len(first.places):,.0f} real tokens"
        rows.append(Row(f"{case.name}, against: {rival}", pair, [faster, share], note=note))
    return rows


def real_tokens(load: workload.Workload, trail: Trail) -> int:
    """Tokens that slimcls computes in a training: no padding, and a shared prefix once a step."""
    mode, prefix = load.inputs.mode, len(load.prefix)
    items = zip(load.inputs.train, load.labels, strict=True)
    lengths = [len(mode.training_ids(ids, label)) - prefix for ids, label in items]
    return sum(prefix + sum(lengths[place] for place in places) for places in trail.places)


def main(argv: list[str] | None = None) -> int:
    """Measure every case, or those whose name has ``--only`` in it."""
    options = harness.parser("training", __doc__).parse_args(argv)
    small = options.size == "small"
    common = {"epochs": 1, "shots": 40 if small else 200, "checkpoint_seconds": 1e9}
    rows = []
    for case in CASES:
        if options.only not in case.name:
            continue
        load = workload.prepare(options.data_dir, **(common | case.settings))
        rows += measure(case, load, options.repetitions or (3 if small else 5))
    settings = {"model": "smollm2-135m", "dataset": "trec", "keep": 2, "batch_size": 16} | common
    harness.report("training", rows, options, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
