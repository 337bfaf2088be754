"""The two trainers, each doing one whole training of the same work: slimcls, and the Trainer.

``load`` is a :class:`benchmarks.workload.Workload` or anything with its ``config``, ``model()``,
``work()``, ``whole``, ``labels``, ``prefix``, ``words`` and ``pad_id``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from unittest import mock

from benchmarks import machine, workload
from benchmarks.harness import Different, Took, Turns, agree, alternate

#: Steps whose losses are compared, and how far apart they may be. In bf16 another padding is
#: another rounding.
FIRST = 3
WITHIN = {"32": 1e-4, "bf16": 5e-2}


#: What the matrix rate is called among the sides of a round.
RATE = "best square product"


@dataclass
class Trail:
    """What a training did, step by step."""

    places: list[list[int]] = field(default_factory=list)
    """Items of each batch; slimcls decides, the others follow."""
    losses: list[float] = field(default_factory=list)
    """Of the first steps."""
    starts: list[float] = field(default_factory=list)
    """When each step asked for its loss, in seconds of the clock."""
    peak: int = 0
    """Most bytes allocated on the GPU; 0 without one."""

    def note(self, loss: Any) -> None:
        """Keep the loss of a step if it is one of the first."""
        if len(self.losses) < FIRST:
            self.losses.append(float(loss.detach()))

    def start(self, device: str) -> None:
        """A step begins; what the one before asked of a GPU is done."""
        machine.synchronize(device)
        self.starts.append(time.perf_counter())

    @property
    def step_seconds(self) -> list[float]:
        """From one step to the next, without the first two: they make room and start engines."""
        return [b - a for a, b in zip(self.starts[2:], self.starts[3:], strict=False)]

    @property
    def timed(self) -> Trail:
        """The steps of ``step_seconds``."""
        return Trail(places=self.places[2:-1])


@contextmanager
def watched(trail: Trail) -> Iterator[dict[str, float]]:
    """Note each training batch; what is yielded counts seconds at files of best weights.

    slimcls keeps the best weights on disk and takes them from there when training is over; the
    Trainer is told to save nothing.
    """
    from slimcls.training import checkpoints, loop
    from slimcls.training.learner import Learner

    step, spent = Learner.training_step, {"files": 0.0}

    def noted(self: Any, batch: Any, batch_idx: int) -> Any:
        trail.start(self.device.type)
        loss = step(self, batch, batch_idx)
        trail.places.append(batch.places.tolist())
        trail.note(loss)
        return loss

    def timed(function: Any) -> Any:
        def run(*arguments: Any) -> None:
            started = time.perf_counter()
            function(*arguments)
            spent["files"] += time.perf_counter() - started

        return run

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Learner, "training_step", noted))
        for module, name in ((checkpoints, "save_trained"), (loop, "load_trained")):
            replaced = timed(getattr(module, name))
            stack.enter_context(mock.patch.object(module, name, replaced))
        yield spent


def slimcls_side(load: Any) -> Took:
    """One training by slimcls, its best weights' files left out; the outcome is its trail."""
    from slimcls.training.loop import fit

    model, trail = workload.without_dropout(load.model()), Trail()
    _forget_peak()
    with workload.run_folder() as folder, watched(trail) as spent:
        work = load.work(model, folder, validation=1)
        started = time.perf_counter()
        fit(work)
        seconds = time.perf_counter() - started - spent["files"]
    trail.peak = _peak()
    return Took(seconds, trail)


def median_step(load: Any) -> Took:
    """A short training by slimcls: seconds of its median step; the outcome is its trail."""
    trail = slimcls_side(load).outcome
    return Took(median(trail.step_seconds), trail)


def trainer_side(load: Any, order: Trail, *, example: bool) -> Took:
    """The same training by the library's Trainer, in the order of slimcls' trail; its own trail.

    ``example``: as transformers' text-classification example runs it, every text padded to 128
    tokens and the Trainer's settings as they are. Otherwise at its best.
    """
    from transformers.utils import logging

    from benchmarks.rival import Fed, arguments, rows_of

    logging.set_verbosity_error()
    model, trail = workload.without_dropout(load.model()), Trail(places=order.places)
    rows, collate = rows_of(load.whole, load.labels, load.pad_id, pad_to=128 if example else None)
    _forget_peak()
    with workload.run_folder() as folder:
        started = time.perf_counter()
        settings = arguments(load.config, folder, steps=len(order.places), plain=example)
        Fed(model, settings, rows, collate, load.words, trail).train()
        seconds = time.perf_counter() - started
    trail.peak = _peak()
    return Took(seconds, trail)


def check_same(trails: dict[str, Trail], order: Trail, precision: str) -> None:
    """Raise :class:`Different` where batches or the losses of the first steps are others."""
    for name, trail in trails.items():
        if trail.places != order.places:
            raise Different(f"the batches of {name} are not those of the first training")
    losses = {name: trail.losses for name, trail in trails.items()}
    agree("losses of the first steps", losses, WITHIN[precision])


def real_tokens(load: Any, trail: Trail) -> int:
    """Tokens that slimcls computes in a training: no padding, and a shared prefix once a step."""
    prefix, lengths = len(load.prefix), [len(ids) for ids in load.whole]
    steps = (prefix + sum(lengths[place] - prefix for place in step) for step in trail.places)
    return sum(steps)


def beside_rate(
    sides: Mapping[str, Callable[[], Any]],
    precision: str,
    *,
    repetitions: int,
    check: Callable[[dict[str, Any]], None],
    device: str = "cpu",
) -> tuple[Turns, list[float]]:
    """The sides in turns, and the machine's matrix rate as measured in each round."""
    all_sides = {RATE: lambda: machine.best_gemm(precision, device), **sides}

    def check_sides(outcomes: dict[str, Any]) -> None:
        check({name: outcomes[name] for name in sides})

    turns = alternate(all_sides, repetitions=repetitions, warm_up=0, check=check_sides)
    turns.seconds.pop(RATE)
    return turns, turns.outcomes.pop(RATE)


def step_shares(
    load: Any, order: Trail, seconds: Sequence[float], rates: Sequence[float]
) -> list[float]:
    """Shares of the matrix rate, from seconds a step and the rates measured beside them."""
    tokens = real_tokens(load, order.timed) / len(order.timed.places)
    parameters = machine.matmul_parameters(load.model())
    return [
        machine.share_of_gemm(parameters, tokens, one, rate)
        for one, rate in zip(seconds, rates, strict=True)
    ]


def _forget_peak() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak() -> int:
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
