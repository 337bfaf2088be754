"""From a number per text and layer to scores, their intervals, their order and how stable it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Bootstrap replicates, and how many are held at once.
REPLICATES, AT_ONCE = 1000, 50


@dataclass(frozen=True)
class Findings:
    """What a criterion found out about the layers of one model."""

    kept: dict[int, tuple[int, ...]]
    """What stays, by how many layers stay: ids ascending, for each depth that was asked about."""
    scores: tuple[float, ...] | None = None
    """A score a layer, where the criterion has them; the least is removed first, or measured so
    with all other layers in place."""
    intervals: tuple[tuple[float, float], ...] | None = None
    """95 % interval of each score over texts; None for a single text."""
    removal_order: tuple[int, ...] | None = None
    """Layers, the first to go first; None where what goes at one depth may stay at the next."""
    tau: float | None = None
    """Kendall's rank correlation between the scores of two halves of the texts."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tally:
    """What is left of each text once its activations are gone: one number a layer, and a weight."""

    sums: Array
    """(texts, layers): a layer's values summed over the tokens of a text."""
    weights: Array
    """(texts,): how many tokens that were."""

    def means(self) -> Array:
        """Mean over all tokens of all texts, (layers,)."""
        return self.sums.sum(0) / self.weights.sum()

    def half(self, which: int) -> Tally:
        """Every second text, from text 0 or 1 on. Texts stand in an order that means nothing."""
        return Tally(self.sums[which::2], self.weights[which::2])


def intervals(
    tally: Tally, seed: int = 0, confidence: float = 0.95
) -> tuple[tuple[float, float], ...] | None:
    """Percentile bootstrap of each layer's mean over tokens, whole texts drawn with replacement.

    Tokens of one text are alike, so texts are what is drawn (Efron and Tibshirani 1993, the
    cluster bootstrap). All layers share the draws. None for fewer than two texts.
    """
    count = len(tally.weights)
    if count < 2:
        return None
    chance = np.random.default_rng(seed)
    means = []
    for _ in range(REPLICATES // AT_ONCE):
        times = chance.multinomial(count, np.full(count, 1 / count), size=AT_ONCE)
        means.append((times @ tally.sums) / (times @ tally.weights)[:, None])
    ends = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return tuple((float(low), float(high)) for low, high in ends.T)


def stability(tally: Tally) -> float | None:
    """Kendall's tau between the scores of two halves of the texts, from -1 to 1.

    None where there is no rank to compare: fewer than two texts, one layer, all scores equal.
    """
    from scipy.stats import kendalltau

    if len(tally.weights) < 2 or tally.sums.shape[1] < 2:
        return None
    tau = float(kendalltau(tally.half(0).means(), tally.half(1).means()).statistic)
    return None if np.isnan(tau) else round(tau, 12)


def by_score(tally: Tally, seed: int = 0) -> Findings:
    """Findings of a criterion that removes the layers of least score in one go."""
    scores = tally.means()
    order = ascending(scores)
    return Findings(
        kept=after_removals(len(order), order),
        scores=tuple(map(float, scores)),
        intervals=intervals(tally, seed),
        removal_order=order,
        tau=stability(tally),
    )


def ascending(scores: Sequence[float] | Array) -> tuple[int, ...]:
    """Layers by score, least first; of equal ones the higher layer first."""
    return tuple(sorted(range(len(scores)), key=lambda layer: (scores[layer], -layer)))


def after_removals(depth: int, order: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """What stays at each depth below ``depth`` when layers go in this order; one layer stays."""
    kept = {}
    for gone in range(1, min(len(order), depth - 1) + 1):
        kept[depth - gone] = tuple(sorted(set(range(depth)) - set(order[:gone])))
    return kept
