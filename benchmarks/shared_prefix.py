"""A training step of slimcls with the demonstrations computed once, and with them in every item.

Mode p-cls, 16 queries of 16 tokens behind a prefix of 200 tokens, 2 layers of each family in the
shape of a known small model with random weights, fp32, dropout off, gradients through the prefix.
The other side is slimcls with ``--no-share-prefix``: everything else is the same on both sides, the
saving in the last block included. A step is the whole of it: batch, loss, gradients, clipping,
optimiser. The losses of the first three steps must agree.
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

SHARED, PLAIN = "shared prefix", "--no-share-prefix"
PREFIX, QUERY, BATCH, KEEP, FLOOR = 200, 16, 16, 2, 5
STEPS = {"small": 6, "full": 14}

#: Row -> model type and shape: GPT-2, OPT-125m, OPT-350m, SmolLM2-135M, Pythia-160m.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT-2": ("gpt2", {"n_embd": 768, "n_head": 12}),
    "OPT, norm before": ("opt", {"hidden_size": 768, "ffn_dim": 3072, "num_attention_heads": 12}),
    "OPT, norm after": (
        "opt",
        {
            "hidden_size": 1024,
            "ffn_dim": 4096,
            "num_attention_heads": 16,
            "word_embed_proj_dim": 512,
            "do_layer_norm_before": False,
        },
    ),
    "Llama-like": (
        "llama",
        {
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "vocab_size": 49152,
            "tie_word_embeddings": True,
        },
    ),
    "GPT-NeoX": (
        "gpt_neox",
        {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "vocab_size": 50304,
        },
    ),
}


def measure(name: str, kind: str, shape: dict[str, Any], size: str, repetitions: int) -> Row:
    """Both ways in turns, a repetition being one short training; seconds of its median step."""
    settings = {"batch_size": BATCH, "precision": "32", "accelerator": "cpu"}
    # As many token ids as a few hundred short texts have.
    shared = Made(
        kind,
        shape,
        KEEP,
        "p-cls",
        STEPS[size],
        (QUERY, QUERY),
        PREFIX,
        settings=settings,
        most=3000,
    )
    plain = replace(shared, settings=settings | {"share_prefix": False})
    order = slimcls_side(shared).outcome

    turns, rates = beside_rate(
        {SHARED: lambda: median_step(shared), PLAIN: lambda: median_step(plain)},
        "32",
        repetitions=repetitions,
        check=lambda trails: check_same(trails, order, "32"),
    )
    seconds = turns.seconds
    faster = harness.ratio(seconds[PLAIN], seconds[SHARED], name="times faster", at_least=FLOOR)
    shares = step_shares(shared, order, seconds[SHARED], rates)
    share = harness.figure("share of matrix rate", shares)
    return Row(name, seconds, [faster, share], unit="s a step")


def main(argv: list[str] | None = None) -> int:
    """Measure every family (small: two), or those whose name fits ``--only``."""
    options = harness.parser("shared_prefix", __doc__).parse_args(argv)
    names = list(SHAPES) if options.size == "full" else ["GPT-2", "Llama-like"]
    repetitions = options.repetitions or (5 if options.size == "full" else 2)
    rows = [
        measure(name, *SHAPES[name], options.size, repetitions)
        for name in names
        if fnmatchcase(name, options.only)
    ]
    settings = {"prefix": PREFIX, "query": QUERY, "batch_size": BATCH, "keep": KEEP}
    harness.report("shared_prefix", rows, options, settings | {"steps": STEPS[options.size]})
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
