"""A probe: logistic regression on a frozen model's hidden states, at the depth that suits best.

Nothing of the model is trained. Depth, pooling and the strength of the regularisation are chosen by
the log-loss of the validation part, which differs less by chance than its accuracy does: hundreds
of probes are compared there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from slimcls.data.splits import Splits
from slimcls.rivals.methods import class_logits, fitted_quietly

#: What is read of the two vectors that a depth has of each text: last token's, mean over tokens.
POOLINGS = {"last": (0,), "mean": (1,), "both": (0, 1)}
#: Inverse strengths of regularisation, strong to weak, on columns brought to one spread. With more
#: columns than texts the best one often lies far at the strong end.
STRENGTHS = tuple(10 ** (power / 2) for power in range(-11, 5))
#: Steps towards weaker regularisation without a better log-loss, after which weaker is not tried.
PATIENCE = 2
#: By how much a class that training never showed is below the others, in nats.
UNSEEN = 20.0
#: Steps of a fit: where it takes more, regularisation is too weak to win.
STEPS = 200


@dataclass(frozen=True)
class Probed:
    """The best probe of one depth and pooling."""

    layers: int
    """How many layers it reads the output of; 0 reads the embeddings."""
    pooling: str
    strength: float
    """Inverse strength of its regularisation."""
    log_loss: float
    """On the validation part, as the next."""
    accuracy: float

    @property
    def words(self) -> str:
        """It in words."""
        layers = "1 layer" if self.layers == 1 else f"{self.layers} layers"
        return f"{layers}, {self.pooling}, C = {self.strength:.2g}"


@dataclass(frozen=True)
class PartStates:
    """States (texts, depths, 2, hidden) of the parts of a run, vectors as POOLINGS has them."""

    train: Tensor
    validation: Tensor
    test: Tensor


class Probe:
    """The best probe of all depths and ``poolings``, fitted to the states of a run's items."""

    def __init__(
        self,
        states: PartStates,
        splits: Splits,
        classes: int,
        poolings: Sequence[str] = tuple(POOLINGS),
    ) -> None:
        labels, truth = (
            [item.label for item in part] for part in (splits.train, splits.validation)
        )
        self.classes = classes
        #: The best of each depth and pooling.
        self.tried: list[Probed] = []
        best = np.inf
        for layers in range(states.train.shape[1]):
            for pooling in poolings:
                inputs, unseen = (
                    pooled(part, layers, pooling) for part in (states.train, states.validation)
                )
                found, strength, loss = best_regression(inputs, labels, unseen, truth, classes)
                right = float(np.mean(found.predict(unseen) == truth))
                self.tried.append(Probed(layers, pooling, strength, loss, right))
                if loss < best:
                    best, self.chosen, self.classifier = loss, self.tried[-1], found

    def logits(self, states: Tensor) -> Tensor:
        """Logarithms of the class probabilities (texts, classes), from states of all depths."""
        inputs = pooled(states, self.chosen.layers, self.chosen.pooling)
        return class_logits(self.classifier, inputs, self.classes)


def best_regression(
    inputs: NDArray[np.float32],
    labels: Sequence[int],
    unseen: NDArray[np.float32],
    truth: Sequence[int],
    classes: int,
    *,
    intercept: bool = True,
    weights: Sequence[float] | None = None,
) -> tuple[Pipeline, float, float]:
    """From strong regularisation to weak, as long as it helps: the best, its strength, log-loss.

    Args:
        inputs: (texts, columns), what is learnt from.
        labels: Class of each.
        unseen: (texts, columns), by whose log-loss the strength is chosen.
        truth: Class of each.
        classes: How many there are.
        intercept: Whether the classes have intercepts; without, columns are not centred either.
        weights: How much a text of each class counts, in what is learnt and in the log-loss.
    """
    found = []
    each = None if weights is None else [weights[label] for label in truth]
    for strength, probe in _ever_weaker(inputs, labels, intercept=intercept, weights=weights):
        # What training never showed costs every probe alike, and not everything.
        likely = class_logits(probe, unseen, classes).exp().clamp(min=1e-15).numpy()
        likely /= likely.sum(1, keepdims=True)
        loss = float(log_loss(truth, likely, labels=range(classes), sample_weight=each))
        found.append((loss, strength, probe))
        best = min(range(len(found)), key=lambda place: found[place][0])
        if len(found) - 1 - best >= PATIENCE:
            break
    loss, strength, probe = found[best]
    return probe, strength, loss


def linear_of(classifier: Pipeline, classes: int) -> tuple[Tensor, Tensor]:
    """The weights (classes, columns) and intercepts (classes,) of a fitted probe, float32.

    Their softmax on unscaled columns gives its probabilities; what training never showed is
    ``UNSEEN`` less likely than anything.
    """
    scaler, regression = classifier
    weight, bias = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / scaler.scale_
    if scaler.with_mean:
        bias = bias - weight @ scaler.mean_
    found = torch.zeros(classes, weight.shape[1]), torch.full((classes,), bias.min() - UNSEEN)
    seen = list(regression.classes_)
    found[0][seen] = torch.from_numpy(weight).float()
    found[1][seen] = torch.from_numpy(bias).float()
    return found


def pooled(states: Tensor, layers: int, pooling: str) -> NDArray[np.float32]:
    """What a probe reads (texts, columns) of states (texts, depths, 2, hidden)."""
    return torch.cat([states[:, layers, place] for place in POOLINGS[pooling]], 1).float().numpy()


def _ever_weaker(
    inputs: NDArray[np.float32],
    labels: Sequence[int],
    *,
    intercept: bool,
    weights: Sequence[float] | None,
) -> Iterator[tuple[float, Pipeline]]:
    """Fitted probes, each begun where the one before it ended."""
    scaler = StandardScaler(with_mean=intercept).fit(inputs)
    scaled = scaler.transform(inputs)
    regression = LogisticRegression(
        warm_start=True,
        max_iter=STEPS,
        fit_intercept=intercept,
        class_weight=weights and {label: weights[label] for label in set(labels)},
    )
    for strength in STRENGTHS:
        regression.C = strength
        fitted_quietly(regression, scaled, labels)
        yield strength, make_pipeline(scaler, copy.deepcopy(regression))
