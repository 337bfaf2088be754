"""The variance of a mean over seeds and items in its parts, and what those rest on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

#: Least sum of squared deviations that a seed's items are taken to have: runs that never disagreed
#: might have done so once.
PSEUDO = 1.0
#: A variance between seeds lower than item noise alone would show once in twenty is raised to it.
LUCK = 0.05

#: In place of no degrees of freedom, where their share is none either.
_NONE = 1e-12

Floats = NDArray[np.float64]


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
