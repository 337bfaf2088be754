"""A difference of two sides of which one has more seeds: ten of a cheap cut, three of full depth.

Every seed counts: the mean over one side's seeds minus the mean over the other's. What seeds of
both sides have in common is still paired, seed by seed and item by item. Formulas and how often
the intervals hold: docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import chi2

from slimcls.statistics import Estimate, SeedItems, UnequalSeeds, by_seed, paired_difference
from slimcls.statistics.components import LUCK, PSEUDO, Floats


def difference(first: Sequence[SeedItems], second: Sequence[SeedItems]) -> Estimate:
    """The mean accuracy of ``first`` minus that of ``second``, over all seeds that can be used.

    Seeds that one side alone has are used where all runs were tested on the same items and each
    side has two seeds or more; else it is :func:`slimcls.statistics.paired_difference`, which
    leaves them out, and raises ValueError as that does.
    """
    sides = by_seed(first), by_seed(second)
    alike = sides[0].keys() == sides[1].keys()
    if alike or min(map(len, sides)) < 2 or not _same_items([*first, *second]):
        return paired_difference(first, second)
    both = sorted(sides[0].keys() & sides[1].keys())
    orders = [[*both, *sorted(side.keys() - set(both))] for side in sides]
    values = [
        np.array([_sorted(side[seed]) for seed in order])
        for side, order in zip(sides, orders, strict=True)
    ]
    between, common, over_items, df = variance_parts(values[0], values[1], len(both))
    means = [side.mean(axis=-1) for side in values]
    return Estimate(
        mean=float(means[0].mean() - means[1].mean()),
        per_seed=tuple((means[0][: len(both)] - means[1][: len(both)]).tolist()),
        seeds=tuple(both),
        items=values[0].shape[-1],
        fewest=values[0].shape[-1],
        between=float(between),
        common=float(common),
        over_items=float(over_items),
        unequal=UnequalSeeds(tuple(sorted(sides[0])), tuple(sorted(sides[1])), float(df)),
    )


def seeds_of(one: Estimate) -> str:
    """The seeds that count, for people: those of both sides, then those that one alone has."""
    both = ", ".join(map(str, one.seeds))
    if one.unequal is None:
        return both
    alone = f"one side alone: {', '.join(map(str, one.unequal.alone))}"
    return f"{both}; {alone}" if both else alone


def unused(one: Estimate, first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """In a sentence the seeds that one side has and the difference does without; none if none."""
    left = (set(first.seed) ^ set(second.seed)) if one.unequal is None else set()
    seeds = ", ".join(map(str, sorted(left)))
    return [f"seeds left out, one side alone has them: {seeds}"] if left else []


def _same_items(runs: Sequence[SeedItems]) -> bool:
    """Whether all were tested on the same items, two or more, each once."""
    known = np.unique(runs[0].ids)
    return len(known) > 1 and all(np.array_equal(np.sort(run.ids), known) for run in runs)


def _sorted(run: SeedItems) -> Floats:
    """What was right, in the order of the items' names."""
    return np.asarray(run.correct, float)[np.argsort(run.ids)]


def variance_parts(
    first: Floats, second: Floats, both: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """``between``, ``common`` and ``over_items`` of an Estimate, and the first one's degrees.

    Args:
        first: what each run of a side got right; shape (..., seeds, items), leading axes are data
            sets.
        second: the same of the other side.
        both: how many seeds both sides have, the first ones of either.
    """
    items = first.shape[-1]
    sizes = first.shape[-2], second.shape[-2]
    means = first.mean(axis=-1, dtype=float), second.mean(axis=-1, dtype=float)
    off = [side - mean[..., None] for side, mean in zip((first, second), means, strict=True)]
    seen, df = _between_seeds(*means, both)
    one, other, together = _of_items(off[0], off[1], both)
    common = np.maximum(one + other - 2 * together, PSEUDO / (items - 1)) / items
    weights = 1 / sizes[0], 1 / sizes[1]
    # What all runs' items bring, less what they bring in every seed.
    own = _squares(off[0]) * weights[0] ** 2 + _squares(off[1]) * weights[1] ** 2
    own = own - 2 * _products(off[0][..., :both, :], off[1][..., :both, :]) * np.prod(weights)
    lasting = one * weights[0] + other * weights[1] - 2 * both * together * np.prod(weights)
    noise = np.maximum(own / (items - 1) - lasting, 0) / items
    between = np.maximum(seen, noise * chi2.ppf(LUCK, df) / df)
    return between, common, noise + common, df


def _between_seeds(first: Floats, second: Floats, both: int) -> tuple[Floats, Floats]:
    """Variance of the difference as the seeds' means show it, and its degrees of freedom.

    Seeds of both sides by what each brings to the difference; seeds of one side by all of it.
    """
    one, other = first.shape[-1], second.shape[-1]
    paired = both if both > 1 else 0  # the two sides' covariance shows in two seeds or more
    alone = [
        (one - paired) / one**2 * first.var(axis=-1, ddof=1),
        (other - paired) / other**2 * second.var(axis=-1, ddof=1),
    ]
    parts, degrees = alone, [one - 1, other - 1]
    if paired:
        brought = first[..., :both] / one - second[..., :both] / other
        parts, degrees = [*alone, both * brought.var(axis=-1, ddof=1)], [*degrees, both - 1]
    seen = np.sum(parts, axis=0)
    spread = np.sum([part / df for part, df in zip(parts, degrees, strict=True)], axis=0)
    fewest = np.full_like(seen, min(one, other) - 1)
    return seen, np.divide(seen, spread, out=fewest, where=spread > 0)


def _of_items(first: Floats, second: Floats, both: int) -> tuple[Floats, Floats, Floats]:
    """What an item brings in every seed: its variance in either side, and the covariance.

    From products of two different seeds' deviations, so that nothing of one seed alone is in it.
    """
    degrees = first.shape[-1] - 1
    inside = []
    for side in (first, second):
        total = (side.sum(axis=-2) ** 2).sum(axis=-1) - _squares(side)
        seeds = side.shape[-2]
        inside.append(total / (seeds * (seeds - 1)) / degrees)
    total = (first.sum(axis=-2) * second.sum(axis=-2)).sum(axis=-1)
    total = total - _products(first[..., :both, :], second[..., :both, :])
    pairs = first.shape[-2] * second.shape[-2] - both
    return inside[0], inside[1], total / pairs / degrees


def _squares(off: Floats) -> Floats:
    return _products(off, off)


def _products(one: Floats, other: Floats) -> Floats:
    """The sum over seeds and items of the products."""
    found: Floats = np.einsum("...si,...si->...", one, other)
    return found
