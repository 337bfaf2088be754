"""What scoring layers costs: above a plain forward pass, and below a search with the whole model.

First claim: Block Influence, Block Influence of the last token and relative magnitude of all
layers together, intervals included, take at most 1.15 times a plain forward pass of the same
decoder (without its head) over the same batches of BBC News. Before anything is timed, the scores
are compared with what transformers' own hidden states give in float64.

Second, for greedy-loss: the first rounds of removal with what lies below a candidate run once,
against running the whole model for each candidate. Both must remove the same layers and find the
same losses.
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks import harness
from benchmarks.harness import Row
from slimcls import cli

NAMES = ["bi", "bi-last", "relative-magnitude"]
MODEL, TEXT = "smollm2-135m", "bbcnews"
#: Texts, tokens a text and repetitions of the first claim; the same of the second, and rounds.
SIZES = {
    "small": {"plain": (16, 64, 3), "greedy": (4, 16, 1, 1)},
    "full": {"plain": (12, 256, 7), "greedy": (4, 32, 2, 1)},
}


def main(argv: list[str] | None = None) -> int:
    """Run both comparisons."""
    arguments = harness.parser("scores", __doc__).parse_args(argv)
    size = SIZES[arguments.size]
    model, samples = _open(arguments.data_dir, {n: s[:2] for n, s in size.items()})
    count = arguments.repetitions
    rows = [
        profiles_row(model, samples["plain"], count or size["plain"][2]),
        greedy_row(model, samples["greedy"], count or size["greedy"][2], size["greedy"][3]),
    ]
    settings = {
        "model": MODEL,
        "text": TEXT,
        **{name: f"{len(s)} texts, {s.tokens} tokens" for name, s in samples.items()},
        "batch_size": samples["plain"].batch_size,
    }
    harness.report("scores", rows, arguments, settings)
    return 0


def _open(data_dir: str | None, wanted: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The whole model and a sample for each claim."""
    from pathlib import Path

    from slimcls.backbones import sources
    from slimcls.backbones.tokenizers import open_tokenizer
    from slimcls.backbones.truncate import depth_of, open_cut, read_config
    from slimcls.layers import samples

    source = sources.find(MODEL)
    tokenizer = open_tokenizer(source)
    texts = samples.read_texts(TEXT, data_dir=Path(data_dir) if data_dir else None)
    found = {
        name: samples.encode_sample(texts.drawn(count), tokenizer, max_text_tokens=tokens)
        for name, (count, tokens) in wanted.items()
    }
    return open_cut(source, range(depth_of(read_config(source))), head="lm"), found


def profiles_row(model: Any, sample: Any, repetitions: int) -> Row:
    """Three profiles in one pass, against the pass alone."""
    import torch

    from slimcls.layers.activations import run_blocks
    from slimcls.layers.criteria import measure_together

    batches = list(sample.batches())

    @torch.inference_mode()
    def plain() -> None:
        for batch in batches:
            run_blocks(model, batch)

    harness.agree(
        "Block Influence of all layers but the last",
        {"transformers": _reference(model, sample), "slimcls": _scores(model, sample)[:-1]},
        within=1e-5,
    )
    sides = {"slimcls": lambda: measure_together(model, sample, NAMES), "plain forward pass": plain}
    turns = harness.alternate(sides, repetitions=repetitions)
    times = turns.seconds
    over = harness.ratio(
        times["slimcls"], times["plain forward pass"], name="scoring / plain", at_most=1.15
    )
    return Row(f"{', '.join(NAMES)} of all layers", times, [over])


def _scores(model: Any, sample: Any) -> tuple[float, ...]:
    from slimcls.layers.criteria import measure_together

    scores = measure_together(model, sample, ["bi"])["bi"].scores
    assert scores is not None
    return scores


def _reference(model: Any, sample: Any) -> list[float]:
    """Block Influence from transformers' hidden states, which end in the final norm."""
    import torch
    from torch.nn import functional

    cosines = []
    with torch.inference_mode():
        for ids in sample.ids:
            out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
            states = torch.cat(out.hidden_states[:-1]).double()
            cosines.append(functional.cosine_similarity(states[:-1], states[1:], dim=-1))
    found: list[float] = (1 - torch.cat(cosines, 1).mean(1)).tolist()
    return found


def greedy_row(model: Any, sample: Any, repetitions: int, rounds: int) -> Row:
    """The first removals, with and without running again what did not change."""
    from slimcls.backbones.families import blocks_of
    from slimcls.layers.greedy import Greedy

    depth = len(blocks_of(model))
    saved = []

    def reusing() -> tuple[tuple[int, ...], tuple[float, ...]]:
        search = Greedy(model, sample)
        found = search.search(depth - rounds)
        saved.append(1 - search.runs / search.whole_runs)
        return found.removal_order or (), found.scores or ()

    def same(outcomes: dict[str, Any]) -> None:
        for place, what in enumerate(("layers removed", "rises of the loss")):
            found = {name: outcome[place] for name, outcome in outcomes.items()}
            harness.agree(what, found, within=1e-4)

    sides = {"slimcls": reusing, "whole model": lambda: _whole(model, sample, rounds)}
    times = harness.alternate(sides, repetitions=repetitions, warm_up=0, check=same).seconds
    figures = [
        harness.ratio(times["whole model"], times["slimcls"], name="times faster"),
        harness.figure("share of block runs saved", saved),
    ]
    return Row(f"greedy-loss, the first {rounds} of {depth} layers removed", times, figures)


def _whole(model: Any, sample: Any, rounds: int) -> tuple[list[int], list[float]]:
    """Greedy removal as anyone would write it: each candidate is a model of its own."""
    import torch

    from slimcls.backbones.families import blocks_of
    from slimcls.layers.losses import passes_through, standing_in, text_losses

    removed: list[int] = []
    first: list[float] = []

    @torch.inference_mode()
    def loss(gone: list[int]) -> float:
        with standing_in(model, dict.fromkeys(gone, passes_through)):
            found = [text_losses(model, batch) for batch in sample.batches()]
        return float(sum(s.sum() for s, _ in found) / sum(n.sum() for _, n in found))

    for _ in range(rounds):
        left = [i for i in range(len(blocks_of(model))) if i not in removed]
        before = loss(removed)
        rises = [loss([*removed, i]) - before for i in left]
        first = first or rises
        removed.append(left[rises.index(min(rises))])
    return removed, first


if __name__ == "__main__":
    sys.exit(cli.run(main))
