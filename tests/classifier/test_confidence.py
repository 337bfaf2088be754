"""Temperatures, thresholds and sets against closed forms, scipy, and made-up classifiers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import beta, binom

from slimcls.classifier.confidence import (
    COLDEST,
    HOTTEST,
    LEVEL,
    THRESHOLDS,
    Confidence,
    Numbers,
    binomial_cdf,
    calibration_error,
    fit_temperature,
    from_json,
    log_likelihood_loss,
    measured,
    probabilities,
    share_of,
)
from slimcls.errors import UserError


def drawn(texts: int, classes: int, seed: int, sharpness: float = 1.0) -> tuple[Numbers, Numbers]:
    """Logits, and labels drawn from their softmax at a temperature of ``sharpness``."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=(texts, classes)) * 3
    shares = probabilities(logits, sharpness).cumsum(1)
    return logits, (shares < chance.random((texts, 1))).sum(1)


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(true: float) -> None:
    logits, labels = drawn(20_000, 5, 1, true)
    assert fit_temperature(logits, labels) == pytest.approx(true, rel=0.05)


def test_it_has_the_least_loss_there_is() -> None:
    """With one text more of every class counted for each text, as the docstring says."""
    logits, labels = drawn(300, 4, 2, 2.0)
    doubt = 4 / 304

    def loss(log_temperature: float) -> float:
        logs = np.log(probabilities(logits, math.exp(log_temperature)))
        own = logs[np.arange(300), labels]
        return float(-((1 - doubt) * own + doubt * logs.mean(1)).mean())

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(logits, labels) == pytest.approx(math.exp(best.x), rel=1e-5)
    tempered = probabilities(logits, fit_temperature(logits, labels))
    assert log_likelihood_loss(tempered, labels) < log_likelihood_loss(
        probabilities(logits), labels
    )


def test_a_classifier_that_is_always_right_does_not_become_certain() -> None:
    chance = np.random.default_rng(3)
    labels = chance.integers(0, 3, 100)
    logits = np.eye(3)[labels] * 4 + chance.normal(size=(100, 3)) * 0.1
    found = measured(logits, labels)
    assert all(found.right)
    assert max(found.named) < 1 - 1e-3
    always_wrong = measured(logits, (labels + 1) % 3)
    assert always_wrong.temperature == pytest.approx(HOTTEST, rel=0.01)


@given(
    st.integers(1, 400), st.floats(0.01, 0.5), st.floats(0, 1)
)  # fmt: skip
def test_the_binomial_is_scipys(count: int, chance: float, share: float) -> None:
    most = round(share * count)
    assert binomial_cdf(most, count, chance) == pytest.approx(
        binom.cdf(most, count, chance), abs=1e-10
    )


def sure(named: Numbers, right: Numbers) -> Confidence:
    return Confidence(1.0, tuple(named), tuple(named), tuple(bool(one) for one in right))


def test_the_threshold_is_the_last_whose_upper_bound_is_within_the_risk() -> None:
    chance = np.random.default_rng(4)
    named = chance.beta(4, 0.4, 400)
    right = chance.random(400) < named
    found = sure(named, right).abstention(0.1)
    best = None
    for threshold in THRESHOLDS:
        answers = named >= threshold
        count, wrong = answers.sum(), (answers & ~right).sum()
        if count < math.log(LEVEL) / math.log(0.9):
            continue
        if beta.ppf(1 - LEVEL, wrong + 1, count - wrong) > 0.1:
            break
        best = (threshold, count / 400, wrong / count)
    assert best is not None
    assert (found.threshold, found.answered, found.wrong) == pytest.approx(best)
    assert 0.05 < found.answered < 0.99


def test_the_sequence_begins_where_a_test_could_pass() -> None:
    """The strictest thresholds answer a text or two, which shows nothing and must not end it."""
    named = np.concatenate([[0.99995], np.full(199, 0.95)])
    found = sure(named, np.ones(200)).abstention(0.05)
    assert found.answered == 1
    assert found.wrong == 0


