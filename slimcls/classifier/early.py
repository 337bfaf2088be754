"""The rule by which texts leave early, as ``slimcls.json`` has it.

numpy alone: whether a folder is as slimcls wrote it has to be known wherever it is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimcls.classifier import confidence
from slimcls.classifier.confidence import COLDEST, HOTTEST, Confidence, Numbers


@dataclass(frozen=True)
class EarlyRule:
    """At which exit a text leaves, and what was shown of that."""

    depths: tuple[int, ...]
    """How many layers stand in front of each end, ascending; the last is the model's own."""
    temperatures: tuple[float, ...]
    """What the logits of each are divided by."""
    threshold: float
    """A text leaves at the first exit whose class is as probable, or else at the last."""
    risk: float
    """Promised: accuracy is no more than this share below that of the deepest exit."""
    texts: tuple[int, ...]
    """How many validation texts left at each."""
    bound: float
    """The loss of accuracy that those do not show to be exceeded, a share: one-sided, 95 %."""
    sha256: str
    """Of the file that holds norms and heads of the exits."""
    confidence: Confidence
    """How sure whichever exit named the class was of each validation text; its temperature is 1,
    as each exit has its own."""

    @property
    def layers(self) -> float:
        """How many layers a validation text was seen by, on average."""
        return float(np.average(self.depths, weights=self.texts))

    def as_json(self) -> dict[str, object]:
        """As ``slimcls.json`` has it; :func:`from_json` reads it back."""
        return {
            "depths": list(self.depths),
            "temperatures": list(self.temperatures),
            "threshold": self.threshold,
            "risk": self.risk,
            "texts": list(self.texts),
            "bound": self.bound,
            "sha256": self.sha256,
            "confidence": self.confidence.as_json(),
        }


def leaving(sure: Numbers, threshold: float) -> NDArray[np.int64]:
    """The number of the end (texts,) at which each leaves, by how sure (ends, texts) each is."""
    early = sure[:-1] >= threshold
    return np.where(early.any(0), early.argmax(0), len(early))


def from_json(held: Any) -> EarlyRule | None:
    """What :meth:`EarlyRule.as_json` wrote; None where it did not."""
    try:
        depths, texts = (tuple(map(int, held[key])) for key in ("depths", "texts"))
        temperatures = tuple(map(float, held["temperatures"]))
        threshold, risk, bound = (float(held[key]) for key in ("threshold", "risk", "bound"))
        sha256, scores = held["sha256"], confidence.from_json(held["confidence"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if scores is None or not isinstance(sha256, str) or not 0 <= threshold <= 1:
        return None
    if not len(depths) == len(texts) == len(temperatures) >= 2 or min(texts) < 0 or not sum(texts):
        return None
    if depths[0] < 1 or list(depths) != sorted(set(depths)):
        return None
    if not all(COLDEST <= heat <= HOTTEST for heat in temperatures):
        return None
    if not 0 < risk < 1 or not 0 <= bound <= 1:
        return None
    return EarlyRule(depths, temperatures, threshold, risk, texts, bound, sha256, scores)
