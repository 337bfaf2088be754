"""Steps on a GPU, models of the right shape with random weights, beside the Hugging Face Trainer.

GPT-2 XL at keep 1, 2, 12, 24, 48 and OPT-1.3B at 1, 2, 6, 12, 24, in cls (texts of 16 to 64 tokens)
and p-cls (the same behind 200 tokens of demonstrations), bf16: seconds a step, tokens a second,
share of the machine's matrix rate and peak memory. The batch starts at ``--tokens`` and is halved
until both sides have room for it. Both take the same batches in the same order, the losses of their
first steps must agree, and the clock runs from one step's start to the next, with the GPU's work
waited for.

Without a GPU the same code runs on the processor with tiny models, and says that the rows that
count are missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from statistics import fmean
from typing import Any

from benchmarks import harness
from benchmarks.harness import Row
from benchmarks.made import Made
from benchmarks.sides import (
    Trail,
    beside_rate,
    check_same,
    real_tokens,
    slimcls_side,
    step_shares,
    trainer_side,
)
from slimcls import cli

TRAINER = "Trainer at its best"
MISSING = "no GPU here: measured on the processor with a tiny model; the GPU rows are missing"

GPT2_XL = {"n_embd": 1600, "n_head": 25, "n_positions": 1024}
OPT = {
    "hidden_size": 2048,
    "ffn_dim": 8192,
    "num_attention_heads": 32,
    "word_embed_proj_dim": 2048,
}
TINY_GPT2 = {"n_embd": 64, "n_head": 2, "vocab_size": 512}
TINY_OPT = {
    "hidden_size": 64,
    "ffn_dim": 128,
    "num_attention_heads": 2,
    "word_embed_proj_dim": 64,
    "vocab_size": 512,
}
#: Model name -> type, shape, depths. The last depth is the model's own.
Shapes = dict[str, tuple[str, dict[str, int], tuple[int, ...]]]
SHAPES: Shapes = {
    "GPT-2 XL": ("gpt2", GPT2_XL, (1, 2, 12, 24, 48)),
    "OPT-1.3B": ("opt", OPT, (1, 2, 6, 12, 24)),
}
TINY: Shapes = {"tiny GPT-2": ("gpt2", TINY_GPT2, (1, 2)), "tiny OPT": ("opt", TINY_OPT, (1, 2))}

#: Tokens of the demonstrations in p-cls.
PREFIX = 200
#: Texts, shortest and longest, in tokens.
SHORTEST, LONGEST = 16, 64


def load_of(
    kind: str, shape: dict[str, int], keep: int, mode: str, tokens: int, steps: int, where: str
) -> Made:
    """Texts of ``tokens`` a step at most on the accelerator ``where``, in bf16."""
    settings = {
        "precision": "bf16",
        "accelerator": where,
        "batch_size": max(1, tokens // LONGEST),
    }
    before = PREFIX if mode == "p-cls" else 0
    return Made(kind, shape, keep, mode, steps, (SHORTEST, LONGEST), before, settings=settings)


def fitting(load: Made) -> tuple[Made, Trail]:
    """The work with its batch halved until both sides have room for it, and slimcls' order."""
    import torch

    while True:
        try:
            order: Trail = slimcls_side(load).outcome
            trainer_side(load, order, example=False)
            return load, order
        except torch.cuda.OutOfMemoryError:
            if load.config.batch_size == 1:
                raise
        fewer = {"batch_size": load.config.batch_size // 2}
        load = replace(load, settings=load.settings | fewer)


def measure(name: str, load: Made, repetitions: int) -> Row:
    """Both sides in turns, a repetition being a few steps; seconds of the mean step."""
    device = "cuda" if load.config.accelerator == "gpu" else "cpu"
    load, order = fitting(load)
    sides: dict[str, Callable[[], Any]] = {
        "slimcls": lambda: slimcls_side(load),
        TRAINER: lambda: trainer_side(load, order, example=False),
    }

    turns, best = beside_rate(
        sides,
        "bf16",
        repetitions=repetitions,
        check=lambda trails: check_same(trails, order, "bf16"),
        device=device,
    )
    outcomes = turns.outcomes
    steps = {
        side: [fmean(trail.step_seconds) for trail in outcomes[side]]
        for side in ("slimcls", TRAINER)
    }
    faster = harness.ratio(steps[TRAINER], steps["slimcls"], name=f"times faster than {TRAINER}")
    figures = [faster, *rates(load, order, steps["slimcls"], best, device)]
    if device == "cuda":
        for side, whose in (("slimcls", ""), (TRAINER, "Trainer's ")):
            peaks = [trail.peak / 1e9 for trail in outcomes[side]]
            figures.append(harness.figure(f"{whose}peak memory, GB", peaks))
    note = f"{load.config.batch_size} texts a step" if device == "cuda" else MISSING
    return Row(name, steps, figures, unit="s a step", note=note)


def rates(
    load: Made, order: Trail, seconds: list[float], best: list[float], device: str
) -> list[harness.Figure]:
    """Tokens a second and share of the matrix rate: real tokens, as slimcls computes them."""
    tokens = real_tokens(load, order.timed) / len(order.timed.places)
    full = load.keep == max(depths_of(load)) and device == "cuda"
    shares = step_shares(load, order, seconds, best)
    return [
        harness.figure("tokens a second", [tokens / s for s in seconds]),
        harness.figure("share of matrix rate", shares, at_least=0.45 if full else None),
    ]


def depths_of(load: Made) -> Sequence[int]:
    """All depths at which this model is measured."""
    return next(depths for _, shape, depths in (SHAPES | TINY).values() if shape == load.shape)


def main(argv: list[str] | None = None) -> int:
    """Measure on the GPU, or with tiny models on the processor."""
    made = harness.parser("gpu", __doc__)
    made.add_argument("--tokens", type=int, help="most tokens a step, queries only")
    made.add_argument("--steps", type=int, default=12, help="steps of a repetition")
    options = made.parse_args(argv)
    import torch

    gpu = torch.cuda.is_available()
    shapes = SHAPES if gpu else TINY
    tokens = options.tokens or (65536 if gpu else 256)
    repetitions = options.repetitions or (3 if gpu else 1)
    rows = []
    for model, (kind, shape, depths) in shapes.items():
        for keep in depths if options.size == "full" else depths[-1:]:
            for mode in ("cls", "p-cls"):
                name = f"{model}, keep {keep}, {mode}, bf16"
                if not fnmatchcase(name, options.only):
                    continue
                accelerator = "gpu" if gpu else "cpu"
                load = load_of(kind, shape, keep, mode, tokens, options.steps, accelerator)
                rows.append(measure(name, load, repetitions))
    if not gpu:
        print(MISSING)
    harness.report("gpu", rows, options, {"tokens": tokens, "steps": options.steps, "gpu": gpu})
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
