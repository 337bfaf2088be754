"""Training on the embedding rows that occur, against training on all rows.

The made work has GPT-2 XL's shape cut to 2 layers (small: GPT-2's), random weights and texts over
3,000 token ids; the real one is the packaged model cut to 2 layers on trec. Both sides are slimcls,
the other one with ``--no-compact-vocabulary``; fp32, dropout off. Memory is counted after every
step of the optimiser: all gradients and all that it keeps. Every weight must be the same to the
last bit when training is over, writing the rows back included, which the clock of a step leaves out
and that of the whole training does not.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from statistics import median
from typing import Any

from benchmarks import harness, workload
from benchmarks.harness import Different, Row, Took
from benchmarks.made import Made
from benchmarks.sides import Trail, beside_rate, check_same, step_shares, watched
from slimcls import cli

COMPACT, ALL = "rows in use", "--no-compact-vocabulary"
SHAPES = {
    "small": ("GPT-2's shape", {"n_embd": 768, "n_head": 12}),
    "full": ("GPT-2 XL's shape", {"n_embd": 1600, "n_head": 25}),
}
STEPS = 8
MOST = 0.6


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    trail: Trail
    memory: int
    """Most bytes of gradients and optimiser."""
    whole: float
    """Seconds of the whole training, the files of best weights left out."""
    weights: str
    """Hash of all weights."""


@contextmanager
def counted() -> Iterator[list[int]]:
    """Bytes of gradients and optimiser behind each step under it, the most of them."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    most = [0]

    def count(optimizer: Any, *_: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        held = [p.grad for p in parameters if p.grad is not None]
        held += [t for kept in optimizer.state.values() for t in kept.values()]
        most[0] = max(most[0], sum(t.nbytes for t in held))

    hook = register_optimizer_step_post_hook(count)
    try:
        yield most
    finally:
        hook.remove()


def train(load: Any) -> Trained:
    """One training by slimcls."""
    import time

    from slimcls.training.loop import fit

    model, trail = workload.without_dropout(load.model()), Trail()
    with workload.run_folder() as folder, watched(trail) as spent, counted() as memory:
        work = load.work(model, folder, validation=1)
        started = time.perf_counter()
        fit(work)
        seconds = time.perf_counter() - started - spent["files"]
    return Trained(trail, memory[0], seconds, fingerprint(model))


def fingerprint(model: Any) -> str:
    """A hash of every weight by name."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(memoryview(tensor.detach().contiguous().numpy()).cast("B"))
    return found.hexdigest()


def measure(name: str, compact: Any, everything: Any, most: float | None, repetitions: int) -> Row:
    """Both ways in turns; seconds of the median step."""
    order = train(compact).trail

    def side(load: Any) -> Took:
        found = train(load)
        return Took(median(found.trail.step_seconds), found)

    def check(found: dict[str, Trained]) -> None:
        check_same({way: one.trail for way, one in found.items()}, order, "32")
        if len({one.weights for one in found.values()}) > 1:
            raise Different("weights differ after training")

    turns, rates = beside_rate(
        {COMPACT: lambda: side(compact), ALL: lambda: side(everything)},
        "32",
        repetitions=repetitions,
        check=check,
    )
    shares = step_shares(compact, order, turns.seconds[COMPACT], rates)
    ours, theirs = turns.outcomes[COMPACT], turns.outcomes[ALL]
    memory = [a.memory / b.memory for a, b in zip(ours, theirs, strict=True)]
    figures = [
        harness.figure("memory of gradients and optimiser", memory, at_most=most),
        harness.ratio(turns.seconds[ALL], turns.seconds[COMPACT], name="times faster a step"),
        harness.ratio(
            [one.whole for one in theirs], [one.whole for one in ours], name="times faster in all"
        ),
        harness.figure("share of matrix rate", shares),
    ]
    sizes = f"{ours[0].memory / 1e6:,.0f} MB and {theirs[0].memory / 1e6:,.0f} MB"
    return Row(name, turns.seconds, figures, unit="s a step", note=sizes)


def cases(size: str, data_dir: str | None) -> Iterator[tuple[str, Any, Any, float | None]]:
    """Name, work with the rows in use, the same with all rows, most memory."""
    called, shape = SHAPES[size]
    plain = {"precision": "32", "accelerator": "cpu", "batch_size": 16}
    made = Made("gpt2", shape, 2, "cls", STEPS, (16, 64), settings=plain, most=3000)
    other = replace(made, settings=plain | {"compact_vocabulary": False})
    yield f"{called}, keep 2", made, other, MOST
    more: dict[str, Any] = {"shots": 10 if size == "small" else 50, "epochs": 1}
    more |= {"precision": "32", "checkpoint_seconds": 1e9}
    real = [
        workload.prepare(data_dir, compact_vocabulary=compact, **more) for compact in (True, False)
    ]
    yield "packaged model, trec, keep 2", *real, None


def main(argv: list[str] | None = None) -> int:
    """Measure both, or what fits ``--only``."""
    options = harness.parser("vocabulary", __doc__).parse_args(argv)
    repetitions = options.repetitions or (2 if options.size == "small" else 3)
    rows = [
        measure(name, compact, everything, most, repetitions)
        for name, compact, everything, most in cases(options.size, options.data_dir)
        if fnmatchcase(name, options.only)
    ]
    harness.report("vocabulary", rows, options, {"batch_size": 16, "keep": 2, "steps": STEPS})
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
