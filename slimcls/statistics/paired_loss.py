"""What one classifier loses to another on the same items, with one set of items and no seeds.

The paired differences of a report (:mod:`slimcls.statistics.means`) are means over seeds with a t
quantile, which says next to nothing where two classifiers hardly ever disagree: with no item on
which they do, its interval has no width, however few items there are. Two exits of one trunk hardly
ever disagree. What is here is exact at any number of items.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import beta, binom

Numbers = NDArray[np.float64]

#: Chance that the interval of the nuisance leaves out its true value; it is a part of each p-value.
_OUTSIDE = 1e-3
#: How many values of the nuisance are tried within its interval.
_TRIED = 65


@lru_cache(maxsize=4096)
def loss_p(lost: int, won: int, items: int, risk: float) -> float:
    """One-sided p-value for "less than ``risk`` is lost".

    ``lost`` items only the second classifier has right, ``won`` only the first; the loss is the
    expected share of the one less that of the other, and ``risk`` a share above 0 and below 1.
    Small where a loss of ``risk`` or more is improbable.

    An exact unconditional test of two paired shares. Outcomes are ordered by the score statistic
    with the restricted maximum likelihood estimate of the nuisance, the share won (Tango,
    Statistics in Medicine 1998); the p-value is the greatest, over that share's values, of the
    chance of an outcome as good, at a loss of exactly ``risk`` (where it is greatest: Sidik,
    Statistics in Medicine 2003). Values outside a 99.9 % interval of the share are left out, and
    0.001 is added for it (Berger & Boos, JASA 1994), without which the test would be that of
    classifiers which disagree everywhere. Where nothing was won it is close to the exact binomial
    test of the share lost, which could make no use of items won.

    Raises ValueError for counts that cannot be.
    """
    if min(lost, won) < 0 or items < max(1, lost + won) or not 0 < risk < 1:
        raise ValueError(f"{lost} lost and {won} won of {items} items, risk {risk}")
    wins = np.arange(_most(won, items, risk) + 1)
    losses = np.arange(items + 1)
    bar = _score(np.array([lost]), np.array([won]), items, risk)[0]
    # In each row the score rises with the losses, so that as good are those up to some number.
    worst = _as_good(wins, losses, items, risk, bar)
    shares = np.linspace(*_interval(won, items, risk), _TRIED)[:, None]
    chances = binom.pmf(wins, items, shares)
    lost_of_rest = np.minimum(1.0, (shares + risk) / np.maximum(1 - shares, 1e-300))
    both = np.asarray(chances * binom.cdf(worst, items - wins, lost_of_rest))
    return float(min(1.0, both.sum(1).max() + _OUTSIDE))


def loss_bound(lost: int, won: int, items: int, level: float = 0.05) -> float:
    """The loss that is not exceeded with a confidence of 1 - ``level``, a share up to 1.

    The least risk that :func:`loss_p` shows at the level.
    """
    if loss_p(lost, won, items, 1 - 1e-9) > level:
        return 1.0
    low = max(1e-9, (lost - won) / items)
    if loss_p(lost, won, items, low) <= level:
        return low
    return float(
        brentq(lambda risk: loss_p(lost, won, items, risk) - level, low, 1 - 1e-9, xtol=1e-7)
    )


def _interval(won: int, items: int, risk: float) -> tuple[float, float]:
    """Of the share won, Clopper and Pearson's; both shares together are not above 1."""
    most = (1 - risk) / 2
    low = beta.ppf(_OUTSIDE / 2, won, items - won + 1) if won else 0.0
    high = beta.isf(_OUTSIDE / 2, won + 1, items - won) if won < items else 1.0
    return min(float(low), most), min(float(high), most)


def _most(won: int, items: int, risk: float) -> int:
    """How many wins need be looked at: more have no chance at any share that is tried."""
    return int(min(items, binom.isf(1e-12, items, _interval(won, items, risk)[1]) + 1))


def _as_good(
    wins: NDArray[np.int64], losses: NDArray[np.int64], items: int, risk: float, bar: float
) -> NDArray[np.int64]:
    """For each number of wins the most losses whose score is no higher than the bar; -1: none."""
    low, high = np.full(len(wins), -1), items - wins
    # Halving: a table of both would have as many entries as items squared.
    while (open_ := low < high).any():
        middle = np.where(open_, (low + high + 1) // 2, high)
        good = _score(middle, wins, items, risk) <= bar + 1e-9
        low = np.where(open_ & good, middle, low)
        high = np.where(open_ & ~good, middle - 1, high)
    return low


def _score(lost: NDArray[np.int64], won: NDArray[np.int64], items: int, risk: float) -> Numbers:
    """Tango's statistic: below 0 where less than the risk was lost."""
    net = (lost - won) / items
    # The restricted estimate of the share won is the greater root of 2 x^2 + b x + c.
    b = 2 * risk - (lost + won) / items - net * risk
    c = -won / items * risk * (1 - risk)
    share = (np.sqrt(np.maximum(b * b - 8 * c, 0.0)) - b) / 4
    spread = np.sqrt(np.maximum(2 * share + risk * (1 - risk), 1e-300) / items)
    return np.asarray((net - risk) / spread)
