"""Which threshold lets texts leave early without losing more than may be lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from slimcls.classifier.confidence import (
    THRESHOLDS,
    Confidence,
    Numbers,
    fit_temperature,
    probabilities,
)
from slimcls.classifier.early import leaving
from slimcls.statistics import loss_bound, loss_p

#: Chance that validation texts mislead to a threshold that loses more than promised.
LEVEL = 0.05
#: Steps in which a risk is looked for that could be shown, a share: a tenth of a point.
STEP = 0.001


@dataclass(frozen=True)
class Scores:
    """What each end of a model says of the same texts."""

    depths: tuple[int, ...]
    """Layers in front of each end, ascending."""
    logits: Numbers
    """(ends, texts, classes)."""
    labels: NDArray[np.int64]
    """True classes (texts,), by number."""

    @cached_property
    def temperatures(self) -> tuple[float, ...]:
        """Of each end, fitted to these texts."""
        return tuple(fit_temperature(one, self.labels) for one in self.logits)

    def at(self, temperatures: Sequence[float]) -> Numbers:
        """Probabilities (ends, texts, classes)."""
        pairs = zip(self.logits, temperatures, strict=True)
        return np.stack([probabilities(one, heat) for one, heat in pairs])

    def part(self, places: NDArray[np.int64]) -> Scores:
        """Some of the texts."""
        return Scores(self.depths, self.logits[:, places], self.labels[places])


@dataclass(frozen=True)
class Outcome:
    """What a threshold does to some texts."""

    ends: NDArray[np.int64]
    """The number of the end (texts,) at which each leaves."""
    lost: int
    """How many the deepest end has right, and the end at which they leave has not."""
    won: int
    """How many are the other way round."""
    confidence: Confidence
    """How sure the end was at which each left."""

    @property
    def items(self) -> int:
        """How many texts there are."""
        return len(self.ends)

    @property
    def loss(self) -> float:
        """Accuracy of the deepest end, less that of leaving early; a share."""
        return (self.lost - self.won) / self.items

    @property
    def accuracy(self) -> float:
        """Share of the texts that get the right class."""
        return float(np.mean(self.confidence.right))

    def bound(self) -> float:
        """The loss that is not exceeded, a share: one-sided, at LEVEL."""
        return loss_bound(self.lost, self.won, self.items, LEVEL)


@dataclass(frozen=True)
class Chosen:
    """A threshold that was shown to keep a promise, and what it does to what showed it."""

    temperatures: tuple[float, ...]
    threshold: float
    outcome: Outcome

    def on(self, scores: Scores) -> Outcome:
        """What it does to other texts."""
        return outcome(scores, self.temperatures, self.threshold)


def choose(scores: Scores, risk: float) -> Chosen | None:
    """The least threshold at which no more than ``risk``, a share, was shown to be lost.

    None where nothing could be shown of any at which a text leaves early.

    Learn-then-test: thresholds stand in an order that was fixed before, the strictest first, and
    are tested one by one at LEVEL; the first that fails ends it, so that no correction for many is
    needed. The loss is paired, each text's own at the end it leaves at against the deepest: it is
    how often the two disagree that decides how well it is known, and exits hardly do. The test is
    exact (:func:`slimcls.statistics.loss_p`), as there are few texts on which they do.

    Sources: Angelopoulos et al., "Learn then test", Annals of Applied Statistics 2025 (arXiv
    2110.01052); for the loss against the deepest exit Jazbec et al., "Fast yet safe: early-exiting
    with risk control", NeurIPS 2024 (arXiv 2405.20915).
    """
    shares, best = scores.at(scores.temperatures), None
    for threshold in THRESHOLDS:
        found = _outcome(shares, scores.labels, float(threshold))
        if loss_p(found.lost, found.won, found.items, risk) > LEVEL:
            break
        if (found.ends < len(scores.depths) - 1).any():
            best = Chosen(scores.temperatures, float(threshold), found)
    return best


def least_risk(scores: Scores) -> float | None:
    """The least share, in tenths of a point, for which :func:`choose` finds a threshold."""
    low, high = 0, round(1 / STEP) - 1
    if choose(scores, high * STEP) is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if choose(scores, middle * STEP) else (middle, high)
    return high * STEP


def outcome(scores: Scores, temperatures: Sequence[float], threshold: float) -> Outcome:
    """What a threshold does to texts."""
    return _outcome(scores.at(temperatures), scores.labels, threshold)


def _outcome(shares: Numbers, labels: NDArray[np.int64], threshold: float) -> Outcome:
    texts = np.arange(len(labels))
    ends = leaving(shares.max(2), threshold)
    left = shares[ends, texts]
    named = left.argmax(1)
    right, deepest = named == labels, shares[-1].argmax(1) == labels
    confidence = Confidence(
        1.0,
        tuple(left[texts, named].tolist()),
        tuple(left[texts, labels].tolist()),
        tuple(right.tolist()),
    )
    return Outcome(ends, int((deepest & ~right).sum()), int((right & ~deepest).sum()), confidence)
