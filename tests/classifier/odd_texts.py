"""Texts by which a prompt, a blank or a cut in the wrong place would show, and who must agree."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from conftest import made_up_rows
from transformers import pipeline

import slimcls

ODD = [
    "",
    "   \n ",
    "rain and wind",
    "ends in a special token <|endoftext|>",
    "ends in another </s>",
    "<s> begins so",
    "<pad>",
    "Zürich, 東京 and 🙂 in one line\nand a second",
    "  blanks around  ",
    "bread " * 900,
]
MANY = [
    *ODD,
    *(first + text + last
      for text in ("rain", "1984", "'s", "...", "e\u0301t", "\u0301x", "\x1c?", "中文", "a\n\nb")
      for first in ("", " ", "\n\n", "\u00a0\t")
      for last in ("", "  ", "\r\n")),
    *("bread " * count for count in range(20, 30)),
    *(text for text, _ in made_up_rows(20, 9)),
]  # fmt: skip


def compare_with_pipeline(model: Path) -> None:
    """Plain transformers' pipeline gives all texts, alone and together, what slimcls gives them.

    It knows nothing of the temperature that slimcls divides logits by: no class changes by that.
    """
    classifier = slimcls.load(model)
    ours = classifier.predict(MANY)
    heat = classifier.confidence.temperature if classifier.confidence else 1.0
    classify: Any = pipeline("text-classification", str(model), truncation=True, device="cpu")
    alone = [classify(text, top_k=None) for text in MANY]
    for theirs in (alone, classify(MANY, top_k=None, batch_size=16)):
        labels = [max(row, key=itemgetter("score"))["label"] for row in theirs]
        assert labels == [prediction.label for prediction in ours]
        for prediction, row in zip(ours, theirs, strict=True):
            powers = {entry["label"]: entry["score"] ** (1 / heat) for entry in row}
            scores = {label: power / sum(powers.values()) for label, power in powers.items()}
            assert scores == pytest.approx(prediction.probabilities, abs=1e-5)
