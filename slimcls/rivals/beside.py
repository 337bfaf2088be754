"""What the cheap rival does on the very items that a run was tested on."""

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
    """TF-IDF with logistic regression beside a model, on the same test items; shares, 0 to 1."""

    accuracy: float
    """Of the rival."""
    ahead: float
    """The model's accuracy minus the rival's, item by item."""
    low: float
    """Lower end of its 95 % interval over items."""
    high: float


def beside(splits: Splits, names: Sequence[str], logits: Tensor) -> Beside:
    """Fit TF-IDF with logistic regression to a run's items, and hold it against its test logits.

    ``logits`` is (test items, classes). Whole texts go in, however long. Raises UserError where no
    text has a word, and ValueError for fewer than two test items.
    """
    method = RIVALS["tfidf"]
    rival = Rival(method, method.vectoriser(), splits.train, splits.validation, names)
    truth = np.array([item.label for item in splits.test])
    theirs = _right(rival.logits([item.text for item in splits.test]), truth)
    ours = _right(logits, truth)
    found = paired_difference([ours], [theirs])
    return Beside(float(theirs.correct.mean()), found.mean, *found.interval())


def _right(logits: Tensor, truth: np.ndarray) -> SeedItems:
    return SeedItems(0, np.arange(len(truth)), logits.argmax(1).cpu().numpy() == truth)
