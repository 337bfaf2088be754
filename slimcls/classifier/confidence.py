"""What a classifier's probabilities are worth, by its scores of validation texts.

A temperature makes probabilities honest; a threshold below which no class is named keeps the share
of errors among answers under a promised one; sets of classes hold the true one as often as
promised. What is promised holds for texts drawn as the validation texts were.

numpy alone: a classifier in use has to know this wherever it runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimcls.errors import UserError

Numbers = NDArray[np.float64]

#: Between what a temperature is looked for.
COLDEST, HOTTEST = 0.05, 20.0
#: Thresholds that are tried, the strictest first: fixed before any text is looked at.
THRESHOLDS = 1 - np.geomspace(1e-4, 0.8, 60)
#: Chance that validation texts mislead a threshold to more errors than promised.
LEVEL = 0.1
#: Parts of equal size that :func:`calibration_error` compares, and draws that make its floor.
BINS, DRAWS = 15, 200


@dataclass(frozen=True)
class Abstention:
    """The least threshold that was shown to keep a promise."""

    risk: float
    """Promised: at most this share of the answers is wrong, with a chance of 1 - LEVEL."""
    threshold: float
    """A class is named where its probability is as high; above 1 where nothing could be shown."""
    answered: float
    """Share of the validation texts that get an answer."""
    wrong: float
    """Share of those answers that is wrong; 0 without any."""


@dataclass(frozen=True)
class Confidence:
    """A temperature, and how sure a classifier was of each validation text behind it.

    Where it was never asked about them, the temperature is that of the run it was made from, and
    nothing else is known.
    """

    temperature: float
    """What logits are divided by."""
    named: tuple[float, ...]
    """Probability of the class that is named, a number a text."""
    true: tuple[float, ...]
    """Probability of the true class."""
    right: tuple[bool, ...]
    """Whether the class named is the true one."""

    def abstention(self, risk: float) -> Abstention:
        """The threshold for a promised share of errors among answers.

        Learn-then-test: thresholds are tested in a fixed order, from the strictest on, each by the
        exact binomial test at LEVEL; the first that fails ends it, so that no correction is needed.
        Those come first that answer so many texts that the test could pass without an error: a
        sequence that began before them would end at once, and always abstain.

        Source: Angelopoulos et al., "Learn then test", Annals of Applied Statistics 2025
        (arXiv 2110.01052).
        """
        least = math.ceil(math.log(LEVEL) / math.log1p(-risk))
        best = Abstention(risk, math.inf, 0.0, 0.0)
        sure, right = np.array(self.named), np.array(self.right)
        for threshold in THRESHOLDS:
            answers = sure >= threshold
            count, wrong = int(answers.sum()), int((answers & ~right).sum())
            if count < least:
                continue
            if binomial_cdf(wrong, count, risk) > LEVEL:
                break
            best = Abstention(risk, float(threshold), count / len(sure), wrong / count)
        return best

    def least_in_set(self, missing: float) -> float:
        """The probability from which a class belongs to a text's set.

        Split conformal sets: the true class is missing from at most a share ``missing`` of sets;
        0, which takes all classes, where there are too few texts to promise it.

        Source: Sadinle, Lei & Wasserman, "Least ambiguous set-valued classifiers with bounded
        error levels", JASA 2019 (arXiv 1609.00451).
        """
        rank = math.floor((len(self.true) + 1) * missing)
        return sorted(self.true)[rank - 1] if rank >= 1 else 0.0

    def as_json(self) -> dict[str, object]:
        """As ``slimcls.json`` has it; :func:`from_json` reads it back."""
        return {
            "temperature": self.temperature,
            "named": list(self.named),
            "true": list(self.true),
            "right": [int(one) for one in self.right],
        }


def from_json(held: Any) -> Confidence | None:
    """What :meth:`Confidence.as_json` wrote; None where it did not."""
    try:
        temperature = float(held["temperature"])
        named, true, right = (tuple(map(float, held[key])) for key in ("named", "true", "right"))
    except (KeyError, TypeError, ValueError):
        return None
    if not len(named) == len(true) == len(right) or not set(right) <= {0.0, 1.0}:
        return None
    if not all(0 <= share <= 1 for share in (*named, *true)):
        return None
    if not COLDEST <= temperature <= HOTTEST:
        return None
    return Confidence(temperature, named, true, tuple(map(bool, right)))


def measured(logits: ArrayLike, labels: ArrayLike) -> Confidence:
    """A classifier's confidence by logits (texts, classes) and true classes (texts,)."""
    scores, truth = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    temperature = fit_temperature(scores, truth)
    shares = probabilities(scores, temperature)
    named, texts = shares.argmax(1), np.arange(len(truth))
    return Confidence(
        temperature,
        tuple(shares[texts, named].tolist()),
        tuple(shares[texts, truth].tolist()),
        tuple((named == truth).tolist()),
    )


