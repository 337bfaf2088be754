"""A run and a rival become a result in one place, whole or not at all."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT

from slimcls import runs
from slimcls.config import RunConfig
from slimcls.data.spec import DatasetSpec
from slimcls.data.splits import Example, Splits
from slimcls.data.tables import Table, Tables
from slimcls.errors import UserError
from slimcls.session.outcome import Footprint, Measured, complete
from slimcls.training.loop import Fitted

NOTHING = Table()
ITEMS = tuple(Example(row, f"text {row}", row % 2) for row in range(4))


def measured(**more: Any) -> Measured:
    spec = DatasetSpec("toy", labels=("no", "yes"), note="made up")
    known: dict[str, Any] = {
        "config": RunConfig(dataset="toy", mode="p-cls"),
        "method": "fine-tuned", "data": Tables(spec, NOTHING, None, NOTHING, "sha256:2"),
        "source": None, "splits": Splits(ITEMS[:1], ITEMS, ITEMS, ITEMS, (), 1, 7),
        "footprint": Footprint(),
        "fitted": Fitted(validation_accuracy=0.5, validation_macro_f1=0.4),
        "logits": torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0], [1.0, 0.0]]),
        "tokens": [[1], [1, 2], [], [4]], "device": "cpu", "latency_ms": 2.0, "seconds": 3.0,
    }  # fmt: skip
    return Measured(**(known | more))


def test_all_columns_are_there_when_the_result_is_written(tmp_path: Path) -> None:
    footprint = Footprint(depth=6, params_saved=0.5, embedding_share=0.1)
    found = measured(scores_fingerprint="sha256:9", footprint=footprint)
    result = complete(found, tmp_path, lambda result: 7.5)
    assert runs.read_result(tmp_path) == result
    assert (result.run, result.depth, result.params_saved) == (tmp_path.name, 6, 0.5)
    assert (result.scores_fingerprint, result.model_mb) == ("sha256:9", 7.5)
    assert (result.test_accuracy, result.test_items, result.labels_used) == (0.75, 4, 9)
    assert result.draw_version == 7, "that of the rule that drew the items"
    predicted = runs.predictions(runs.load(tmp_path))
    assert predicted.prediction.tolist() == ["no", "yes", "no", "no"]
    assert predicted.tokens.tolist() == [1, 2, 0, 1]


def test_what_takes_nothing_of_a_model_says_so(tmp_path: Path) -> None:
    found = measured(method="tfidf", config=RunConfig(dataset="toy", mode="cls"))
    result = complete(found, tmp_path, lambda result: 0.0)
    assert (result.depth, result.params_kept, result.source_fingerprint) == (0, 0, "")
    assert math.isnan(result.params_saved)
    assert result.labels_used == 8, "bare texts have no demonstrations"


def test_a_model_that_cannot_be_kept_finishes_nothing(tmp_path: Path) -> None:
    def full(result: runs.RunResult) -> float:
        assert result.test_accuracy == 0.75, "its card has the figures"
        raise UserError("the disk is full")

    with pytest.raises(UserError):
        complete(measured(), tmp_path, full)
    assert list(tmp_path.iterdir()) == []


PARENT = """
import subprocess, sys
held = b"x" * 1_500_000_000
code = "from slimcls.session.outcome import _peak_memory; print(_peak_memory('cpu'))"
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count a process anew")
def test_peak_memory_is_not_that_of_who_started_the_run() -> None:
    words = [sys.executable, "-c", PARENT]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 50 < float(found.stdout) < 1400
