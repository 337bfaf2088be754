"""Second opinions on depths, from frozen states and labels alone; nothing is decided by them.

Both read the mean over a text's tokens, as Xie et al. do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slimcls.rivals.probe import pooled

Numbers = NDArray[np.float64]

#: As in the authors' code: no precision becomes infinite.
_FLOOR = 1e-5
#: Relative change of alpha / beta where the search for them ends, and its most steps.
_SETTLED, _STEPS = 1e-3, 100


class Opinion(NamedTuple):
    """What the states of one depth say."""

    variability: float | None
    logme: float | None


def second_opinions(states: Tensor, labels: Sequence[int]) -> list[Opinion]:
    """The opinions of every depth, the embeddings' first.

    Args:
        states: (texts, depths, 2, hidden), as :mod:`slimcls.training.depths` gives them.
        labels: class number of each text.
    """
    assert len(states) == len(labels)
    with torch.inference_mode():
        depths = (pooled(states, layers, "mean") for layers in range(states.shape[1]))
        return [
            Opinion(variability(found.astype(np.float64), labels), logme(found, labels))
            for found in depths
        ]


def variability(states: NDArray[np.floating], labels: Sequence[int]) -> float | None:
    """Hidden-state variability: spread within classes over spread between them; low is good.

    With classes weighing alike, S_w the mean over classes of the covariance within each and S_b
    the covariance of the classes' means, it is trace(S_w S_b^+) / classes (Xie et al. 2022,
    arXiv 2210.10041, equation 3). Only classes that occur count.

    Args:
        states: (texts, hidden).
        labels: class number of each text.

    Returns:
        At least 0; None where there are fewer than two classes, or all have one mean.
    """
    found = np.asarray(states, dtype=np.float64)
    classes, place, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        return None
    means = _members(place, len(classes)) @ found / sizes[:, None]
    between = (means - means.mean(0)) / np.sqrt(len(classes))
    _, spread, axes = np.linalg.svd(between, full_matrices=False)
    # What is zero but for rounding has no inverse: the means span one axis less than they are.
    real = spread > spread.max() * max(between.shape) * np.finfo(np.float64).eps
    if not real.any():
        return None
    within = (found - means[place]) @ (axes[real].T / spread[real])
    each = np.einsum("nr,nr->n", within, within)
    return float(np.mean(np.bincount(place, each) / sizes) / len(classes))


def logme(states: NDArray[np.floating], labels: Sequence[int]) -> float | None:
    """LogME: the log evidence a text of Bayesian linear models of the classes; high is good.

    Each class is a target of zeros and ones, y ~ N(F w, 1/beta) with w ~ N(0, 1/alpha); alpha and
    beta are what makes y likeliest, found as a fixed point, and the classes' log evidences are
    averaged and divided by the texts (You et al. 2021, arXiv 2102.11005; fixed point after arXiv
    2110.10545). Where there are fewer texts than columns the authors' code keeps a term log(alpha)
    for every column too many; here the evidence is the density of y itself.

    Args:
        states: F (texts, hidden).
        labels: class number of each text.

    Returns:
        A log density; None where there are fewer than two classes.
    """
    found = np.asarray(states, dtype=np.float64)
    classes, place = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        return None
    squares, axes = _spectrum(found)
    targets = _members(place, len(classes)).T
    along = (axes.T @ targets) ** 2
    beside = np.maximum(targets.sum(0) - along.sum(0), 0.0)
    alpha, beta = _precisions(squares, along, beside, len(found))
    return float(np.mean(_evidence(squares, along, beside, len(found), alpha, beta)) / len(found))


def _members(place: NDArray[np.int64], classes: int) -> Numbers:
    """(classes, texts): one where a text is of a class."""
    return (np.arange(classes)[:, None] == place).astype(np.float64)


def _spectrum(found: Numbers) -> tuple[Numbers, Numbers]:
    """Squared singular values of F, none of them zero, and its left singular vectors."""
    texts, hidden = found.shape
    if texts <= hidden:
        squares, left = np.linalg.eigh(found @ found.T)
    else:
        squares, right = np.linalg.eigh(found.T @ found)
    # Rounding of the largest one is as large as this.
    real = squares > max(squares.max(), 0) * max(texts, hidden) * np.finfo(np.float64).eps
    squares = squares[real]
    return squares, left[:, real] if texts <= hidden else found @ (right[:, real] / squares**0.5)


def _precisions(
    squares: Numbers, along: Numbers, beside: Numbers, texts: int
) -> tuple[Numbers, Numbers]:
    """alpha and beta of each class.

    ``along`` (axes, classes) are squared shares of the targets along the axes, ``beside`` (classes)
    what is along none.
    """
    alpha, beta = np.ones((2, along.shape[1]))
    left = np.arange(along.shape[1])
    for _ in range(_STEPS):
        ratio = alpha[left] / beta[left]
        used = (squares[:, None] / (squares[:, None] + ratio)).sum(0)
        weights, missed = _weights_and_missed(squares, along[:, left], beside[left], ratio)
        alpha[left], beta[left] = used / (weights + _FLOOR), (texts - used) / (missed + _FLOOR)
        left = left[np.abs(alpha[left] / beta[left] - ratio) > _SETTLED * ratio]
        if not len(left):
            break
    return alpha, beta


def _weights_and_missed(
    squares: Numbers, along: Numbers, beside: Numbers, ratio: Numbers
) -> tuple[Numbers, Numbers]:
    """Squared length of the likeliest weights, and of what they miss of the targets."""
    total = squares[:, None] + ratio
    weights = (squares[:, None] * along / total**2).sum(0)
    return weights, ((ratio / total) ** 2 * along).sum(0) + beside


def _evidence(
    squares: Numbers, along: Numbers, beside: Numbers, texts: int, alpha: Numbers, beta: Numbers
) -> Numbers:
    """Log density of each class's targets: Gaussian, covariance 1 / beta + F F^T / alpha."""
    weights, missed = _weights_and_missed(squares, along, beside, alpha / beta)
    shrunk = np.log1p(squares[:, None] * beta / alpha).sum(0)
    fit = beta * missed + alpha * weights
    return 0.5 * (texts * np.log(beta) - shrunk - fit - texts * np.log(2 * np.pi))