def probabilities(logits: Numbers, temperature: float = 1.0) -> Numbers:
    """Softmax (texts, classes) of logits at a temperature."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def fit_temperature(logits: Numbers, labels: NDArray[np.int64]) -> float:
    """The temperature of the least negative log-likelihood, within COLDEST and HOTTEST.

    Each label counts as one of a text more of every class, as Platt (1999) has it: where all
    answers are right, ever colder would be ever better. The likelihood is convex in the inverse,
    whose derivative is brought to 0 by halving.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017 (arXiv 1706.04599).
    """
    texts, classes = logits.shape
    doubt = classes / (texts + classes)
    own = logits[np.arange(texts), labels]
    wanted = float(((1 - doubt) * own + doubt * logits.mean(1)).mean())
    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    for _ in range(60):
        middle = (low + high) / 2
        expected = (probabilities(logits, math.exp(-middle)) * logits).sum(1).mean()
        low, high = (middle, high) if expected < wanted else (low, middle)
    return math.exp(-(low + high) / 2)


def log_likelihood_loss(shares: Numbers, labels: ArrayLike) -> float:
    """Mean negative log-likelihood, in nats, of true classes by probabilities (texts, classes)."""
    truth = np.asarray(labels, np.int64)
    return float(-np.log(shares[np.arange(len(truth)), truth].clip(min=1e-300)).mean())


def calibration_error(shares: Numbers, labels: ArrayLike) -> tuple[float, float]:
    """Expected calibration error of the class named, in bins of equal size, and its floor.

    The floor is what probabilities that are exactly right would show on as many texts: the mean
    over labels drawn from them. An error near it says nothing against them.
    """
    chance = np.random.default_rng(0)
    sure, named = shares.max(1), shares.argmax(1)
    order = np.argsort(sure, kind="stable")

    def error(right: NDArray[np.bool_]) -> float:
        parts = np.array_split(order, min(BINS, len(order)))
        gaps = [len(part) * abs(right[part].mean() - sure[part].mean()) for part in parts]
        return float(sum(gaps) / len(order))

    drawn = [error(chance.random(len(sure)) < sure) for _ in range(DRAWS)]
    return error(named == np.asarray(labels, np.int64)), float(np.mean(drawn))


def binomial_cdf(most: int, count: int, chance: float) -> float:
    """How probable it is that of ``count`` events, each of a chance, at most so many happen."""
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        + k * math.log(chance) + (count - k) * math.log1p(-chance)
        for k in range(most + 1)
    ]  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, logs)))


def share_of(percent: float, setting: str) -> float:
    """A percentage that a person gave as a share; UserError where it promises nothing."""
    try:
        given = float(percent)
    except (TypeError, ValueError):
        raise UserError(f"{setting} {percent!r}: must be a number") from None
    if not 0 < given < 100:
        raise UserError(f"{setting} {given:g}: must be a percentage above 0 and below 100")
    return given / 100
