"""Where a text can be cut in two so that the tokens of both parts are the tokens of the whole.

Byte-level BPE reads a text piece by piece: a regular expression cuts it, and each piece gives its
tokens whatever stands around it. A place at which the expression always cuts is a *seam*.

The argument, for a printable sign or letter before the seam and a blank or line end behind it: no
piece that begins before it goes on behind it, because in none of the expressions below a blank
follows anything but blanks, and a line end nothing but blanks and signs; and since there is no look
behind, what is found from there on depends on the text from there on alone. Cutting off digits one
by one before that, composing characters (NFC: a blank composes with nothing), and tokens that are
looked for beforehand and hold no blank behind a sign change nothing about it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

#: Expressions by which byte-level tokenizers cut, beside GPT-2's own, which ``ByteLevel`` has built
#: in: those in the tokenizer.json of Llama 3 and of Qwen2 and its followers.
EXPRESSIONS = tuple(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + numbers + "|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for numbers in (r"\p{N}{1,3}", r"\p{N}")
)


class _Part(Protocol):
    """A step of a tokenizer, as the tokenizers library has it."""

    def __getstate__(self) -> bytes:
        """Its description in JSON."""


def is_seam(before: str, behind: str) -> bool:
    """Whether there is a seam between two characters, for a tokenizer that :func:`has_seams`."""
    return "!" <= before <= "~" and (behind == " " or (behind == "\n" and before.isalnum()))


def has_seams(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether the argument above holds for a transformers tokenizer; where in doubt, no."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    return (
        type(backend.model).__name__ == "BPE"
        and not backend.model.dropout
        and _kind(backend.normalizer) in (None, "NFC")
        and _cuts(backend.pre_tokenizer)
        and all(_is_whole(token) for token in backend.get_added_tokens_decoder().values())
    )


def _description(part: _Part | None) -> dict[str, Any]:
    """A part of a tokenizer as its file has it."""
    return json.loads(part.__getstate__()) if part is not None else {}


def _kind(part: _Part | None) -> str | None:
    return _description(part).get("type")


def _cuts(part: _Part | None) -> bool:
    """Whether the steps cut at every seam, and do nothing that looks beyond a piece."""
    step = _description(part)
    steps = step["pretokenizers"] if step.get("type") == "Sequence" else [step]
    found = False
    for step in steps:
        match step:
            case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": uses}:
                # Its letters stand for bytes: what came behind it would see no blank any more.
                return (found or bool(uses)) and step is steps[-1]
            case {"type": "Split", "pattern": {"Regex": r}, "behavior": "Isolated"} if (
                r in EXPRESSIONS and not step["invert"]
            ):
                found = True
            case {"type": "Digits"}:
                pass
            case _:
                return False
    return False


def _is_whole(token: AddedToken) -> bool:
    """Whether a token that is looked for beforehand can neither span a seam nor see across it."""
    text = token.content.lstrip()
    return not (token.single_word or token.rstrip or any(letter.isspace() for letter in text))
