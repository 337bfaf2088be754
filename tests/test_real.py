"""The packaged model and corpus, real data sets where they are: modes learn, artefacts open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classifier.odd_texts import compare_with_pipeline
from data.shared_data import data_dir

import slimcls
from slimcls.backbones import sources
from slimcls.backbones.families import blocks_of
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.artefact import load_run
from slimcls.classifier.confidence import probabilities
from slimcls.classifier.runtime import OnnxClassifier
from slimcls.config import RunConfig
from slimcls.export import export
from slimcls.exporting.settings import ExportConfig
from slimcls.runs.schema import RunResult
from slimcls.train import train

pytestmark = pytest.mark.slow
SETTINGS: dict[str, Any] = {
    "model": "smollm2-135m", "accelerator": "cpu", "batch_size": 16, "keep": 1, "test_size": 100,
    "validation_size": 60, "epochs": 3, "lr": 1e-3, "eval_batch_size": 32,
}  # fmt: skip


def run(out: Path, **more: Any) -> RunResult:
    return train(RunConfig(out=str(out), **(SETTINGS | more)))


@pytest.mark.parametrize("mode", ["cls", "p-cls", "lm"])
def test_bbc_news(tmp_path: Path, mode: str) -> None:
    """By headlines, one layer, 80 a class; a fifth would be right by chance (at most 0.28)."""
    result = run(
        tmp_path, dataset="bbcnews", mode=mode, shots=80, demos=0, max_text_tokens=12,
        baseline=mode == "lm",
    )  # fmt: skip
    assert result.test_accuracy > 0.33
    assert result.validation_accuracy > 0.33
    assert result.depth == 30
    assert "4-bit" in result.source_note
    assert result.train_items == 400
    classifier = slimcls.load(result.folder)
    assert len(blocks_of(classifier.model)) == 1
    text = "The striker scored twice as the home team won the cup final."
    (prediction,) = classifier.predict([text])
    assert set(prediction.probabilities) == set(classifier.labels)
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    compare_with_pipeline(result.folder / "model")


def test_the_cut_computes_what_the_full_model_does() -> None:
    """After its last block, before the final norm, bit for bit."""
    source = sources.find("smollm2-135m", None)
    streams = []
    for layers in (range(30), (0, 1)):
        model = open_cut(source, layers, head="lm")
        caught: list[torch.Tensor] = []
        blocks_of(model)[1].register_forward_hook(
            lambda module, args, output: caught.append(  # noqa: B023 - called in this turn
                output if isinstance(output, torch.Tensor) else output[0]
            )
        )
        with torch.no_grad():
            model(input_ids=torch.arange(100, 140)[None])
        streams += caught
    assert streams[0].equal(streams[1])


def test_trec(tmp_path: Path) -> None:
    """The small class ABBR is in every part."""
    result = run(tmp_path, dataset="trec", data_dir=str(data_dir()), mode="cls", shots=8, epochs=1)
    assert result.test_items == 100
    assert result.train_items == 48
    assert 0 < result.test_accuracy <= 1


def test_sst2_with_a_tiny_model(tmp_path: Path) -> None:
    result = run(
        tmp_path, dataset="sst2", data_dir=str(data_dir()), mode="p-cls", shots=8, epochs=1,
        model="tiny-gpt2", keep=2,
    )  # fmt: skip
    assert (result.depth, result.keep, result.train_items) == (6, 2, 16)
    (prediction,) = slimcls.load(result.folder).predict(["a fine film"])
    assert prediction.label in ("negative", "positive")


def test_label_words_without_torch(tmp_path: Path) -> None:
    """The real prompt is in the graph, the head has a row a label word, in 32 bits and in four."""
    result = run(
        tmp_path, dataset="trec", data_dir=str(data_dir()), mode="lm", shots=4, epochs=1,
        baseline=False, validation_size=24, test_size=24,
    )  # fmt: skip
    out = tmp_path / "small"
    # In 32 bits it has to agree with the run before it is put into fewer.
    report = export(ExportConfig(run=str(result.folder), out=str(out), bits=4, tolerate=100))
    assert report.quantised is not None
    assert (report.quantised.matrices, report.megabytes < 23) == (7 + 1 + 1, True)
    own, exported = load_run(result.folder), slimcls.load(out)
    assert isinstance(exported, OnnxClassifier)
    texts = ["Who wrote 12 operas ?", "What is an atom ?", "", "Where is Köln ?" * 200]
    encoded = own.encoder.encode(texts)
    assert exported.encoder.encode(texts) == encoded
    assert exported.prefix_tokens > 60
    shares = [probabilities(np.asarray(one.logits(encoded.ids), float)) for one in (own, exported)]
    np.testing.assert_allclose(*shares, atol=0.2)
