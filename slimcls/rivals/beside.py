"""What rivals do on the very items that a run was tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from slimcls.data.splits import Splits
from slimcls.rivals.methods import RIVALS, Rival
from slimcls.statistics import SeedItems, paired_difference


@dataclass(frozen=True)
class Beside:
    """A rival beside a model, on the same test items; shares, 0 to 1."""

    accuracy: float
    """Of the rival."""
    ahead: float
    """The model's accuracy minus the rival's, item by item."""
    low: float
    """Lower end of its 95 % interval over items."""
    high: float
    layers: int | None = None
    """How many layers of the model the rival reads the output of, where it reads any."""


def words_logits(splits: Splits, names: Sequence[str]) -> Tensor:
    """Logits (test items, classes) of TF-IDF with logistic regression, fitted to a run's items.

    Whole texts go in, however long. Raises UserError where no text has a word.
    """
    method = RIVALS["tfidf"]
    rival = Rival(method, method.vectoriser(), splits.train, splits.validation, names)
    return rival.logits([item.text for item in splits.test])


def held_against(theirs: Tensor, splits: Splits, ours: Tensor, layers: int | None = None) -> Beside:
    """A rival's logits (test items, classes) against a model's own.

    Raises ValueError for fewer than two test items.
    """
    truth = np.array([item.label for item in splits.test])
    rival = _right(theirs, truth)
    found = paired_difference([_right(ours, truth)], [rival])
    return Beside(float(rival.correct.mean()), found.mean, *found.interval(), layers)


def _right(logits: Tensor, truth: np.ndarray) -> SeedItems:
    return SeedItems(0, np.arange(len(truth)), logits.argmax(1).cpu().numpy() == truth)
