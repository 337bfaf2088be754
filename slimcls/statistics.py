"""Means over seeds and test items, with intervals that hold the chance in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import binomtest, chi2
from scipy.stats import t as student

#: Least sum of squared deviations that a seed's items are taken to have: runs that never disagreed
#: might have done so once.
PSEUDO = 1.0
#: A variance between seeds lower than item noise alone would show once in twenty is raised to it.
LUCK = 0.05

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

#: In place of no degrees of freedom, where their share is none either.
_NONE = 1e-12

Floats = NDArray[np.float64]


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927), from 0 to 1.

    It treats the test items as a sample and the trained model as given: it says nothing about
    another seed. Raises ValueError without trials.
    """
    if trials < 1:
        raise ValueError("an interval needs at least one trial")
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class SeedItems:
    """What one run got right: a flag for each test item."""

    seed: int
    ids: NDArray[np.generic]
    """The items' names: an item that another seed was tested on too has the same one there."""
    correct: NDArray[np.generic]
    """True or 1 where the prediction was right, in the order of ``ids``."""


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
        return _detectable(between, self.common, noise, self.seed_df, self.fewest, level, power)

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
    return _detectable(between, shared * own, noise, seeds - 1, items, level, power)


def _detectable(
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


def mean_accuracy(runs: Sequence[SeedItems]) -> Estimate:
    """The mean accuracy of runs that differ in their seed alone.

    Raises:
        ValueError: for no run, a seed twice, an item twice in a seed, or fewer than two items.
    """
    return _estimate(sorted(runs, key=lambda run: run.seed), lowest=0.0)


def paired_difference(cut: Sequence[SeedItems], full: Sequence[SeedItems]) -> Estimate:
    """The mean accuracy of ``cut`` minus that of ``full``, item by item, over the seeds of both.

    Seeds that only one side has are left out: ``seeds`` of the answer says which were used.

    Raises:
        ValueError: for no common seed, a seed twice, an item twice in a seed, fewer than two
            items, or runs of one seed that were tested on different items.
    """
    left, right = by_seed(cut), by_seed(full)
    seeds = sorted(left.keys() & right.keys())
    if not seeds:
        raise ValueError("a paired difference needs a seed that both sides have")
    return _estimate([_minus(left[seed], right[seed]) for seed in seeds], lowest=-1.0)


def by_seed(runs: Sequence[SeedItems]) -> dict[int, SeedItems]:
    """Runs by their seed. Raises ValueError for a seed that occurs twice."""
    seeds = [run.seed for run in runs]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"a seed occurs twice among {sorted(seeds)}")
    return dict(zip(seeds, runs, strict=True))


def _minus(cut: SeedItems, full: SeedItems) -> SeedItems:
    ids, mine, theirs = np.intersect1d(cut.ids, full.ids, return_indices=True)
    if not len(ids) == len(cut.ids) == len(full.ids):
        raise ValueError(f"the two runs of seed {cut.seed} were not tested on the same items")
    values = np.asarray(cut.correct, float)[mine] - np.asarray(full.correct, float)[theirs]
    return SeedItems(cut.seed, ids, values)


def _estimate(runs: Sequence[SeedItems], lowest: float) -> Estimate:
    by_seed(runs)
    if not runs or any(len(run.ids) < 2 for run in runs):
        raise ValueError("an estimate needs a seed, and two test items in each")
    values = [np.asarray(run.correct, float) for run in runs]
    means = np.array([value.mean() for value in values])
    items = np.unique(np.concatenate([run.ids for run in runs]))
    off, tested = np.zeros((2, len(runs), len(items)))
    for row, run in enumerate(runs):
        places = np.searchsorted(items, run.ids)
        tested[row, places] = 1
        off[row, places] = values[row] - means[row]
    counts = tested @ tested.T
    if any(counts[row, row] < len(run.ids) for row, run in enumerate(runs)):
        raise ValueError("a test item occurs twice in a seed")
    between, common, over_items = variances(means, off @ off.T, counts)
    return Estimate(
        mean=float(means.mean()),
        per_seed=tuple(means.tolist()),
        seeds=tuple(run.seed for run in runs),
        items=len(items),
        fewest=int(counts.diagonal().min()),
        between=float(between),
        common=float(common),
        over_items=float(over_items),
        lowest=lowest,
    )


def variances(means: Floats, products: Floats, counts: Floats) -> tuple[Floats, Floats, Floats]:
    """``between``, ``common`` and ``over_items`` of an Estimate; leading axes are data sets.

    Args:
        means: each seed's mean; shape (..., S).
        products: sums, over the items two seeds share, of the products of the deviations from
            each seed's mean; shape (..., S, S).
        counts: items two seeds share, a seed's own number in the diagonal; shape (S, S).
    """
    sizes = counts.diagonal()
    lack = np.maximum(PSEUDO - products.diagonal(axis1=-2, axis2=-1), 0)
    together = np.minimum(lack[..., None, :], lack[..., :, None])
    products = products + together * counts / np.sqrt(np.outer(sizes, sizes))
    own = products.diagonal(axis1=-2, axis2=-1) / (sizes - 1) / sizes
    seeds = len(sizes)
    if seeds == 1:
        return np.zeros_like(own[..., 0]), own[..., 0], own[..., 0]
    pairs = np.triu_indices(seeds, 1)
    first, second, both = sizes[pairs[0]], sizes[pairs[1]], counts[pairs]
    # The mean of a product is the items' variance times this: each seed was centred on its mean.
    freedom = (both * (1 - 1 / first - 1 / second + both / (first * second))).sum()
    item = np.maximum(products[..., pairs[0], pairs[1]].sum(axis=-1), 0) / max(freedom, 1)
    common = item * (both / (first * second)).mean()
    noise = np.maximum(own.mean(axis=-1) - common, 0) / seeds
    seen = means.var(axis=-1, ddof=1) / seeds
    between = np.maximum(seen, noise * chi2.ppf(LUCK, seeds - 1) / (seeds - 1))
    return between, common, noise + common


def degrees_of_freedom(weight: ArrayLike, seeds: ArrayLike, fewest: int) -> Floats:
    """The harmonic mean of the degrees of freedom of ``between`` and ``common``.

    ``weight`` is the share of ``between`` in the variance, a number or an array. Satterthwaite's
    formula has the squares of the shares here, which is too bold with few seeds.
    """
    share = np.asarray(weight, float)
    # One seed has no degrees, and no share either.
    over_seeds = share / np.maximum(np.asarray(seeds, float) - 1, _NONE)
    return np.asarray(1 / (over_seeds + (1 - share) / (fewest - 1)))
