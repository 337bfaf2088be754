"""What a classifier says of texts, whatever it computes with: a class and its probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimcls.classifier.confidence import Abstention, Confidence, probabilities, share_of
from slimcls.classifier.task import Encoder
from slimcls.data.pairs import Pair
from slimcls.errors import UserError

#: What a cell of a prediction's row holds.
Cell = str | float | int | list[str] | None


@dataclass(frozen=True)
class Prediction:
    """The class of one text."""

    label: str | None
    """Name of the most probable class; None where it is not sure enough to be named."""
    probabilities: dict[str, float]
    """Probability of each class, by name, in the data set's order of classes."""
    classes: tuple[str, ...] | None = None
    """The classes of a set that holds the true one as often as asked, if one was asked; perhaps
    none."""
    depth: int | None = None
    """How many layers were asked, of a classifier whose texts leave early."""

    def columns(self, label: str = "label") -> dict[str, Cell]:
        """As a row of a file has it; ``label`` names the column of the class."""
        shares = {f"probability_{name}": share for name, share in self.probabilities.items()}
        depth = {} if self.depth is None else {"depth": self.depth}
        sets = {} if self.classes is None else {"classes": list(self.classes)}
        return {label: self.label} | shares | depth | sets


class Predictor(ABC):
    """Texts in, classes out; how logits come about is left open."""

    def __init__(
        self, encoder: Encoder, labels: Sequence[str], confidence: Confidence | None = None
    ) -> None:
        self.encoder, self.labels, self.confidence = encoder, list(labels), confidence

    @property
    def pair(self) -> tuple[str, str] | None:
        """What the columns of both texts are called, where it classifies pairs of texts."""
        return self.encoder.pair

    @abstractmethod
    def logits(
        self,
        ids: Sequence[list[int]],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
    ) -> Any:
        """Logits (texts, classes), float32, of whole encoded texts, in their order."""

    def scored(
        self,
        ids: Sequence[list[int]],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
    ) -> tuple[Any, Sequence[int | None]]:
        """The same, and how many layers each text was seen by where that is not all of them."""
        return self.logits(ids, batch_size, done), [None] * len(ids)

    def predict(
        self,
        texts: str | tuple[str, str] | Iterable[str | Sequence[str]],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
        *,
        abstain_risk: float | None = None,
        sets: float | None = None,
    ) -> list[Prediction]:
        """Classify a text, or texts (a list, a column); ``done`` is told how many each batch had.

        A classifier of text pairs takes a pair, or a list of pairs, each (first, second).

        With ``abstain_risk`` a class is named only where so few answers are wrong, and with
        ``sets`` each text has the classes of a set that lacks the true one so seldom, both in
        percent and for texts as those of validation were (:mod:`slimcls.classifier.confidence`).

        Raises UserError for what is no string, or no pair, and where the model gives no finite
        numbers, with the place of the text, where the validation texts do not show what is asked,
        and for a ``batch_size`` that is none.
        """
        if not hasattr(batch_size, "__index__") or batch_size < 1:
            raise UserError(f"batch_size {batch_size!r}: must be a whole number from 1 up")
        named_from = self.abstention(abstain_risk).threshold if abstain_risk is not None else 0.0
        in_set_from = None if sets is None else self._in_set_from(sets)
        listed = pairs_listed(texts, self.pair) if self.pair else texts_listed(texts)
        found, depths = self.scored(self.encoder.encode(listed).ids, batch_size, done)
        logits = np.asarray(found)
        for place in np.flatnonzero(~np.isfinite(logits).all(1)).tolist():
            raise UserError(
                f"the logits of texts[{place}] are not finite: {logits[place].tolist()}"
            )
        temperature = self.confidence.temperature if self.confidence else 1.0
        rows = probabilities(logits.astype(np.float64), temperature).tolist()
        return [
            self._prediction(row, named_from, in_set_from, depth)
            for row, depth in zip(rows, depths, strict=True)
        ]

    def abstention(self, risk: float) -> Abstention:
        """From which probability on a class is named so that ``risk`` percent of answers are wrong.

        Raises UserError where the validation texts show no such probability.
        """
        scores = self._measured("--abstain-risk")
        found = scores.abstention(share_of(risk, "--abstain-risk"))
        if not found.answered:
            raise UserError(
                f"--abstain-risk {risk:g}: the {len(scores.named)} validation texts do not show it "
                "for any probability; allow more, or train with more validation texts (a tenth of "
                "one's own file, at most --validation-size)"
            )
        return found

    def _in_set_from(self, sets: float) -> float:
        return self._measured("--sets").least_in_set(share_of(sets, "--sets"))

    def _measured(self, setting: str) -> Confidence:
        if self.confidence is None or not self.confidence.named:
            raise UserError(
                f"{setting}: this classifier has no scores of validation texts; ask the run that "
                "it was exported from, or one of slimcls train"
            )
        return self.confidence

    def _prediction(
        self,
        shares: list[float],
        named_from: float,
        in_set_from: float | None,
        depth: int | None,
    ) -> Prediction:
        best = max(range(len(shares)), key=shares.__getitem__)
        classes = None
        if in_set_from is not None:
            within = zip(self.labels, shares, strict=True)
            classes = tuple(name for name, share in within if share >= in_set_from)
        return Prediction(
            self.labels[best] if shares[best] >= named_from else None,
            dict(zip(self.labels, shares, strict=True)),
            classes,
            depth,
        )


def pairs_listed(given: object, names: tuple[str, str]) -> list[str]:
    """Pairs of texts of a list, or a pair alone, as a tuple of two strings.

    Raises UserError for what is no pair, with its place; ``names`` are those of both texts.
    """
    said = f"this classifier takes pairs of texts: ({', '.join(names)}), or a list of such"
    if isinstance(given, Pair | tuple) and _two(given):
        given = [given]
    # A table's iterator gives its columns' names.
    if isinstance(given, str) or not isinstance(given, Iterable) or hasattr(given, "columns"):
        raise UserError(f"texts is a {type(given).__name__}; {said}")
    pairs: list[str] = []
    for place, one in enumerate(given):
        if not (parts := _two(one)):
            raise UserError(f"texts[{place}] is {one!r:.40}; {said}")
        # Plain tokenizers take an empty second text for none at all.
        if not all(part.strip() for part in parts):
            raise UserError(f"texts[{place}]: a text of the pair is empty; leave it out")
        pairs.append(Pair(*parts))
    return pairs


def _two(given: object) -> tuple[str, ...]:
    """Both texts of what may be a pair; nothing of what is none."""
    if isinstance(given, Pair):
        return given.parts
    if isinstance(given, str | bytes | dict) or not isinstance(given, Iterable):
        return ()
    parts = tuple(given)
    return parts if len(parts) == 2 and all(isinstance(part, str) for part in parts) else ()


def texts_listed(given: object, name: str = "texts") -> list[str]:
    """Texts of a list or a column; a string is one text, and not as many as it has letters.

    Raises UserError, which calls them ``name``, for what is no string, with its place.
    """
    if isinstance(given, str):
        return [given]
    # A table's iterator gives its columns' names.
    if not isinstance(given, Iterable) or getattr(given, "ndim", 1) != 1:
        raise UserError(f"{name} is a {type(given).__name__}, not a list or column of strings")
    texts = list(given)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"{name}[{place}] is {text!r:.40}, not a string; leave it out")
    return texts
