"""Scores, intervals, order and stability from a number per text and layer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcls.layers.profiles import Tally, after_removals, ascending, by_score, intervals, stability


def tally(texts: int, layers: int, spread: float = 1.0, seed: int = 0) -> Tally:
    chance = np.random.default_rng(seed)
    weights = chance.integers(1, 50, texts).astype(float)
    means = np.arange(layers) + spread * chance.standard_normal((texts, layers))
    return Tally(means * weights[:, None], weights)


def test_a_score_is_the_mean_over_tokens_not_over_texts():
    found = Tally(np.array([[10.0, 1.0], [2.0, 8.0]]), np.array([10.0, 2.0]))
    assert by_score(found).scores == (1.0, 0.75)


def test_intervals_hold_the_mean_as_often_as_they_say():
    held = []
    for seed in range(150):
        chance = np.random.default_rng([seed, 1])
        weights = chance.integers(5, 20, 60).astype(float)
        texts = chance.normal(3.0, 1.0, 60)  # tokens of one text are alike
        low, high = intervals(Tally((texts * weights)[:, None], weights), seed)[0]
        held.append(low <= 3.0 <= high)
    assert 0.88 <= np.mean(held) <= 0.99


def test_intervals_come_again_and_narrow_with_more_texts():
    assert intervals(tally(20, 3)) == intervals(tally(20, 3))
    assert intervals(tally(20, 3)) != intervals(tally(20, 3), seed=1)
    few, many = intervals(tally(20, 1))[0], intervals(tally(500, 1))[0]
    assert few[1] - few[0] > 3 * (many[1] - many[0])


def test_one_text_has_no_interval_and_no_stability():
    found = by_score(tally(1, 4))
    assert found.intervals is None
    assert found.tau is None
    assert len(found.scores) == 4


def test_stability_is_one_for_agreement_and_minus_one_for_the_reverse():
    sums = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]] * 5)
    ones = np.ones(10)
    assert stability(Tally(sums, ones)) == -1
    assert stability(Tally(np.sort(sums), ones)) == 1
    assert stability(Tally(np.ones((10, 3)), ones)) is None


def test_the_least_goes_first_and_of_equals_the_higher():
    assert ascending([0.3, 0.1, 0.2, 0.1]) == (3, 1, 2, 0)
    found = by_score(Tally(np.array([[0.3, 0.1, 0.2, 0.1]]), np.ones(1)))
    assert found.removal_order == (3, 1, 2, 0)
    assert found.kept == {3: (0, 1, 2), 2: (0, 2), 1: (0,)}


@given(st.permutations(range(7)), st.integers(0, 7))
def test_what_stays_is_what_has_not_gone(order: list[int], known: int):
    kept = after_removals(7, order[:known])
    assert set(kept) == {7 - gone for gone in range(1, min(known, 6) + 1)}
    for keep, layers in kept.items():
        assert len(layers) == keep
        assert list(layers) == sorted(set(order) - set(order[: 7 - keep]))


@pytest.mark.parametrize("texts", [2, 3, 101])
def test_halves_share_no_text_and_leave_none_out(texts: int):
    whole = tally(texts, 2)
    halves = [whole.half(0), whole.half(1)]
    assert sum(len(half.weights) for half in halves) == texts
    assert sum(half.weights.sum() for half in halves) == whole.weights.sum()
