"""Tokenizers with fewer tokens: every text encodes, and one with all its tokens as before."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from data.test_framing import prompted
from data.test_seams import made
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from slimcls.data.framing import with_description
from slimcls.data.trimming import Vocabulary
from slimcls.errors import UserError

SEEN = ["the film was warm and funny", "dull, slow and far too long", "who wrote the letter?"]


def names_of(tokenizer: Any, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


@cache
def trimmed(name: str) -> tuple[Any, Any, list[int]]:
    """A tokenizer, the same with a third of its tokens, and these by their ids before."""
    whole = made(name)
    vocabulary = Vocabulary(whole)
    counts = Counter(token for text in SEEN for token in whole(text)["input_ids"])
    least = len(vocabulary.least([]))
    kept = vocabulary.kept(counts, least + (len(vocabulary.ids) - least) // 3)
    return whole, vocabulary.tokenizer_of(kept), kept


NAMES = ("gpt2", "begin", "digits", "tiny-llama", "tiny-opt")


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(max_size=60) | st.lists(st.sampled_from(" ".join(SEEN).split())).map(" ".join))
@settings(max_examples=40)
@example(text="")
@example(text="<end></s><|endoftext|><pad>")
def test_every_text_encodes_and_one_with_all_its_tokens_as_before(name: str, text: str) -> None:
    whole, fewer, kept = trimmed(name)
    before, now = whole(text)["input_ids"], fewer(text)["input_ids"]
    if set(before) <= set(kept):
        assert [kept[token] for token in now] == before
    else:
        assert len(now) >= len(before)
    assert fewer.decode(now) == whole.decode(before)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_smaller_and_opens_from_its_folder(name: str, tmp_path: Path) -> None:
    whole, fewer, kept = trimmed(name)
    assert len(fewer.get_vocab()) == len(kept) < len(whole.get_vocab()) - 100
    assert sorted(fewer.get_vocab().values()) == list(range(len(kept)))
    fewer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    texts = [*SEEN, "something else, in Köln", "</s>"]
    assert again(texts)["input_ids"] == fewer(texts)["input_ids"]
    assert again.pad_token == fewer.pad_token


def test_what_is_seen_often_stays_then_what_was_learnt_first() -> None:
    whole = made("plain")
    vocabulary = Vocabulary(whole)
    least = vocabulary.least([])
    (seen,) = whole(" the", add_special_tokens=False)["input_ids"]
    by_rank = sorted(set(vocabulary.ids.values()) - {vocabulary.ids[name] for name in least})
    # Nothing counted: tokens in the order in which they were learnt.
    assert set(by_rank[:20]) <= set(vocabulary.kept({}, len(least) + 20))
    kept = vocabulary.kept({by_rank[-1]: 5, seen: 1}, len(least) + 20)
    assert {by_rank[-1], seen} <= set(kept)
    assert len(kept) <= len(least) + 20


def test_a_prompt_stays_whole() -> None:
    encoder = prompted("tiny-llama").framed
    assert encoder
    vocabulary = Vocabulary(encoder.tokenizer)
    kept = vocabulary.kept({}, len(vocabulary.least([])))
    fewer = vocabulary.tokenizer_of(kept)
    # What the text itself has may fall apart; what is around it may not.
    before, now = encoder.tokenizer("")["input_ids"], fewer("")["input_ids"]
    assert [kept[token] for token in now] == before


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (models.BPE({"a": 0}, [], ignore_merges=True), "ignore_merges"),
        (models.BPE({"a": 0}, [], continuing_subword_prefix="##"), "continuing_subword_prefix"),
        (models.WordPiece({"[UNK]": 0}), "a WordPiece, and only one of byte-pair merges"),
        (models.Unigram([("a", 0.0)]), "a Unigram, and only one of byte-pair merges"),
    ],
)
def test_other_tokenizers_are_refused(model: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as fault:
        Vocabulary(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model)))
    assert "\n" not in str(fault.value)


def test_fewer_than_single_bytes_are_refused() -> None:
    vocabulary = Vocabulary(made("plain"))
    least = len(vocabulary.least([]))
    assert least >= 256
    with pytest.raises(UserError, match=f"are {least} already; give at least as many"):
        vocabulary.kept({}, least - 1)
    assert len(vocabulary.kept({}, least)) == least


def test_ids_in_an_older_kind_of_template_follow() -> None:
    """As RoBERTa's tokenizers have it."""
    described = json.loads(made("plain").backend_tokenizer.to_str())
    number = made("plain").get_vocab()["<end>"]
    pair = ["<end>", number]
    described["post_processor"] = {
        "type": "RobertaProcessing", "sep": pair, "cls": pair, "trim_offsets": True,
        "add_prefix_space": False,
    }  # fmt: skip
    vocabulary = Vocabulary(with_description(made("plain"), described))
    kept = vocabulary.kept({}, 300)
    ids = vocabulary.tokenizer_of(kept)("a")["input_ids"]
    assert [kept[ids[0]], kept[ids[-1]]] == [number, number]
