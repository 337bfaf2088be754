"""Probes: the best depth, pooling and strength by validation log-loss, as scikit-learn has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from slimcls.data.splits import Example, Splits
from slimcls.rivals.probe import POOLINGS, STRENGTHS, PartStates, Probe, pooled


def made_up(
    telling: tuple[int, int], sizes: tuple[int, int, int] = (60, 40, 30)
) -> tuple[PartStates, Splits]:
    """Noise, but for one depth and vector (last 0, mean 1), which tells the classes roughly."""
    generator = torch.Generator().manual_seed(0)
    parts: list[tuple[Tensor, tuple[Example, ...]]] = []
    for count in sizes:
        labels = torch.randint(0, 3, (count,), generator=generator)
        states = torch.randn(count, 4, 2, 8, generator=generator)
        signal = torch.nn.functional.one_hot(labels, 8) * 2.0
        states[:, telling[0], telling[1]] += signal
        items = tuple(Example(n, str(n), int(label)) for n, label in enumerate(labels))
        parts.append((states.half(), items))
    splits = Splits(
        demonstrations=(), train=parts[0][1], validation=parts[1][1], test=parts[2][1],
        notes=(), repeats_removed=0, version=1,
    )  # fmt: skip
    return PartStates(*(states for states, _ in parts)), splits


@pytest.mark.parametrize(("telling", "pooling"), [((2, 0), "last"), ((1, 1), "mean")])
def test_the_depth_and_pooling_that_tell_are_found(telling: tuple[int, int], pooling: str) -> None:
    states, splits = made_up(telling)
    probe = Probe(states, splits, 3)
    assert (probe.chosen.layers, probe.chosen.pooling) == (telling[0], pooling)
    truth = torch.tensor([item.label for item in splits.test])
    assert (probe.logits(states.test).argmax(1) == truth).float().mean() > 0.6
    assert [(one.layers, one.pooling) for one in probe.tried] == [
        (layers, name) for layers in range(4) for name in POOLINGS
    ]
    assert probe.chosen.log_loss == min(one.log_loss for one in probe.tried)


def test_both_vectors_are_read_where_each_tells_a_part() -> None:
    states, splits = made_up((2, 0))
    for part, items in zip(
        (states.train, states.validation, states.test),
        (splits.train, splits.validation, splits.test),
        strict=True,
    ):
        labels = torch.tensor([item.label for item in items])
        part[:, 2, 1] += torch.nn.functional.one_hot(labels, 8).half() * 2
    assert Probe(states, splits, 3).chosen.pooling == "both"
    assert pooled(states.test, 2, "both").shape == (30, 16)


def test_a_probe_is_scikit_learns_at_the_strength_that_validation_likes_best() -> None:
    states, splits = made_up((2, 0))
    labels, truth = ([item.label for item in part] for part in (splits.train, splits.validation))
    inputs, unseen, test = (
        pooled(part, 2, "last") for part in (states.train, states.validation, states.test)
    )
    scaler = StandardScaler().fit(inputs)
    losses, fits = [], []
    for strength in STRENGTHS:
        fits.append(
            LogisticRegression(C=strength, max_iter=1000).fit(scaler.transform(inputs), labels)
        )
        losses.append(log_loss(truth, fits[-1].predict_proba(scaler.transform(unseen))))
    best = int(np.argmin(losses))
    assert 0 < best < len(STRENGTHS) - 1, "the grid has room on both sides"
    probe = Probe(states, splits, 3)
    assert probe.chosen.strength == STRENGTHS[best]
    assert probe.chosen.log_loss == pytest.approx(losses[best], abs=1e-3)
    expected = fits[best].predict_proba(scaler.transform(test))
    assert np.allclose(probe.logits(states.test).exp(), expected, atol=5e-3)


def test_a_class_that_training_never_shows_is_never_named() -> None:
    states, splits = made_up((2, 0))
    train = [place for place, item in enumerate(splits.train) if item.label != 1]
    fewer = PartStates(states.train[train], states.validation, states.test)
    items = tuple(splits.train[place] for place in train)
    probe = Probe(fewer, replace(splits, train=items), 3)
    logits = probe.logits(states.test)
    assert logits[:, 1].eq(float("-inf")).all()
    assert np.isfinite(probe.chosen.log_loss)
