"""The threshold: where a text leaves, and that no more is lost than was promised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcls.cascading.choosing import Scores, choose, least_risk, outcome
from slimcls.classifier.confidence import THRESHOLDS
from slimcls.classifier.early import leaving
from slimcls.statistics import loss_p

CLASSES = 6
#: Of made-up ends: how much they have in common, and how far the true class stands out at each.
ALIKE = {
    "one weak exit": (0.9, (1.5, 3.5, 4.0)),
    "exits with mistakes of their own": (0.0, (1.0, 2.0, 4.0)),
    "exits nearly as good": (0.95, (3.4, 3.5, 3.6)),
}


def drawn(
    count: int, chance: np.random.Generator, alike: float, margins: Sequence[float]
) -> Scores:
    """Texts of a population whose ends are right and sure as often as in any draw of it."""
    labels = chance.integers(0, CLASSES, count)
    shared, easy = chance.normal(size=(count, CLASSES)), chance.normal(size=count)
    ends = []
    for margin in margins:
        own = chance.normal(size=(count, CLASSES))
        scores = alike * shared + np.sqrt(1 - alike**2) * own
        scores[np.arange(count), labels] += margin + easy
        ends.append(2.5 * scores)
    depths = tuple(2**place for place in range(len(margins)))
    return Scores(depths, np.stack(ends), labels)


@pytest.mark.parametrize("kind", ALIKE)
def test_what_is_promised_holds_in_all_but_one_draw_of_twenty(kind: str) -> None:
    """The loss is that of 20,000 other texts: the truth, but for a tenth of a point."""
    chance, risk, draws = np.random.default_rng(3), 0.03, 120
    truth = drawn(20_000, chance, *ALIKE[kind])
    losses, ends = [], []
    for _ in range(draws):
        chosen = choose(drawn(400, chance, *ALIKE[kind]), risk)
        assert chosen is not None
        found = chosen.on(truth)
        losses.append(found.loss)
        ends.append(float(found.ends.mean()))
    broken = int(np.sum(np.array(losses) > risk))
    # Twelve of 120 are three standard deviations above six.
    assert broken <= 12
    assert np.mean(ends) < 1.8, "texts do leave early"


def test_the_promise_is_made_use_of() -> None:
    """With one weak exit, a threshold that lost nothing would not be the least."""
    chance = np.random.default_rng(5)
    truth = drawn(20_000, chance, *ALIKE["one weak exit"])
    chosen = [choose(drawn(400, chance, *ALIKE["one weak exit"]), 0.03) for _ in range(20)]
    losses = [one.on(truth).loss for one in chosen if one]
    assert 0.01 < np.mean(losses) < 0.03


def test_the_least_threshold_before_the_first_that_fails() -> None:
    scores = drawn(400, np.random.default_rng(1), *ALIKE["one weak exit"])
    chosen = choose(scores, 0.02)
    assert chosen is not None
    last = THRESHOLDS.tolist().index(chosen.threshold)
    tested = [outcome(scores, scores.temperatures, float(one)) for one in THRESHOLDS[: last + 2]]
    shown = [loss_p(one.lost, one.won, one.items, 0.02) <= 0.05 for one in tested]
    assert shown == [True] * (last + 1) + [False]
    assert chosen.outcome.bound() <= 0.02


def test_the_least_risk_is_the_least_that_is_shown() -> None:
    scores = drawn(300, np.random.default_rng(2), *ALIKE["exits with mistakes of their own"])
    least = least_risk(scores)
    assert least is not None
    assert 0 < least < 0.5
    assert choose(scores, least) is not None
    assert choose(scores, least - 0.001) is None


def test_few_texts_show_nothing() -> None:
    scores = drawn(40, np.random.default_rng(0), *ALIKE["exits nearly as good"])
    assert choose(scores, 0.01) is None
    assert (least_risk(scores) or 1) > 0.05
    alone = scores.part(np.array([0]))
    assert choose(alone, 0.5) is None


def test_where_no_text_leaves_nothing_is_chosen() -> None:
    """Exits that are never sure: 500 texts would show any risk, of a classifier that is the old."""
    scores = drawn(500, np.random.default_rng(0), *ALIKE["exits nearly as good"])
    flat = np.concatenate([np.zeros_like(scores.logits[:-1]), scores.logits[-1:]])
    assert choose(Scores(scores.depths, flat, scores.labels), 0.05) is None


@given(st.integers(2, 5), st.integers(1, 20), st.floats(0.05, 1), st.integers(0, 99))
def test_a_text_leaves_at_the_first_that_is_sure(
    ends: int, texts: int, threshold: float, seed: int
) -> None:
    sure = np.random.default_rng(seed).random((ends, texts))
    for place, end in enumerate(leaving(sure, threshold).tolist()):
        assert all(one < threshold for one in sure[:end, place])
        assert end == ends - 1 or sure[end, place] >= threshold


def test_what_is_counted_is_what_the_texts_were_told() -> None:
    scores = drawn(300, np.random.default_rng(4), *ALIKE["one weak exit"])
    found = outcome(scores, scores.temperatures, 0.6)
    shares = scores.at(scores.temperatures)
    told = [shares[end, text].argmax() for text, end in enumerate(found.ends)]
    right = np.array(told) == scores.labels
    deepest = shares[-1].argmax(1) == scores.labels
    assert found.accuracy == pytest.approx(right.mean())
    assert found.loss == pytest.approx(deepest.mean() - right.mean())
    assert found.lost == (deepest & ~right).sum() > 0
    assert found.confidence.temperature == 1
    assert found.confidence.right == tuple(right.tolist())
