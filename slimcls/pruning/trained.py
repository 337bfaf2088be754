"""A finished run's classifier on its own test items, whatever was done to its model since."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimcls.classifier.classifier import Classifier
from slimcls.data.dataset import read_dataset
from slimcls.errors import UserError
from slimcls.pruning.evaluation import Figures
from slimcls.runs.results import read_result
from slimcls.session.inputs import draw_items


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
    result = read_result(run)
    if result is None:
        raise UserError(f"--classifier {run}: no finished run there")
    config = result.config
    data = read_dataset(
        config.dataset,
        data_dir=data_dir,
        text_column=config.text_column,
        label_column=config.label_column,
        skip_bad_rows=config.skip_bad_rows,
    )
    if data.fingerprint != result.data_fingerprint:
        raise UserError(
            f"--classifier {run}: its data are not those found here; "
            f"give the --data-dir it was trained with, or train it again"
        )
    test = draw_items(config, data).test
    return TestItems([item.text for item in test], [item.label for item in test])


def measure(opened: Classifier, model: Any, items: TestItems) -> Figures:
    """Accuracy of ``model`` in the place of the opened classifier's own; no perplexity."""
    again = Classifier(model, opened.mode, opened.encoder, opened.labels)
    found = again.logits(again.encoder.encode(items.texts).ids).argmax(1).tolist()
    right = sum(one == label for one, label in zip(found, items.labels, strict=True))
    nothing = float("nan")
    return Figures(nothing, nothing, nothing, right / len(items.labels))
