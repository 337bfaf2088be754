"""Second opinions: against values by hand, and against plain implementations of the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from slimcls.search.opinions import logme, second_opinions, variability


def _states(texts: int, hidden: int, classes: int, seed: int, apart: float = 1.0):
    draw = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), draw.integers(0, classes, texts - classes)])
    means = apart * draw.normal(size=(classes, hidden))
    return draw.normal(size=(texts, hidden)) + means[labels], labels


def _plain_variability(states, labels):
    """Equation 3, as it stands."""
    groups = [states[labels == label] for label in np.unique(labels)]
    means = np.array([group.mean(0) for group in groups])
    within = sum(
        sum(np.outer(h - m, h - m) for h in group) / len(group)
        for group, m in zip(groups, means, strict=True)
    ) / len(groups)
    centre = means.mean(0)
    between = sum(np.outer(m - centre, m - centre) for m in means) / len(groups)
    inverse = np.linalg.pinv(between, rcond=1e-10, hermitian=True)
    return np.trace(within @ inverse) / len(groups)


def _plain_logme(states, labels):
    """The highest density of each class's targets, found by a general optimiser."""
    best = []
    for label in np.unique(labels):
        target = (labels == label).astype(float)

        def minus(logs, target=target):
            alpha, beta = np.exp(logs)
            spread = np.eye(len(target)) / beta + states @ states.T / alpha
            return -multivariate_normal.logpdf(target, cov=spread)

        best.append(-minimize(minus, [0.0, 0.0], method="Nelder-Mead").fun / len(target))
    return np.mean(best)


def test_variability_by_hand():
    # On a line: class means 0 and 4, so S_b = (4 + 4) / 2 = 4; S_w = (1 + 4) / 2 = 2.5.
    states = np.array([[-1.0], [1.0], [2.0], [6.0]])
    assert variability(states, [0, 0, 1, 1]) == pytest.approx(2.5 / 4 / 2)
    # A class weighs the same however many texts it has.
    again = np.array([[-1.0], [1.0], [2.0], [6.0], [2.0], [6.0]])
    assert variability(again, [0, 0, 1, 1, 1, 1]) == pytest.approx(2.5 / 4 / 2)
    # Across the line of means nothing counts: there S_b has no inverse.
    beside = np.array([[-1.0, 9.0], [1.0, -9.0], [2.0, 5.0], [6.0, -5.0]])
    assert variability(beside, [7, 7, 3, 3]) == pytest.approx(2.5 / 4 / 2)


@pytest.mark.parametrize(
    ("texts", "hidden", "classes"), [(60, 5, 3), (40, 12, 6), (30, 50, 4), (90, 3, 8)]
)
def test_opinions_are_what_the_formulas_say(texts, hidden, classes):
    states, labels = _states(texts, hidden, classes, seed=texts)
    assert variability(states, labels) == pytest.approx(_plain_variability(states, labels))
    if texts > hidden:  # else a target can be hit exactly, and the likeliest noise is none
        assert logme(states, labels) == pytest.approx(_plain_logme(states, labels), abs=2e-3)


def test_logme_is_a_density_also_with_more_columns_than_texts():
    states, labels = _states(20, 64, 2, seed=1, apart=0.3)
    target = (labels == 1).astype(float)
    ways = [
        multivariate_normal.logpdf(target, cov=np.eye(20) / beta + states @ states.T / alpha) / 20
        for alpha in (64.0, 640.0, 6400.0)
        for beta in (1.0, 10.0)
    ]
    # Both classes' targets have nearly one evidence here, and none of these precisions beats it.
    assert logme(states, labels) > max(ways) - 0.05


def test_classes_that_lie_apart_are_said_to():
    near, labels = _states(200, 16, 4, seed=2, apart=0.2)
    apart, _ = _states(200, 16, 4, seed=2, apart=3.0)
    assert variability(apart, labels) < variability(near, labels) / 10
    assert logme(apart, labels) > logme(near, labels) + 0.2


def test_a_turn_of_the_space_changes_nothing():
    states, labels = _states(50, 8, 3, seed=3)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))
    assert variability(states @ turn, labels) == pytest.approx(variability(states, labels))
    assert logme(states @ turn, labels) == pytest.approx(logme(states, labels))


def test_states_that_say_nothing():
    assert variability(np.ones((4, 3)), [0, 0, 1, 1]) is None
    assert variability(np.ones((4, 3)), [0, 0, 0, 0]) is None
    assert logme(np.ones((4, 3)), [0, 0, 0, 0]) is None
    assert np.isfinite(logme(np.zeros((4, 3)), [0, 0, 1, 1]))
    assert np.isfinite(logme(np.eye(4), [0, 0, 1, 1]))


def test_every_depth_has_its_opinion_from_the_mean_states():
    draw = np.random.default_rng(4)
    labels = draw.integers(0, 3, 40)
    states = torch.from_numpy(draw.normal(size=(40, 3, 2, 6))).half()
    states[:, 2, 1] += torch.from_numpy(8 * np.eye(6)[labels]).half()
    found = second_opinions(states, labels.tolist())
    assert len(found) == 3
    for depth, opinion in enumerate(found):
        mean = states[:, depth, 1].double().numpy()
        assert opinion.variability == pytest.approx(_plain_variability(mean, labels), rel=1e-6)
        assert opinion.logme == pytest.approx(_plain_logme(mean, labels), abs=3e-3)
    assert min(found, key=lambda o: o.variability) == max(found, key=lambda o: o.logme) == found[2]
