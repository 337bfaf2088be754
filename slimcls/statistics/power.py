"""What a design can show, before any run: the smallest loss that it tells from none."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi2
from scipy.stats import t as student

from slimcls.statistics.components import LUCK, degrees_of_freedom

#: Seeds from which on the intervals hold the truth as often as they say: docs/statistics.md.
ENOUGH_SEEDS = 3

#: Chance with which a design is asked to find a harmless cut good enough.
POWER = 0.8
#: What a design is planned with where nothing is known yet, as the first study had it (eight of 30
#: layers on TREC): standard deviation between seeds, share of the items on which cut and full depth
#: disagree, and share of that variance that an item has in every seed.
SEED_SD, DISAGREEMENT, SHARED = 0.015, 0.07, 0.3
#: Equally likely places in the distribution of a variance, for means over it.
_PLACES = (np.arange(100) + 0.5) / 100


def smallest_detectable_loss(
    seeds: int,
    items: int,
    *,
    seed_sd: float = SEED_SD,
    disagreement: float = DISAGREEMENT,
    shared: float = SHARED,
    level: float = 0.05,
    power: float = POWER,
) -> float:
    """The least margin, as a share, for which a harmless cut is good enough with this chance.

    Harmless: as accurate as full depth. As the test is symmetric, it is also the least loss that
    would be told from none with this chance. Infinite with fewer than ``ENOUGH_SEEDS``.

    Args:
        seeds: seeds of both sides.
        items: test items of each seed.
        seed_sd: standard deviation of the true difference between seeds, as a share.
        disagreement: share of the items that one side has right and the other wrong.
        shared: share of that variance that an item has in every seed; 0 where each seed has items
            of its own.
        level: one-sided, of the one test: a family's share of it where several are judged.
        power: the chance.
    """
    if seeds < ENOUGH_SEEDS:
        return float("inf")
    own = disagreement / items
    noise = (1 - shared) * own / seeds
    between = seed_sd**2 / seeds + noise
    return detectable(between, shared * own, noise, seeds - 1, items, level, power)


def detectable(
    between: float, common: float, noise: float, seed_df: float, fewest: int, level: float,
    power: float,
) -> float:  # fmt: skip
    """The margin passed with ``power``, given the true variances that an Estimate has."""
    least, luck = (chi2.ppf(places, seed_df) / seed_df for places in (LUCK, _PLACES))
    seen = np.maximum(between * luck, noise * least)
    both = seen + common
    df = degrees_of_freedom(seen / both, seed_df + 1, fewest)
    halves = student.isf(level, df) * np.sqrt(both)
    se = float(np.sqrt(between + common))

    def lack(margin: float) -> float:
        return power - float(ndtr((margin - halves) / se).mean())

    return float(brentq(lack, 0.0, halves.max() + 10 * se))
