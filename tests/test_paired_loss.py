"""The exact test of a paired loss: its level holds at any truth; its parts are what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, multinomial

from slimcls.statistics import SeedItems, loss_bound, loss_p, paired_difference
from slimcls.statistics.paired_loss import _score


def chance_of_showing(items: int, risk: float, lost: float, won: float, level: float) -> float:
    """How probable it is, over draws of items, that less than the risk is shown to be lost."""
    total = 0.0
    for losses in range(items + 1):
        for wins in range(items - losses + 1):
            chance = multinomial.pmf(
                [losses, wins, items - losses - wins], items, [lost, won, 1 - lost - won]
            )
            if chance > 1e-9 and loss_p(losses, wins, items, risk) <= level:
                total += chance
    return total


@pytest.mark.parametrize("items", [30, 60])
@pytest.mark.parametrize("risk", [0.05, 0.15])
@pytest.mark.parametrize("won", [0.0, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("over", [0.0, 0.02])
def test_the_level_holds_whatever_the_truth(
    items: int, risk: float, won: float, over: float
) -> None:
    assert chance_of_showing(items, risk, won + risk + over, won, 0.05) <= 0.05


def test_it_shows_what_is_there_to_show() -> None:
    """Not a test that never says yes: two classifiers that differ by luck alone."""
    assert chance_of_showing(60, 0.15, 0.02, 0.02, 0.05) > 0.85


@pytest.mark.parametrize("items", [100, 299, 500, 2000])
@pytest.mark.parametrize("risk", [0.005, 0.01, 0.03])
def test_without_a_disagreement_it_is_close_to_the_binomial_test(items: int, risk: float) -> None:
    exact = (1 - risk) ** items
    assert exact <= loss_p(0, 0, items, risk) <= 2 * exact + 0.002


@settings(max_examples=60)
@given(st.data())
def test_more_lost_is_worse_and_more_won_is_not(data: st.DataObject) -> None:
    items = data.draw(st.integers(20, 400))
    lost = data.draw(st.integers(0, items // 3))
    won = data.draw(st.integers(0, items // 3))
    risk = data.draw(st.floats(0.005, 0.4))
    p = loss_p(lost, won, items, risk)
    assert 0 < p <= 1
    assert loss_p(lost + 1, won, items, risk) >= p - 1e-6
    assert loss_p(lost, won, items, min(0.9, 1.5 * risk)) <= p + 1e-6


@settings(max_examples=40)
@given(st.integers(20, 300), st.integers(0, 10), st.integers(0, 10))
def test_the_bound_is_the_least_risk_that_is_shown(items: int, lost: int, won: int) -> None:
    bound = loss_bound(lost, won, items)
    assert max(0.0, (lost - won) / items) < bound <= 1
    assert loss_p(lost, won, items, min(0.999, bound + 1e-4)) <= 0.05
    if bound > 2e-4:
        assert loss_p(lost, won, items, bound - 1e-4) > 0.05


@pytest.mark.parametrize(
    ("lost", "won", "items", "risk"), [(3, 2, 50, 0.05), (0, 4, 60, 0.03), (5, 9, 80, 0.1)]
)
def test_the_share_won_is_the_likeliest_one_at_that_loss(
    lost: int, won: int, items: int, risk: float
) -> None:
    def unlikely(share: float) -> float:
        both = items - lost - won
        logs = [(lost, share + risk), (won, share), (both, 1 - 2 * share - risk)]
        return -sum(count * math.log(chance) for count, chance in logs if count)

    best = minimize_scalar(
        unlikely, bounds=(1e-9, (1 - risk) / 2 - 1e-9), method="bounded", options={"xatol": 1e-10}
    ).x
    spread = math.sqrt((2 * best + risk * (1 - risk)) / items)
    expected = ((lost - won) / items - risk) / spread
    found = _score(np.array([lost]), np.array([won]), items, risk)[0]
    assert found == pytest.approx(expected, abs=1e-5)


def test_the_score_rises_with_what_is_lost() -> None:
    """By which the halving in a row of outcomes finds its end."""
    for won in (0, 3, 40):
        scores = _score(np.arange(100 - won + 1), np.full(101 - won, won), 100, 0.02)
        assert (np.diff(scores) > 0).all()


def test_a_t_interval_would_show_it_of_twenty_items() -> None:
    """Why the means over seeds are not asked: they see next to no chance where nothing differs."""
    items = np.arange(20)
    same = [SeedItems(0, items, items % 2 == 0)]
    assert loss_p(0, 0, 20, 0.01) > 0.8
    assert binom.pmf(0, 20, 0.01) > 0.8
    assert paired_difference(same, same).p_noninferior(0.1) < 0.05 < loss_p(0, 0, 20, 0.1)


@pytest.mark.parametrize(
    "given", [(-1, 0, 9, 0.1), (0, -1, 9, 0.1), (5, 5, 9, 0.1), (0, 0, 0, 0.1), (0, 0, 9, 0.0)]
)
def test_counts_that_cannot_be(given: tuple[int, int, int, float]) -> None:
    with pytest.raises(ValueError, match="lost and"):
        loss_p(*given)
