"""How much of a text goes in where nobody says: data and tokenizer decide, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from scored import source

from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.data.encoding import DEFAULT_TOKENS
from slimcls.data.lengths import MOST_TOKENS, about_tokens, are_long, usual_tokens


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return open_tokenizer(source("tiny-gpt2"))


def words(tokenizer: Any, count: int, place: int) -> str:
    """A text of so many tokens."""
    ids = tokenizer(f"{place % 10}" + " a" * 2000, add_special_tokens=False)["input_ids"]
    text = tokenizer.decode(ids[:count])
    assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == count
    return text


def texts(tokenizer: Any, lengths: list[int]) -> list[str]:
    return [words(tokenizer, length, place) for place, length in enumerate(lengths)]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([20] * 100, 256),
        ([256] * 100, 256),
        ([257] * 5 + [20] * 95, 256),
        ([257] * 6 + [20] * 94, 320),
        ([320] * 90 + [900] * 5 + [20] * 5, 320),
        ([321] * 90 + [900] * 5 + [20] * 5, 384),
        ([449] * 100, 512),
        ([700] * 100, 512),
        ([700], 512),
    ],
)
def test_no_more_than_one_in_twenty_is_cut(
    tokenizer: Any, lengths: list[int], expected: int
) -> None:
    found = usual_tokens(texts(tokenizer, lengths), lambda: tokenizer)
    assert found == expected
    cut = sum(length > found for length in lengths) / len(lengths)
    assert cut <= 1 / 20 or found == MOST_TOKENS


def test_short_texts_need_no_tokenizer() -> None:
    short = ["rain and wind"] * 95 + ["x" * 900] * 5
    assert not are_long(short)
    assert usual_tokens(short, lambda: pytest.fail("opened")) == DEFAULT_TOKENS
    assert are_long([*short, "x" * 900])


def test_many_texts_are_looked_at_here_and_there(tokenizer: Any) -> None:
    """A file sorted by length is not taken for its beginning."""
    long, short = words(tokenizer, 300, 0), words(tokenizer, 20, 0)
    assert usual_tokens([short] * 4000 + [long] * 1000, lambda: tokenizer) == 320


def test_blanks_around_a_text_do_not_count_and_long_words_cost_nothing(tokenizer: Any) -> None:
    assert usual_tokens([" " * 9000 + "rain"] * 30, lambda: tokenizer) == DEFAULT_TOKENS
    assert usual_tokens(["x" * 10**6] * 30, lambda: tokenizer) == MOST_TOKENS


@pytest.mark.parametrize(
    ("lengths", "most", "expected"),
    [
        ([40], None, 10),
        ([40, 80], None, 15),
        ([40, 4000], 20, 15),
        ([4_000_000], None, MOST_TOKENS),
    ],
)
def test_tokens_of_a_text_are_told_from_its_letters(
    lengths: list[int], most: int | None, expected: float
) -> None:
    assert about_tokens(["x" * length for length in lengths], most) == expected
