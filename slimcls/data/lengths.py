"""How much of a text goes in where nobody says: as much as nineteen in twenty texts have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from slimcls.data.cutting import may_exceed, shortened, tokens_of
from slimcls.data.encoding import DEFAULT_TOKENS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: Share of the texts that may be cut.
CUT = 1 / 20
#: Tokens that are never exceeded unasked: a step takes memory and time for the longest text in it.
MOST_TOKENS = 512
#: Tokens by which more are tried: a few texts more or less seldom change the answer.
STEP = 64
#: Characters of a token, roughly, in English.
CHARACTERS = 4
#: Texts that are looked at, evenly spaced in their file.
LOOKED_AT = 1000


def usual_tokens(texts: Sequence[str], tokenizer: Callable[[], PreTrainedTokenizerFast]) -> int:
    """Tokens of a text that are kept where nobody says how many and the context allows it.

    That is DEFAULT_TOKENS, or of more, in steps, the least that cuts no more than one in twenty of
    these texts, and MOST_TOKENS where none does. It follows from texts and tokenizer alone, so that
    it is the same on every machine and for every seed; ``tokenizer`` is asked for where short texts
    do not answer already.
    """
    if not are_long(texts):
        return DEFAULT_TOKENS
    opened = tokenizer()
    begun = [shortened(opened, text, MOST_TOKENS) for text in _some(texts)]
    lengths = [len(ids) for ids in tokens_of(opened, begun, whole=False)]
    for tokens in range(DEFAULT_TOKENS, MOST_TOKENS, STEP):
        if not _too_many([length > tokens for length in lengths]):
            return tokens
    return MOST_TOKENS


def are_long(texts: Sequence[str]) -> bool:
    """Whether it takes a tokenizer to say how much of these texts goes in."""
    return _too_many([may_exceed(text, DEFAULT_TOKENS) for text in _some(texts)])


def about_tokens(texts: Sequence[str], most: int | None) -> float:
    """Tokens of a text in the mean, from its characters: no tokenizer is needed.

    ``most`` is how many are kept of a text; None where nobody says.
    """
    some = [min(len(text) / CHARACTERS, most or MOST_TOKENS) for text in _some(texts)]
    return sum(some) / len(some)


def _some(texts: Sequence[str]) -> list[str]:
    return [text.strip() for text in texts[:: -(-len(texts) // LOOKED_AT) or 1]]


def _too_many(cut: Sequence[bool]) -> bool:
    return sum(cut) > CUT * len(cut)
