"""What removal does to a language model that is not trained: perplexity and label-word accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from slimcls.backbones.families import blocks_of
from slimcls.classifier.classifier import Classifier
from slimcls.layers import criteria
from slimcls.layers.activations import check_finite, evaluating
from slimcls.layers.losses import text_losses
from slimcls.layers.profiles import Tally, intervals
from slimcls.layers.samples import Sample
from slimcls.pruning.views import Part, only_layers, without_part
from slimcls.session.inputs import Inputs


@dataclass(frozen=True)
class Labelled:
    """Labelled texts that a model classifies by the label word it expects next."""

    inputs: Inputs
    fingerprint: str
    """Of the data they are from."""

    def accuracy(self, model: Any) -> float:
        """Share of the test items whose label word is the likeliest."""
        inputs = self.inputs
        # A new one each time: it keeps the demonstrations' keys and values, which are the model's.
        classifier = Classifier(model, inputs.mode, inputs.encoder, inputs.task.labels)
        right = classifier.logits(inputs.test).argmax(1).tolist()
        pairs = zip(right, inputs.splits.test, strict=True)
        return sum(guess == item.label for guess, item in pairs) / len(right)


@dataclass(frozen=True)
class Figures:
    """Of one model on held-out texts."""

    perplexity: float
    """exp of the mean cross-entropy of a token given those before it in its text."""
    low: float
    """95 % bootstrap interval over texts."""
    high: float
    accuracy: float
    """Share of labelled items whose label word was the likeliest; nan without such items."""


#: Keeps and finds figures by what was measured, so that a stopped comparison goes on.
Known = dict[str, Figures]


@torch.inference_mode()
def measure(model: Any, held_out: Sample, labelled: Labelled | None = None) -> Figures:
    """Perplexity with its interval, and accuracy, of a causal language model as it stands.

    Raises UserError for activations that are NaN or infinite; names the layer and the text.
    """
    losses, counts = np.zeros((len(held_out), 1)), np.zeros(len(held_out))
    with evaluating(model):
        for batch in held_out.batches(next(model.parameters()).device):
            places = batch.places.cpu().numpy()
            sums, tokens = text_losses(model, batch)
            check_finite(model, held_out, batch, sums)
            losses[places, 0], counts[places] = sums.cpu().numpy(), tokens.cpu().numpy()
        accuracy = labelled.accuracy(model) if labelled else float("nan")
    tally = Tally(losses, counts)
    mean = float(tally.means()[0])
    low, high = (intervals(tally) or ((mean, mean),))[0]
    return Figures(_exp(mean), _exp(low), _exp(high), accuracy)


def _exp(value: float) -> float:
    """A ruined model's loss may be too large for its exponential."""
    return math.exp(value) if value < 700 else math.inf


@dataclass(frozen=True)
class Cut:
    """One row of a comparison: which layers, or which part of one, are gone."""

    criterion: str
    removed: int
    kept: tuple[int, ...]
    part: Part | None = None
    layer: int = -1

    @property
    def name(self) -> str:
        """What is left of the model: the same for cuts that come to the same model."""
        left = ",".join(map(str, self.kept))
        return f"{left} without {self.part} {self.layer}" if self.part else left

    def view(self, model: Any) -> AbstractContextManager[None]:
        """The model with this cut, for as long as it is entered."""
        if self.part:
            return without_part(model, self.layer, self.part)
        return only_layers(model, self.kept)


def by_criterion(
    model: Any, sample: Sample, criteria: Sequence[str], removals: Sequence[int], seed: int
) -> Iterator[Cut]:
    """The cuts that each criterion makes for each number of removed layers, 0 first."""
    depth = len(blocks_of(model))
    fewest = depth - max(removals, default=0)
    for name in criteria:
        kept = {depth: tuple(range(depth))} | _kept(model, sample, name, fewest, seed)
        for removed in sorted({0, *removals}):
            yield Cut(name, removed, kept[depth - removed])


def _kept(
    model: Any, sample: Sample, name: str, fewest: int, seed: int
) -> dict[int, tuple[int, ...]]:
    row, depth = criteria.find_criterion(name, "--criteria"), len(blocks_of(model))
    if row.pick is not None:
        return {keep: row.pick(depth, keep, seed) for keep in range(fewest, depth)}
    return row.measure(model, sample, fewest, seed).kept if fewest < depth else {}


def by_part(model: Any) -> Iterator[Cut]:
    """Each block's attention, MLP, or all of it gone; the whole model first."""
    everything = tuple(range(len(blocks_of(model))))
    yield Cut("nothing", 0, everything)
    for layer in everything:
        yield Cut("block", 1, tuple(i for i in everything if i != layer), layer=layer)
        yield Cut("attention", 0, everything, "attention", layer)
        yield Cut("mlp", 0, everything, "mlp", layer)


def compare(
    model: Any,
    cuts: Iterator[Cut],
    held_out: Sample,
    labelled: Labelled | None,
    known: Known,
    found: Callable[[], object],
) -> pd.DataFrame:
    """Measure each cut once; ``found`` is called when ``known`` has got a new figure.

    Columns: criterion, removed, kept (ids with commas), layer (-1 unless one part of one block is
    gone), perplexity, low, high, accuracy.
    """
    rows = []
    for cut in cuts:
        if cut.name not in known:
            with cut.view(model):
                known[cut.name] = measure(model, held_out, labelled)
            found()
        figures = known[cut.name]
        rows.append(
            {
                "criterion": cut.criterion,
                "removed": cut.removed,
                "kept": ",".join(map(str, cut.kept)),
                "layer": cut.layer,
                "perplexity": figures.perplexity,
                "low": figures.low,
                "high": figures.high,
                "accuracy": figures.accuracy,
            }
        )
    return pd.DataFrame(rows)
