"""What a classifier says of texts, whatever it computes with: a class and its probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimcls.classifier.task import Encoder
from slimcls.errors import UserError


@dataclass(frozen=True)
class Prediction:
    """The class of one text."""

    label: str
    """Name of the most probable class."""
    probabilities: dict[str, float]
    """Probability of each class, by name, in the data set's order of classes."""

    def columns(self, label: str = "label") -> dict[str, str | float]:
        """As a row of a file has it; ``label`` names the column of the class."""
        shares = {f"probability_{name}": share for name, share in self.probabilities.items()}
        return {label: self.label} | shares


class Predictor(ABC):
    """Texts in, classes out; how logits come about is left open."""

    def __init__(self, encoder: Encoder, labels: Sequence[str]) -> None:
        self.encoder, self.labels = encoder, list(labels)

    @abstractmethod
    def logits(
        self,
        ids: Sequence[list[int]],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
    ) -> Any:
        """Logits (texts, classes), float32, of whole encoded texts, in their order."""

    def predict(
        self,
        texts: str | Iterable[str],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
    ) -> list[Prediction]:
        """Classify a text, or texts (a list, a column); ``done`` is told how many each batch had.

        Raises UserError for what is no string, and where the model gives no finite numbers, with
        the place of the text.
        """
        logits = np.asarray(self.logits(self.encoder.encode(_listed(texts)).ids, batch_size, done))
        for place in np.flatnonzero(~np.isfinite(logits).all(1)).tolist():
            raise UserError(
                f"the logits of texts[{place}] are not finite: {logits[place].tolist()}"
            )
        powers = np.exp(logits - logits.max(1, keepdims=True))
        shares = powers / powers.sum(1, keepdims=True)
        return [
            Prediction(self.labels[best], dict(zip(self.labels, row, strict=True)))
            for best, row in zip(logits.argmax(1).tolist(), shares.tolist(), strict=True)
        ]


def _listed(given: str | Iterable[str]) -> list[str]:
    """A string is one text, and not as many as it has letters."""
    if isinstance(given, str):
        return [given]
    # A table's iterator gives its columns' names.
    if not isinstance(given, Iterable) or getattr(given, "ndim", 1) != 1:
        raise UserError(f"texts are {type(given).__name__}, not a list or column of strings")
    texts = list(given)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"texts[{place}] is {text!r:.40}, not a string; leave it out")
    return texts
