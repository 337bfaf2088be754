"""A saved tokenizer gives the same ids in plain transformers, whatever the text."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones.made_models import source_of
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from slimcls.backbones import sources, tiny
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import open_cut
from slimcls.errors import UserError

ODD = [
    "",
    " ",
    "   ",
    "\n\t",
    "a",
    "ends in <|endoftext|>",
    "</s>",
    "<s> starts with one",
    "<pad><pad>",
    "a <pad> b </s> c <|im_end|>",
    "Grüße aus 東京 🎉👩‍👩‍👧",
    "\u200b\ufeff zero width",
    "0123456789 3.14",
    "x" * 300,
    "a\0b",
]
MODELS = list(tiny.TINY)


@pytest.fixture(scope="module", params=MODELS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Our tokenizer, and the same opened again by plain transformers."""
    ours = open_tokenizer(sources.find(request.param))
    folder = tmp_path_factory.mktemp("tokenizer")
    ours.save_pretrained(folder)
    return ours, AutoTokenizer.from_pretrained(folder)


def test_saved_settings(both: Any):
    ours, plain = both
    for tokenizer in both:
        assert tokenizer.padding_side == tokenizer.truncation_side == "right"
        assert tokenizer.pad_token_id is not None
        assert tokenizer.model_max_length == tiny.CONTEXT
        assert tokenizer.split_special_tokens
    assert plain.pad_token == ours.pad_token


@pytest.mark.parametrize("text", ODD)
def test_same_ids_and_at_least_one(both: Any, text: str):
    ours, plain = both
    ids = plain(text)["input_ids"]
    assert ids == ours(text)["input_ids"]
    assert ids
    assert ours.pad_token_id not in ours(text, add_special_tokens=False)["input_ids"]
    assert ours.decode(ours(text, add_special_tokens=False)["input_ids"]) == text


def test_same_batch(both: Any):
    mine, theirs = (
        tokenizer(ODD, padding=True, truncation=True, max_length=20, return_tensors="pt")
        for tokenizer in both
    )
    assert torch.equal(mine["input_ids"], theirs["input_ids"])
    assert torch.equal(mine["attention_mask"], theirs["attention_mask"])
    assert mine["attention_mask"][:, 0].all()


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40) | st.sampled_from(["<pad>", "</s>", "<|endoftext|>"]))
@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-opt"])
def test_special_tokens_never_come_from_a_text(name: str, text: str):
    tokenizer = _opened(name)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert not set(ids) & set(tokenizer.all_special_ids)


_OPENED: dict[str, Any] = {}


def _opened(name: str) -> Any:
    if name not in _OPENED:
        _OPENED[name] = open_tokenizer(sources.find(name))
    return _OPENED[name]


@pytest.mark.parametrize("name", MODELS)
def test_plain_transformers_pools_alike_alone_and_in_a_batch(name: str, tmp_path: Path):
    """The empty text, texts that end in special tokens, and padding: one logit for each text."""
    source = sources.find(name)
    tokenizer = open_tokenizer(source)
    cut = open_cut(
        source, (0, 1), head="classification", labels="ab", pad_token_id=tokenizer.pad_token_id
    )
    cut.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    again = AutoTokenizer.from_pretrained(tmp_path)
    texts = [*ODD, "longer than the context " * 200]
    with torch.no_grad():
        together = plain(**again(texts, padding=True, truncation=True, return_tensors="pt")).logits
        for text, row in zip(texts, together, strict=True):
            alone = plain(**again(text, truncation=True, return_tensors="pt")).logits[0]
            torch.testing.assert_close(alone, row, rtol=1e-5, atol=1e-5)


def test_start_token_can_be_left_out():
    source = sources.find("tiny-gpt2")
    with_start, without = (open_tokenizer(source, never_empty=flag) for flag in (True, False))
    assert without("")["input_ids"] == []
    assert with_start("")["input_ids"] == [with_start.bos_token_id]
    ids = without("Some text.")["input_ids"]
    assert with_start("Some text.")["input_ids"] == [with_start.bos_token_id, *ids]


def test_a_start_token_of_its_own_is_not_doubled():
    tokenizer = open_tokenizer(sources.find("tiny-opt"))
    ids = tokenizer("text")["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id


def _opt_folder_as_on_the_hub(folder: Path) -> None:
    """OPT's official folders hold vocab.json, merges.txt and a note that a start token is put."""
    made = shutil.copytree(tiny.build("tiny-opt"), folder, dirs_exist_ok=True)
    backend = json.loads((made / "tokenizer.json").read_text())
    merges = [" ".join(m) if isinstance(m, list) else m for m in backend["model"]["merges"]]
    (made / "vocab.json").write_text(json.dumps(backend["model"]["vocab"]))
    (made / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (made / "tokenizer.json").unlink()
    note = {
        "tokenizer_class": "GPT2Tokenizer",
        "add_bos_token": True,
        "add_prefix_space": False,
        "bos_token": "</s>",
        "eos_token": "</s>",
        "unk_token": "</s>",
        "pad_token": "<pad>",
    }
    (made / "tokenizer_config.json").write_text(json.dumps(note))


def test_opt_folders_of_the_hub(tmp_path: Path):
    _opt_folder_as_on_the_hub(tmp_path)
    theirs, ours = open_tokenizer(source_of(tmp_path)), open_tokenizer(sources.find("tiny-opt"))
    for text in ODD:
        assert theirs(text)["input_ids"] == ours(text)["input_ids"]
    assert theirs.pad_token_id == 1


def test_tokenizer_without_pad_or_end_token(tmp_path: Path):
    folder = shutil.copytree(tiny.build("tiny-gpt2"), tmp_path, dirs_exist_ok=True)
    path = folder / "tokenizer_config.json"
    note = {k: v for k, v in json.loads(path.read_text()).items() if not k.endswith("_token")}
    path.write_text(json.dumps(note | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(UserError, match="neither a pad nor an end token"):
        open_tokenizer(source_of(folder))


@pytest.mark.parametrize("fault", ["missing", "broken", "too large"])
def test_faulty_tokenizers(tmp_path: Path, fault: str):
    folder = shutil.copytree(tiny.build("tiny-gpt2"), tmp_path, dirs_exist_ok=True)
    if fault == "missing":
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()
    elif fault == "broken":
        (folder / "tokenizer.json").write_text("{")
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    words = {
        "missing": "tokenizer",
        "broken": "cannot open its tokenizer",
        "too large": "tokenizer has token id 1023, the model 100 tokens",
    }
    with pytest.raises(UserError, match=re.escape(words[fault])) as refusal:
        open_tokenizer(source_of(folder))
    assert "\n" not in str(refusal.value)
