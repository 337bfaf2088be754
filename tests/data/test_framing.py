"""A tokenizer with a prompt in it: whoever opens its file gets the encoder's ids."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from data.small_tokenizers import KINDS, small_tokenizer
from data.test_seams import ODD, SPLITS, TEMPLATES, TEXTS, TINY, builder, made, plain, trained
from hypothesis import example, given, settings
from tokenizers import normalizers, processors
from transformers import AutoTokenizer

from slimcls.data import framing
from slimcls.data.encoding import FramedEncoder, TextEncoder
from slimcls.data.prompts import PromptBuilder
from slimcls.errors import UserError

TEMPLATE = TEMPLATES[0]
#: Tokenizers that look for tokens of their own in texts, as Qwen's and Pythia's do.
LOOKING: dict[str, dict[str, Any]] = {
    "qwen": {"<think>": {"normalized": False}},
    "pythia": {"__": {"normalized": True}, "___": {"normalized": True}},
}


@cache
def tokenizer_of(name: str) -> Any:
    if name in LOOKING:
        return trained(plain(), normalizers.NFC(), **LOOKING[name])
    return made(name)


NAMES = (*KINDS, *SPLITS, "gpt2", *TINY, *LOOKING)


@cache
def prompted(name: str, template: str = TEMPLATE, tokens: int = 30) -> PromptBuilder:
    return PromptBuilder(
        tokenizer_of(name), template=template, label_words=("Negative", "Positive"), context=500,
        demonstrations=[("slow and dull", 0), ("fine!", 1)], max_text_tokens=tokens, apart=True,
    )  # fmt: skip


@cache
def opened(name: str, folder: Path) -> Any:
    """The framed tokenizer, saved and opened by plain transformers."""
    encoder = prompted(name).framed
    assert encoder
    encoder.tokenizer.model_max_length = encoder.max_length
    encoder.tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def saved(name: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return opened(name, tmp_path_factory.mktemp(name))


@settings(max_examples=150)
@given(text=TEXTS)
@example(text="")
@example(text="  ")
@example(text="   ")
@example(text=" <think>")
@example(text="x <think>y\n")
@example(text="rain " * 60)
@example(text="\n" * 60 + ". " * 60)
@example(text="w" * 200)
def test_the_file_gives_the_ids_of_the_encoder(name: str, saved: Any, text: str) -> None:
    if re.search("[\ud800-\udfff]", text):
        return
    ours = prompted(name).encode([text]).ids
    assert saved([text], truncation=True)["input_ids"] == ours
    assert len(ours[0]) <= saved.model_max_length


@settings(max_examples=150)
@given(text=TEXTS)
@example(text="\u0301x")
@example(text="\x1c'")
@example(text="I <think> so")
@example(text="a   b")
def test_ids_are_those_of_the_whole_prompt(name: str, text: str) -> None:
    """For whatever is neither empty nor cut; for two kinds that join a sign to a line end behind it
    and, here alone, look for special tokens, as far as texts have none of both."""
    encoder = prompted(name, tokens=300)
    text = text.strip()
    if not text or re.search("[\ud800-\udfff]", text) or text in ("<think>", "<new>"):
        return
    if name in SPLITS and (not text[-1].isalnum() or "<end>" in text):
        return
    whole = encoder.tokenizer(encoder.prompt(text))["input_ids"]
    assert encoder.encode([text]).ids == [whole]


@settings(max_examples=50)
@given(text=TEXTS)
@example(text="  a <think>  b ")
def test_the_prompt_can_be_taken_out_again(name: str, saved: Any, text: str) -> None:
    if re.search("[\ud800-\udfff]", text):
        return
    encoder = prompted(name).framed
    assert encoder
    again = FramedEncoder(saved, context=500, max_text_tokens=30, shares=True)
    assert again.shared_prefix_ids() == encoder.shared_prefix_ids()
    bare = _bare(name, saved)
    assert bare(text)["input_ids"] == tokenizer_of(name)(text)["input_ids"]
    assert bare.model_max_length == 500


def test_nothing_else_of_the_file_changes(name: str, saved: Any) -> None:
    framed = prompted(name).framed
    assert framed
    own, with_prompt, without = (
        json.loads(tokenizer.backend_tokenizer.to_str())
        for tokenizer in (tokenizer_of(name), framed.tokenizer, _bare(name, saved))
    )
    for part in ("model", "pre_tokenizer", "decoder", "version"):
        assert with_prompt[part] == without[part] == own[part]
    for token in own["added_tokens"]:
        token["normalized"] |= not token["special"]
    assert with_prompt["added_tokens"] == without["added_tokens"] == own["added_tokens"]
    assert without["normalizer"] == own["normalizer"]


@cache
def _bare(name: str, saved: Any) -> Any:
    return FramedEncoder(saved, context=500, max_text_tokens=30, shares=True).without_prompt()


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_prefix_is_that_of_prompts_as_one_string(template: str) -> None:
    """As far as that one goes; it ends before a blank, and this one may end behind a line end."""
    framed = prompted("plain", template)
    whole = builder(tokenizer_of("plain"), template, ["slow and dull", "fine!"])
    begun = whole.shared_prefix_ids()
    assert framed.shared_prefix_ids()[: len(begun)] == begun
    for ids in framed.encode(list(ODD[:10])).ids:
        shared = framed.shared_prefix_ids()
        assert ids[: len(shared)] == shared
        assert len(ids) > len(shared)


def test_a_text_is_cut_and_never_the_prompt() -> None:
    encoder = prompted("gpt2")
    (short,), (long,) = encoder.encode([""]).ids, encoder.encode(["rain " * 100]).ids
    assert len(long) == len(short) + 30
    assert encoder.framed
    before, after = framing.ids_around(encoder.framed.tokenizer) or ([], [])
    assert (before, after) == (long[: len(before)], long[-len(after) :])
    found = encoder.encode(["rain", "rain " * 30, "rain " * 31, " " * 100_000 + "rain"])
    assert found.n_cut == 1
    assert found.ids[3] == found.ids[0]


def test_no_demonstrations_are_no_prefix() -> None:
    encoder = PromptBuilder(
        tokenizer_of("plain"), template=TEMPLATE, label_words=("bad", "good"), context=100,
        demonstrations=(), apart=True,
    )  # fmt: skip
    assert encoder.framed
    assert encoder.shared_prefix_ids() == []


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": normalizers.Prepend("_")},
        {"normalizer": normalizers.Replace("Review: a", "b")},
        {"post_processor": processors.RobertaProcessing(("<end>", 0), ("<end>", 0))},
    ],
)
def test_a_tokenizer_that_cannot_is_left_alone(change: dict[str, Any]) -> None:
    tokenizer = trained(plain())
    for name, part in change.items():
        setattr(tokenizer.backend_tokenizer, name, part)
    assert framing.framed(tokenizer, "Review: ", "\nMood:") is None
    with pytest.raises(UserError, match="has no prompt in it"):
        FramedEncoder(tokenizer, context=99, max_text_tokens=9, shares=True)


def test_blanks_are_those_of_python() -> None:
    every = [chr(code) for code in range(0x110000)]
    found = [letter for letter in every if re.fullmatch(framing._BLANKS, letter)]
    assert found == [letter for letter in every if letter.isspace()]


def test_without_a_prompt_it_strips_alone() -> None:
    tokenizer = small_tokenizer("begin")
    stripping = framing.framed(tokenizer, "", "")
    assert stripping
    assert framing.ids_around(stripping) is None
    encoder = TextEncoder(tokenizer, context=100)
    texts = ["", " \n", " rain\t", "\u00a01984\x1c", "é\r\n"]
    assert stripping(texts)["input_ids"] == encoder.encode(texts).ids
