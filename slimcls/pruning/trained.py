"""A finished run's classifier on its own test items, whatever was done to its model since."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimcls.classifier.classifier import Classifier
from slimcls.pruning.evaluation import Figures
from slimcls.session.again import drawn_again


@dataclass(frozen=True)
class TestItems:
    """The test part of a run."""

    texts: list[str]
    labels: list[int]

    @property
    def fingerprint(self) -> str:
        """``sha256:`` of texts and labels."""
        content = json.dumps([self.texts, self.labels])
        return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def test_items(run: Path, data_dir: str | None) -> TestItems:
    """The items a finished run was tested on, drawn anew.

    Raises UserError where the run is not finished or the data have changed since.
    """
    test = drawn_again(run, data_dir).splits.test
    return TestItems([item.text for item in test], [item.label for item in test])


def measure(opened: Classifier, model: Any, items: TestItems) -> Figures:
    """Accuracy of ``model`` in the place of the opened classifier's own; no perplexity."""
    again = Classifier(model, opened.mode, opened.encoder, opened.labels)
    found = again.logits(again.encoder.encode(items.texts).ids).argmax(1).tolist()
    right = sum(one == label for one, label in zip(found, items.labels, strict=True))
    nothing = float("nan")
    return Figures(nothing, nothing, nothing, right / len(items.labels))
