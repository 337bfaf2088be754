"""Tiny models: small, fixed, real enough."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PATIENCE
from processes import started

from slimcls.backbones import sources, tiny
from slimcls.backbones.families import blocks_of, final_norm_of
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import open_cut, read_config


@pytest.fixture(params=tiny.TINY)
def name(request: pytest.FixtureRequest) -> str:
    """Name of a tiny model."""
    return str(request.param)


def test_shape(name: str):
    config = read_config(sources.find(name))
    shape = (config.vocab_size, config.max_position_embeddings, config.num_hidden_layers)
    assert shape == (tiny.VOCABULARY, tiny.CONTEXT, tiny.BLOCKS)
    assert config.hidden_size == tiny.HIDDEN
    assert config.num_attention_heads == tiny.HEADS


def test_building_one_shows_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    tiny._write(tiny.TINY["tiny-gpt2"], tmp_path)
    assert capfd.readouterr() == ("", "")


def test_the_same_on_every_build(name: str, tmp_path: Path):
    tiny._write(tiny.TINY[name], tmp_path)
    for file in sources.find(name).folder.iterdir():
        other = tmp_path / file.name
        assert hashlib.sha256(file.read_bytes()).digest() == (
            hashlib.sha256(other.read_bytes()).digest()
        ), file.name


def test_dropout_acts_in_training_only(name: str):
    cut = open_cut(sources.find(name), (0, 1), head="lm")
    text = torch.arange(5, 25).view(2, 10)
    with torch.no_grad():
        assert torch.equal(cut(input_ids=text).logits, cut(input_ids=text).logits)
        cut.train()
        assert not torch.equal(cut(input_ids=text).logits, cut(input_ids=text).logits)


def test_post_norm_row_is_opt_350m_in_small():
    model: Any = open_cut(sources.find("tiny-opt-post"), (0, 1), head="lm")
    assert final_norm_of(model) is None
    assert model.model.decoder.project_in is not None
    assert model.model.decoder.project_out is not None
    assert model.config.do_layer_norm_before is False
    assert len(blocks_of(model)) == 2


def test_norms_and_biases_are_not_trivial(name: str):
    model = open_cut(sources.find(name), (0,), head="lm")
    for key, parameter in model.named_parameters():
        assert parameter.std() > 0.05, key


def test_tokenizer_has_learnt_words(name: str):
    tokenizer = open_tokenizer(sources.find(name))
    assert len(tokenizer) == tiny.VOCABULARY
    for text in (" the", " people", " said", " film"):
        assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) <= 2
    spelled = tokenizer("Grüße, 你好!", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(spelled) == "Grüße, 你好!"


@pytest.mark.parametrize(
    "words",
    [
        ("Negative", "Positive"),
        ("World", "Sports", "Business", "Technology"),
        ("Abbreviation", "Entity", "Description", "Person", "Location", "Number"),
        ("Others", "Happy", "Sad", "Angry"),
        ("Business", "Entertainment", "Politics", "Sport", "Technology"),
    ],
)
def test_label_words_begin_differently(name: str, words: tuple[str, ...]):
    tokenizer = open_tokenizer(sources.find(name))
    first = {tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in words}
    assert len(first) == len(words)


def test_corpus_is_of_the_size_that_was_agreed():
    assert 1500 <= len(tiny._corpus().split()) <= 2500


@pytest.mark.fault("races")
def test_two_processes_build_one(tmp_path: Path):
    code = "import sys; from slimcls.backbones import tiny; print(tiny.build('tiny-neox'))"
    racers = [started("-c", code, SLIMCLS_CACHE=str(tmp_path)) for _ in range(2)]
    told = {racer.communicate(timeout=PATIENCE)[0] for racer in racers}
    assert len(told) == 1
    left = sorted(path.name for path in (tmp_path / "models").iterdir() if path.is_dir())
    assert left == [Path(told.pop().strip()).name]
