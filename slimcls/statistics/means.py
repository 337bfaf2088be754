"""From what runs got right, item by item, to means over seeds and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimcls.statistics.components import variances
from slimcls.statistics.estimates import Estimate


@dataclass(frozen=True)
class SeedItems:
    """What one run got right: a flag for each test item."""

    seed: int
    ids: NDArray[np.generic]
    """The items' names: an item that another seed was tested on too has the same one there."""
    correct: NDArray[np.generic]
    """True or 1 where the prediction was right, in the order of ``ids``."""


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
