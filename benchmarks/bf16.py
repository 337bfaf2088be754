"""A training step of slimcls in bf16, and the same step in 32 bits: when --precision auto takes it.

Mode cls, the packaged model's shape with 8 layers, 16 texts of one length a step, so that nothing
is padding, dropout off, weights in 32 bits on both sides. A step is the whole of it: batch, loss,
gradients, clipping, optimiser. The share is that of the best square product in bf16, measured in
the same process before each repetition. From 512 tokens on a step has to be 1.4 times faster, and
from 1,024 on to reach 60 % of the matrix rate; --precision auto takes bf16 from 256 on. The losses
of the first steps must agree within 0.05.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from benchmarks import harness
from benchmarks.harness import Row
from benchmarks.made import Made
from benchmarks.sides import beside_rate, check_same, median_step, slimcls_side, step_shares
from slimcls import cli

BF16, FLOAT = "bf16", "32 bits"
KEEP, ITEMS = 8, 16
#: Floors, and the real tokens a step from which on they hold.
FASTER, MANY = 1.4, 512
SHARE, ENOUGH = 0.6, 1024
#: Tokens of a text.
LENGTHS = {"small": (16, 48), "full": (4, 8, 16, 32, 64, 128)}
STEPS = {"small": 6, "full": 14}
#: SmolLM2-135M.
SHAPE: dict[str, Any] = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}


def measure(length: int, size: str, repetitions: int) -> Row:
    """Both ways in turns, a repetition being one short training; seconds of its median step."""
    settings = {"batch_size": ITEMS, "precision": "bf16", "accelerator": "cpu"}
    reduced = Made(
        "llama", SHAPE, KEEP, "cls", STEPS[size], (length, length), settings=settings, most=3000
    )
    whole = replace(reduced, settings=settings | {"precision": "32"})
    order = slimcls_side(reduced).outcome

    turns, rates = beside_rate(
        {BF16: lambda: median_step(reduced), FLOAT: lambda: median_step(whole)},
        "bf16",
        repetitions=repetitions,
        check=lambda trails: check_same(trails, order, "bf16"),
    )
    seconds, tokens = turns.seconds, length * ITEMS
    at_least = FASTER if tokens >= MANY else None
    faster = harness.ratio(seconds[FLOAT], seconds[BF16], name="times faster", at_least=at_least)
    shares = step_shares(reduced, order, seconds[BF16], rates)
    floor = SHARE if tokens >= ENOUGH else None
    share = harness.figure("share of bf16 matrix rate", shares, at_least=floor)
    return Row(f"{tokens:,} tokens a step", seconds, [faster, share], unit="s a step")


def main(argv: list[str] | None = None) -> int:
    """Measure every length (small: two), or those whose name fits ``--only``."""
    options = harness.parser("bf16", __doc__).parse_args(argv)
    repetitions = options.repetitions or (5 if options.size == "full" else 2)
    rows = [
        measure(length, options.size, repetitions)
        for length in LENGTHS[options.size]
        if fnmatchcase(f"{length * ITEMS:,} tokens a step", options.only)
    ]
    settings = {"batch_size": ITEMS, "keep": KEEP, "steps": STEPS[options.size]}
    harness.report("bf16", rows, options, settings)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
