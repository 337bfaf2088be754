"""A prompt whose demonstrations were tokenised once has the ids of the whole string."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from data.shared_data import gpt2_tokenizer_folder
from data.small_tokenizers import KINDS, SENTENCES, small_tokenizer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, trainers
from tokenizers import pre_tokenizers as steps
from transformers import PreTrainedTokenizerFast

from slimcls.data import seams
from slimcls.data.prompts import PromptBuilder

TINY = ("tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox")
SPLITS = ("llama-3", "qwen2")
TEMPLATES = (
    "Review: {text}\nSentiment:{label}",
    "{text}\nSentiment:{label}",
    "{text} It was{label}, they said.",
    "« {text} »\n\n{label}",
    "{text}\t=>{label};;",
)
ODD = (
    *("<|endoftext|>", "<end>", "</s>", "<|im_start|>", "<new>", "{label}", "{text}", "\n", "\r\n"),
    *(" ", "  ", "\t", "\u00a0", "\u2028", "\u200b", "\x1c", "...", ")", "'s", "'", "_", "1984"),
    *("½", "😀", "e\u0301", "\u0301", "é", "中文", "Review:", " Negative", "a", "ﬁ", "\ud7ff"),
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(ODD), max_size=10).map("".join))


def trained(
    pre_tokenizer: Any, normalizer: Any = None, model: Any = None, special: bool = True, **more: Any
) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(model or models.BPE(unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    kind: Any = trainers.WordPieceTrainer if model else trainers.BpeTrainer
    alphabet = steps.ByteLevel.alphabet()
    trainer = kind(
        vocab_size=600, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*SENTENCES * 3, "the end.\n\nNew) line:\n"], trainer)
    for token, options in more.items():
        tokenizer.add_tokens([AddedToken(token.replace("_", " "), **options)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>", padding_side="right",
        split_special_tokens=special,
    )  # fmt: skip


def expression(which: int) -> Any:
    parts = [
        steps.Split(Regex(seams.EXPRESSIONS[which]), "isolated"),
        steps.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return steps.Sequence(parts)


@cache
def made(name: str) -> Any:
    if name in KINDS:
        return small_tokenizer(name)
    if name in SPLITS:
        normalizer = normalizers.NFC() if name == "qwen2" else None
        return trained(expression(SPLITS.index(name)), normalizer, special=False, new={})
    if name == "gpt2":
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(gpt2_tokenizer_folder(), split_special_tokens=True)
    from slimcls.backbones import sources, tokenizers

    return tokenizers.open_tokenizer(sources.find(name, None))


@pytest.fixture(
    scope="module",
    params=[
        *(*KINDS, *SPLITS, "gpt2", *TINY),
        pytest.param("smollm2-135m", marks=pytest.mark.slow),
    ],
)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return made(request.param)


def builder(tokenizer: Any, template: str, shown: list[str]) -> PromptBuilder:
    return PromptBuilder(
        tokenizer, template=template, label_words=("Negative", "Positive"), context=4000,
        demonstrations=[(text, place % 2) for place, text in enumerate(shown)],
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    template=st.sampled_from(TEMPLATES),
    shown=st.lists(TEXTS, min_size=1, max_size=3),
    texts=st.lists(TEXTS, min_size=1, max_size=3),
)
@example(template=TEMPLATES[0], shown=["dull"], texts=["", "  \n ", "\u0301x", "\x1c'", "<new> s"])
def test_ids_are_those_of_the_whole_prompt(
    tokenizer: Any, template: str, shown: list[str], texts: list[str]
) -> None:
    made = builder(tokenizer, template, shown)
    whole = [tokenizer(made.prompt(made.cut(text)[0]))["input_ids"] for text in texts]
    assert made.encode(texts).ids == whole


def test_demonstrations_are_not_tokenised_again(tokenizer: Any, monkeypatch: Any) -> None:
    made = builder(tokenizer, TEMPLATES[0], ["slow and dull", "warm and funny"])
    made.encode(["so-so"])
    seen: list[str] = []
    tokenise = type(tokenizer).__call__

    def noted(self: Any, text: Any, *more: Any, **options: Any) -> Any:
        seen.extend([text] if isinstance(text, str) else text)
        return tokenise(self, text, *more, **options)

    monkeypatch.setattr(type(tokenizer), "__call__", noted)
    made.encode(["fine", "so-so"])
    assert seen == [" fine\nSentiment:", " so-so\nSentiment:"]


def plain() -> Any:
    return steps.ByteLevel(add_prefix_space=False)


def by_chance() -> Any:
    """BPE that would leave out merges at random, too seldom for a test to see it."""
    tokenizer = trained(plain())
    tokenizer.backend_tokenizer.model.dropout = 1e-9
    return tokenizer


UNSAFE = {
    "a blank put first": lambda: trained(steps.ByteLevel(add_prefix_space=True)),
    "no expression": lambda: trained(steps.ByteLevel(add_prefix_space=False, use_regex=False)),
    "an unknown expression": lambda: trained(
        steps.Sequence([steps.Split(Regex(r"\w+\s*"), "isolated"), plain()])
    ),
    "pieces put together": lambda: trained(
        steps.Sequence([steps.Split(Regex(seams.EXPRESSIONS[0]), "merged_with_next"), plain()])
    ),
    "steps behind the bytes": lambda: trained(steps.Sequence([plain(), steps.Metaspace()])),
    "blanks as letters": lambda: trained(steps.Metaspace()),
    "a beginning put on": lambda: trained(plain(), normalizers.Prepend("x")),
    "letters that change": lambda: trained(plain(), normalizers.NFKD()),
    "words": lambda: trained(plain(), model=models.WordPiece(unk_token="<end>")),
    "a token with a blank": lambda: trained(plain(), Sentiment={}, t_o={}),
    "a token that takes blanks": lambda: trained(plain(), Review={"rstrip": True}),
    "a token that looks around": lambda: trained(plain(), Review={"single_word": True}),
    "chance": by_chance,
}


@pytest.mark.parametrize("name", UNSAFE)
def test_where_in_doubt_nothing_is_promised(name: str) -> None:
    assert not seams.has_seams(UNSAFE[name]())


@pytest.mark.parametrize(
    "name", ["a blank put first", "an unknown expression", "a token with a blank", "chance"]
)
def test_where_nothing_is_promised_the_whole_prompt_is_tokenised(name: str) -> None:
    tokenizer = UNSAFE[name]()
    made = builder(tokenizer, TEMPLATES[0], ["slow and dull", "warm"])
    for text in ("so-so", "t o", "", "x Review: y"):
        assert made.encode([text]).ids == [tokenizer(made.prompt(text))["input_ids"]]


def test_what_is_no_tokenizer_of_the_library_has_no_seams() -> None:
    assert not seams.has_seams(object())


@pytest.mark.parametrize(
    ("before", "behind", "expected"),
    [
        ("a", " ", True), (":", " ", True), ("9", "\n", True), ("a", "\n", True),
        (":", "\n", False), ("é", " ", False), (" ", " ", False), ("\n", " ", False),
        ("a", "\t", False), ("a", "b", False), ("a", "\u00a0", False),
    ],
)  # fmt: skip
def test_seams(before: str, behind: str, expected: bool) -> None:
    assert seams.is_seam(before, behind) == expected
