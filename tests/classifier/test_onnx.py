"""The graph computes what the classifier does: every family, mode, batch size and length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slimcls import UserError
from slimcls.backbones import sources, tiny
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.onnx import write_onnx
from slimcls.classifier.task import Task
from slimcls.kinds import LossName, ModeName

FAMILIES = ["tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"]
LABELS = ("good", "bad", "odd")
#: Lengths of the texts of a batch: of several, of one, of one token, and longer than was traced.
BATCHES = [[7, 1, 12, 4, 9], [1], [90, 33]]


def make_classifier(
    model: str, mode: ModeName, words: tuple[str, ...] = LABELS, loss: LossName | None = None
) -> Classifier:
    source = sources.find(model, None)
    tokenizer = open_tokenizer(source, never_empty=mode == "cls")
    task = Task(
        mode=mode, labels=LABELS, context=tiny.CONTEXT, max_text_tokens=128, lm_loss=loss,
        template="" if mode == "cls" else "Text: {text}\nMood: {label}",
        label_words=() if mode == "cls" else words,
        demonstrations=() if mode == "cls" else (("rain all day", 1), ("a warm wind", 0)),
    )  # fmt: skip
    encoder = task.encoder(tokenizer)
    strategy = task.strategy(encoder)
    cut = open_cut(source, (0, 1), head=strategy.head, labels=LABELS, seed=3, pad_token_id=0)
    return Classifier(cut, strategy, encoder, LABELS)


def apart(classifier: Classifier, path: Path) -> float:
    """The largest difference of a logit, over batches of all kinds."""
    import onnxruntime

    write_onnx(classifier, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = torch.Generator().manual_seed(1)
    worst = 0.0
    for lengths in BATCHES:
        ids = torch.randint(5, 500, (len(lengths), max(lengths)), generator=random).numpy()
        given = {"ids": ids, "lengths": np.array(lengths)}
        (found,) = session.run(None, given)
        texts = [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]
        wanted = classifier.logits([classifier.prefix_ids + text for text in texts])
        worst = max(worst, float(np.abs(found - wanted.numpy()).max()))
    return worst


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["cls", "lm"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_without_a_prompt_and_with_one(
    tmp_path: Path, family: str, mode: ModeName
) -> None:
    """A graph of p-cls is that of lm with the head of cls."""
    assert apart(make_classifier(family, mode), tmp_path / "model.onnx") < 1e-6


def test_a_prompt_in_front_of_a_head_of_classes(tmp_path: Path) -> None:
    classifier = make_classifier("tiny-llama", "p-cls")
    assert len(classifier.prefix_ids) > 10
    assert apart(classifier, tmp_path / "model.onnx") < 1e-6


def test_a_sliding_window_is_kept(tmp_path: Path) -> None:
    """Of eight tokens, which the prompt alone is longer than."""
    settings: dict[str, Any] = {**tiny.TINY["tiny-llama"].settings, "sliding_window": 8}
    model = tiny.make_model("mistral", {"vocab_size": tiny.VOCABULARY, **settings})
    model.save_pretrained(tmp_path / "mistral")
    tokenizer = open_tokenizer(sources.find("tiny-llama", None))
    tokenizer.save_pretrained(tmp_path / "mistral")
    classifier = make_classifier(str(tmp_path / "mistral"), "p-cls")
    assert len(classifier.prefix_ids) > 8
    assert apart(classifier, tmp_path / "model.onnx") < 1e-6


def test_words_of_several_tokens_take_more_than_one_pass(tmp_path: Path) -> None:
    words = ("good", "extraordinarily bad", "odd")
    classifier = make_classifier("tiny-gpt2", "lm", words, "sequence")
    with pytest.raises(UserError, match=r"a label word has [0-9]+ tokens, which takes"):
        write_onnx(classifier, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_one_file_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimcls.classifier.onnx.MOST", 100_000)
    with pytest.raises(UserError, match="more than one ONNX file holds"):
        write_onnx(make_classifier("tiny-gpt2", "cls"), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
