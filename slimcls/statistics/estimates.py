"""A mean over seeds with the chance that is in it: intervals, p-values, what limits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t as student

from slimcls.statistics.components import degrees_of_freedom
from slimcls.statistics.power import ENOUGH_SEEDS, POWER, detectable


@dataclass(frozen=True)
class UnequalSeeds:
    """The seeds of two sides of which one has more: slimcls/reporting/unequal_seeds.py."""

    first: tuple[int, ...]
    second: tuple[int, ...]
    df: float
    """Degrees of freedom of the variance between seeds."""

    @property
    def alone(self) -> tuple[int, ...]:
        """Seeds that one side alone has."""
        return tuple(sorted(set(self.first) ^ set(self.second)))


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, as a share (0.02 is two points), with the chance that is in it.

    ``between + common`` is the variance of ``mean``; docs/statistics.md has the method.
    """

    mean: float
    """Mean over seeds of each seed's mean over its items."""
    per_seed: tuple[float, ...]
    """Each seed's mean, in the order of ``seeds``."""
    seeds: tuple[int, ...]
    """Seeds that both sides have."""
    items: int
    """Test items in all, each counted once."""
    fewest: int
    """Test items of the seed that has fewest."""
    between: float
    """Variance of the mean as the differences between seeds show it: seeds and their own items."""
    common: float
    """Variance of the mean from items that seeds share, which no difference between seeds shows."""
    over_items: float
    """Variance of the mean if seeds did not matter: test items alone."""
    lowest: float = -1.0
    """The least value that can be: -1 for a difference, 0 for an accuracy."""
    unequal: UnequalSeeds | None = None
    """Where seeds that one side alone has count too; None: ``seeds`` are all that count."""

    @property
    def fewest_seeds(self) -> int:
        """Seeds of the side that has fewest."""
        if self.unequal is None:
            return len(self.seeds)
        return min(len(self.unequal.first), len(self.unequal.second))

    @property
    def seed_df(self) -> float:
        """Degrees of freedom of ``between``."""
        return len(self.seeds) - 1 if self.unequal is None else self.unequal.df

    @property
    def se(self) -> float:
        """Standard error of the mean, over seeds and items; over items alone with one seed."""
        return float(np.sqrt(self.between + self.common))

    @property
    def df(self) -> float:
        """Degrees of freedom of ``se``."""
        weight = self.between / (self.between + self.common)
        return float(degrees_of_freedom(weight, self.seed_df + 1, self.fewest))

    @property
    def seed_sd(self) -> float:
        """Standard deviation between seeds with item noise taken out; nan with one seed."""
        if self.fewest_seeds == 1:
            return float("nan")
        own, seeds = self.over_items - self.common, float(len(self.seeds))
        if self.unequal is not None:  # as many seeds of both sides would say as much
            seeds = 2 / (1 / len(self.unequal.first) + 1 / len(self.unequal.second))
        return float(np.sqrt(max(self.between - own, 0.0) * seeds))

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.interval()[1]

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The two-sided interval: ends as shares, kept inside what can be."""
        half = self._half((1 - confidence) / 2)
        return max(self.lowest, self.mean - half), min(1.0, self.mean + half)

    @property
    def caveat(self) -> str:
        """What has to be said beside the interval; empty from three seeds on."""
        if self.fewest_seeds >= ENOUGH_SEEDS:
            return ""
        if self.fewest_seeds == 1:
            return "one seed: the interval is over test items and says nothing about other seeds"
        return "two seeds: the interval is too narrow where seeds differ"

    def p_above(self, threshold: float) -> float:
        """One-sided p-value for "the mean is above ``threshold``"; agrees with ``interval``."""
        return float(student.sf((self.mean - threshold) / self.se, self.df))

    def p_below(self, threshold: float) -> float:
        """One-sided p-value for "the mean is below ``threshold``"."""
        return float(student.cdf((self.mean - threshold) / self.se, self.df))

    def p_noninferior(self, margin: float) -> float:
        """One-sided p-value for "less than ``margin`` is lost"."""
        return self.p_above(-margin)

    def smallest_margin(self, level: float = 0.05) -> float:
        """The least margin that these runs show not to be lost, at a one-sided ``level``."""
        return max(0.0, self._half(level) - self.mean)

    def smallest_detectable(self, level: float = 0.05, power: float = POWER) -> float:
        """The least margin that these seeds and items would show with this chance.

        See :func:`smallest_detectable_loss`. The variances are the estimate's own, its mean does
        not count. Infinite with fewer than ``ENOUGH_SEEDS``.
        """
        if self.fewest_seeds < ENOUGH_SEEDS:
            return float("inf")
        noise = self.over_items - self.common
        between = max(self.between, noise)
        return detectable(between, self.common, noise, self.seed_df, self.fewest, level, power)

    def items_share(self, level: float = 0.05) -> float:
        """How much of the squared half-width would stay with any number of seeds, 0 to 1."""
        alone = float(student.isf(level, self.fewest - 1)) ** 2 * self.over_items
        return min(1.0, alone / self._half(level) ** 2)

    def limit(self, level: float = 0.05) -> Literal["seeds", "items"]:
        """What to have more of first: the larger part of the squared half-width."""
        if self.fewest_seeds == 1:
            return "seeds"
        return "items" if self.items_share(level) >= 0.5 else "seeds"

    def _half(self, level: float) -> float:
        return float(student.isf(level, self.df)) * self.se
