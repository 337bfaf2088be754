"""The tokens of texts, and texts cut to a number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def tokens_of(tokenizer: Any, texts: Sequence[str], *, whole: bool = True) -> list[list[int]]:
    """Untruncated ids of each text; with the tokenizer's own beginning and end where ``whole``."""
    if not texts:
        return []
    found = tokenizer(
        list(texts), add_special_tokens=whole, truncation=False, padding=False, verbose=False
    )
    return [list(ids) for ids in found["input_ids"]]


def cut_all(tokenizer: Any, texts: Sequence[str], tokens: int) -> list[tuple[str, bool]]:
    """What :func:`cut` gives for each text; those that may be too long are counted together."""
    long = [place for place, text in enumerate(texts) if _may_exceed(text, tokens)]
    ids = tokens_of(tokenizer, [texts[place] for place in long], whole=False)
    cuts = [(text, False) for text in texts]
    for place, found in zip(long, ids, strict=True):
        if len(found) > tokens:
            cuts[place] = cut(tokenizer, texts[place], tokens)
    return cuts


def _may_exceed(text: str, tokens: int) -> bool:
    """Whether a text may have more tokens: one of these tokenizers' holds a byte at least."""
    return len(text.encode(errors="surrogatepass")) > tokens


def cut(tokenizer: Any, text: str, tokens: int) -> tuple[str, bool]:
    """The text up to where token number ``tokens`` begins, without blanks at its end."""
    if not _may_exceed(text, tokens):
        return text, False
    shorter = text
    while True:
        found = tokenizer(
            shorter, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        if len(found["input_ids"]) <= tokens:
            return shorter, shorter != text
        shorter = shorter[: found["offset_mapping"][tokens][0]].rstrip()
        if not shorter:
            return "", True
