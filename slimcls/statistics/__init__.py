"""Means over seeds and test items, with intervals that hold the chance in both.

``mean_accuracy(RUNS)`` and ``paired_difference(CUT, FULL)`` give an :class:`Estimate`;
``smallest_detectable_loss(SEEDS, ITEMS)`` says what a design could show; ``loss_p`` and
``loss_bound`` are of two classifiers on the same items, without seeds. docs/statistics.md has the
method.
"""

from __future__ import annotations

from slimcls.statistics.components import degrees_of_freedom, variances
from slimcls.statistics.estimates import Estimate, UnequalSeeds
from slimcls.statistics.means import SeedItems, by_seed, mean_accuracy, paired_difference
from slimcls.statistics.paired_loss import loss_bound, loss_p
from slimcls.statistics.power import (
    DISAGREEMENT,
    ENOUGH_SEEDS,
    POWER,
    SEED_SD,
    SHARED,
    smallest_detectable_loss,
)
from slimcls.statistics.shares import wilson

__all__ = [
    "DISAGREEMENT", "ENOUGH_SEEDS", "POWER", "SEED_SD", "SHARED", "Estimate", "SeedItems",
    "UnequalSeeds", "by_seed", "degrees_of_freedom", "loss_bound", "loss_p", "mean_accuracy",
    "paired_difference", "smallest_detectable_loss", "variances", "wilson",
]  # fmt: skip