def test_where_nothing_is_shown_nothing_is_answered() -> None:
    for named, right in ((np.full(20, 0.99), np.ones(20)), (np.full(500, 0.9), np.zeros(500))):
        found = sure(named, right).abstention(0.05)
        assert (found.answered, found.threshold) == (0, math.inf)


@pytest.mark.parametrize("risk", [0.02, 0.05, 0.1])
def test_the_promise_is_broken_no_more_often_than_said(risk: float) -> None:
    """Over 400 draws of 300 texts, by the error among answers that each threshold really has."""
    chance = np.random.default_rng(5)
    fine = np.sort(chance.beta(4, 0.2, 200_000))
    errors = np.cumsum((1 - fine)[::-1]) / np.arange(1, len(fine) + 1)
    broken = answered = 0
    for _ in range(400):
        named = chance.beta(4, 0.2, 300)
        found = sure(named, chance.random(300) < named).abstention(risk)
        if found.answered:
            answered += 1
            share = (fine >= found.threshold).sum()
            broken += errors[share - 1] > risk
    assert answered > 100
    assert broken / 400 <= LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / 400)


@pytest.mark.parametrize(("texts", "missing"), [(19, 0.05), (99, 0.1), (250, 0.02)])
def test_sets_hold_the_true_class_as_often_as_promised(texts: int, missing: float) -> None:
    logits, labels = drawn(200 * (texts + 1), 4, 6, 2.0)
    shares = probabilities(logits)
    own = shares[np.arange(len(labels)), labels].reshape(200, texts + 1)
    held = []
    for row in own:
        found = Confidence(1.0, tuple(row[1:]), tuple(row[1:]), (True,) * texts)
        held.append(row[0] >= found.least_in_set(missing))
    error = 3 * math.sqrt(missing * (1 - missing) / 200)
    assert 1 - missing - error <= np.mean(held)
    assert np.mean(held) <= 1 - missing + 1 / (texts + 1) + error


def test_a_set_has_all_classes_where_there_are_too_few_texts() -> None:
    found = Confidence(1.0, (0.9,) * 8, (0.9,) * 8, (True,) * 8)
    assert found.least_in_set(0.1) == 0
    assert found.least_in_set(0.12) == 0.9


def test_an_error_that_is_chance_is_near_its_floor_and_another_is_not() -> None:
    logits, labels = drawn(400, 4, 7)
    error, floor = calibration_error(probabilities(logits), labels)
    assert 0.01 < floor < 0.06
    assert error < 1.7 * floor
    worse, floor_of_worse = calibration_error(probabilities(logits, 0.2), labels)
    assert worse > 4 * floor_of_worse


def test_what_is_written_is_read_back_and_nothing_else() -> None:
    found = measured(*drawn(30, 3, 8))
    held = json.loads(json.dumps(found.as_json()))
    assert from_json(held) == found
    assert COLDEST <= found.temperature <= HOTTEST
    short = held | {"true": held["true"][1:]}
    spoilt: list[object] = [
        None, [], {}, short, held | {"temperature": 0.0}, held | {"temperature": "warm"},
        held | {"named": [2.0] * 30}, held | {"right": [0.5] * 30}, held | {"true": ["x"] * 30},
        held | {"named": [float("nan")] * 30}, held | {"named": []},
        held | {"temperature": float("nan")},
    ]  # fmt: skip
    assert [from_json(one) for one in spoilt] == [None] * len(spoilt)
    # A temperature alone, of what was never asked about validation texts.
    alone = Confidence(found.temperature, (), (), ())
    assert from_json(json.loads(json.dumps(alone.as_json()))) == alone


@pytest.mark.parametrize("percent", [0.0, 100.0, -1.0, float("nan"), float("inf")])
def test_a_promise_of_everything_or_nothing_is_refused(percent: float) -> None:
    with pytest.raises(UserError, match=r"--sets .*: must be a percentage above 0 and below 100"):
        share_of(percent, "--sets")
    assert share_of(5, "--sets") == 0.05
