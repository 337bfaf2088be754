"""How right logits are: accuracy, macro-F1 and figures of each class, all from counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor


class ClassFigures(TypedDict):
    """How right a classifier is about one class."""

    label: str
    precision: float
    recall: float
    f1: float
    items: int
    """Items that are of it."""


@dataclass(frozen=True)
class Metrics:
    """Figures of one part of the data."""

    accuracy: float
    macro_f1: float
    per_class: list[ClassFigures]


def metrics(logits: Tensor, labels: Sequence[int], names: Sequence[str]) -> Metrics:
    """Accuracy, macro-F1 and per-class figures of logits (items, classes).

    They are as scikit-learn has them: macro-F1 is the mean over the classes that occur in truth or
    prediction, and a figure without anything to divide by is 0. They come from counts: importing
    scikit-learn for them would take longer than a small test. Of no item accuracy and macro-F1 are
    NaN.
    """
    classes = len(names)
    places = torch.as_tensor(labels, dtype=torch.long) * classes + logits.argmax(1).cpu()
    confusion = torch.bincount(places, minlength=classes**2).view(classes, classes)
    accuracy, macro_f1 = accuracy_and_f1(confusion)
    return Metrics(accuracy, macro_f1, _per_class(confusion, names))


def _per_class(confusion: Tensor, names: Sequence[str]) -> list[ClassFigures]:
    """Figures of each class from counts (true class, predicted class)."""
    hits, items, named = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    columns = (
        _share(hits, named),
        _share(hits, items),
        _share(2 * hits, items + named),
        items.tolist(),
    )
    return [
        ClassFigures(label=name, precision=precision, recall=recall, f1=f1, items=count)
        for name, precision, recall, f1, count in zip(names, *columns, strict=True)
    ]


def _share(part: Tensor, whole: Tensor) -> list[float]:
    """Part of whole, 0 where the whole is nothing."""
    shares: list[float] = (part.double() / whole.clamp(min=1)).tolist()
    return shares


def accuracy_and_f1(confusion: Tensor) -> tuple[float, float]:
    """Accuracy and macro-F1 of counts (true class, predicted class).

    Macro-F1 is the mean over the classes that occur, in truth or prediction, as scikit-learn has
    it.
    """
    counts = confusion.double()
    hits, true, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    seen = (true + predicted) > 0
    f1 = 2 * hits[seen] / (true + predicted)[seen]
    return float(hits.sum() / counts.sum()), float(f1.mean())
