"""Two texts that are classified together: how they are held, named, cut, and told apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from slimcls.data.cutting import cut_text, cut_texts, may_exceed, shortened, tokens_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: The slots of a template, for a pair and for a text alone.
PAIR_SLOTS, TEXT_SLOTS = ("premise", "hypothesis"), ("text",)
#: What stands between both texts where there is no template.
BETWEEN = "\n"
#: A pair with room for less has no token of each text.
LEAST_TOKENS = 2

_WORDS = re.compile(r"\w\w+")


class Pair(str):
    """Two texts in their order; as a string both, a line end between them.

    All that looks at texts as strings so sees both. What takes a part of it, but for ``strip``,
    gives an ordinary string.
    """

    __slots__ = ("parts",)
    parts: tuple[str, str]

    def __new__(cls, first: str, second: str) -> Pair:
        """The pair of two texts."""
        made = super().__new__(cls, f"{first}{BETWEEN}{second}")
        made.parts = (str(first), str(second))
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return self.parts

    def strip(self, chars: str | None = None) -> Pair:
        """Both texts stripped."""
        return self.each(lambda part: part.strip(chars))

    def each(self, change: Callable[[str], str]) -> Pair:
        """Both texts changed alike."""
        return Pair(*map(change, self.parts))


def parts_of(text: str) -> tuple[str, ...]:
    """Both texts of a pair, or a text alone."""
    return text.parts if isinstance(text, Pair) else (text,)


def slots_of(template: str) -> tuple[str, ...]:
    """The slots that a template has, or should have, for what is classified."""
    is_pair = any(f"{{{slot}}}" in template for slot in PAIR_SLOTS)
    return PAIR_SLOTS if is_pair else TEXT_SLOTS


def template_fault(template: str) -> str:
    """Why nothing can be put into a template; empty where it can."""
    slots = [f"{{{slot}}}" for slot in (*slots_of(template), "label")]
    for slot in slots:
        if template.count(slot) != 1:
            return f"must hold {slot} exactly once"
    for slot, later in pairwise(slots):
        if template.index(slot) > template.index(later):
            return f"must have {slot} before {later}"
    return ""


def around_slots(template: str) -> list[str]:
    """What stands before, between and after the slots of a template, the label's included."""
    return re.split("|".join(rf"\{{{slot}\}}" for slot in (*slots_of(template), "label")), template)


def even(tokens: int) -> int:
    """The tokens of a pair that are kept, so many at most: as many of each text where both are cut.

    An odd one more would go to the text that is longer, which takes counting all of both.
    """
    return max(LEAST_TOKENS, tokens - tokens % 2)


def shares(first: int, second: int, most: int) -> tuple[int, int]:
    """Tokens of each text that are kept, ``most`` together, an even number: the longest first.

    The longer one loses tokens until both are equally long, then both lose alike: a text is never
    shorter than half of ``most`` where it had more. transformers' ``longest_first`` does the same.
    """
    half = most // 2
    return min(first, max(most - second, half)), min(second, max(most - first, half))


def cut_item(tokenizer: PreTrainedTokenizerFast, text: str, tokens: int) -> tuple[str, bool]:
    """A text, or both of a pair, with at most so many tokens, and whether anything was cut."""
    if not isinstance(text, Pair):
        return cut_text(tokenizer, text, tokens)
    if not may_exceed(text, tokens):
        return text, False
    one, other = (_count(tokenizer, part, tokens) for part in text.parts)
    kept = shares(one, other, even(tokens))
    cuts = [cut_text(tokenizer, part, most) for part, most in zip(text.parts, kept, strict=True)]
    if not any(was_cut for _, was_cut in cuts):
        return text, False
    return Pair(*(part for part, _ in cuts)), True


def cut_items(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], tokens: int
) -> list[tuple[str, bool]]:
    """What :func:`cut_item` gives for each."""
    if any(isinstance(text, Pair) for text in texts):
        return [cut_item(tokenizer, text, tokens) for text in texts]
    return cut_texts(tokenizer, texts, tokens)


def _count(tokenizer: PreTrainedTokenizerFast, text: str, tokens: int) -> int:
    """Tokens of a text; of one that has more than ``tokens``, more than that."""
    if not text:
        return 0
    return len(tokens_of(tokenizer, [shortened(tokenizer, text, tokens + 1)], whole=False)[0])


def as_words(text: str) -> str:
    """A text for what counts words: of a pair, words say which of the texts has them.

    The first text stands as it is. Of the second each word bears a mark, and those that it shares
    with the first, and those that only one of them has, come once more under marks of their own,
    with a word for the share, in tenths, of the second's words that the first has: a count of words
    sees in no other way that two texts overlap. A text alone stays as it is.
    """
    if not isinstance(text, Pair):
        return text
    first, second = (_WORDS.findall(part.casefold()) for part in text.parts)
    ours, theirs = set(first), set(second)
    both, new = sorted(ours & theirs), sorted(theirs - ours)
    tenths = 10 * len(both) // max(1, len(theirs))
    marked = [f"second_{word}" for word in second]
    marked += [f"both_{word}" for word in both] + [f"new_{word}" for word in new]
    marked += [f"gone_{word}" for word in sorted(ours - theirs)] + [f"shared_{tenths}_tenths"]
    return " ".join([text.parts[0], *marked])
