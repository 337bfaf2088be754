"""The tokens of texts, and texts cut to a number of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from slimcls.data.lines import no_utf8
from slimcls.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: Letters for a token up to which a text is tokenised whole, without a look at the vocabulary.
_FEW = 64

#: Letters of the longest token of each tokenizer: asking for a vocabulary copies it, a tenth of a
#: second for 49,152 tokens.
_LONGEST: WeakKeyDictionary[PreTrainedTokenizerFast, int] = WeakKeyDictionary()


def tokens_of(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, whole: bool = True
) -> list[list[int]]:
    """Untruncated ids of each text; with the tokenizer's own beginning and end where ``whole``.

    Raises UserError for a text that UTF-8 cannot hold, or that the tokenizer fails on.
    """
    if not texts:
        return []
    if fault := no_utf8(texts):
        raise UserError(f"a text cannot be read: {fault}")
    with _said():
        found = tokenizer(
            list(texts), add_special_tokens=whole, truncation=False, padding=False, verbose=False
        )
    return [list(ids) for ids in found["input_ids"]]


@contextmanager
def _said() -> Iterator[None]:
    """A fault inside the tokenizer, such as a pattern that would take for ever, as one line."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise UserError(f"the tokenizer fails on a text: {str(error).splitlines()[0]}") from None


def shortened(tokenizer: PreTrainedTokenizerFast, text: str, tokens: int) -> str:
    """A beginning of the text that holds all of its first ``tokens`` tokens.

    A word of millions of letters would take minutes to tokenise. It is cut at twice the letters
    that so many tokens can have: what is cut off changes no token of the first half.
    """
    if len(text) <= _FEW * tokens:
        return text
    if tokenizer not in _LONGEST:
        _LONGEST[tokenizer] = max(map(len, tokenizer.get_vocab()))
    return text[: 2 * tokens * _LONGEST[tokenizer]]


def cut_texts(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], tokens: int
) -> list[tuple[str, bool]]:
    """What :func:`cut_text` gives for each; those that may be too long are counted together."""
    long = [place for place, text in enumerate(texts) if may_exceed(text, tokens)]
    begun = [shortened(tokenizer, texts[place], tokens) for place in long]
    ids = tokens_of(tokenizer, begun, whole=False)
    cuts = [(text, False) for text in texts]
    for place, beginning, found in zip(long, begun, ids, strict=True):
        if len(found) > tokens or beginning != texts[place]:
            cuts[place] = cut_text(tokenizer, texts[place], tokens)
    return cuts


def may_exceed(text: str, tokens: int) -> bool:
    """Whether a text may have more tokens: one of these tokenizers' holds a byte at least."""
    return len(text.encode(errors="surrogatepass")) > tokens


def cut_text(tokenizer: PreTrainedTokenizerFast, text: str, tokens: int) -> tuple[str, bool]:
    """The text up to where token number ``tokens`` begins, without blanks at its end."""
    if not may_exceed(text, tokens):
        return text, False
    shorter = shortened(tokenizer, text, tokens)
    while True:
        with _said():
            found = tokenizer(
                shorter, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
        if len(found["input_ids"]) <= tokens:
            return shorter, shorter != text
        shorter = shorter[: found["offset_mapping"][tokens][0]].rstrip()
        if not shorter:
            return "", True
