"""When two texts count as the same, and an order of texts that depends on nothing but a seed."""

from __future__ import annotations

import hashlib
import re

from slimcls.data.pairs import Pair

_NOT_LETTERS = re.compile(r"[\W_]+")
_NOT_LETTERS_ASCII = bytes(code for code in range(128) if not chr(code).isalnum())


def key(text: str) -> str:
    """Texts with equal keys are the same text: case-folded, runs of whitespace are one blank.

    Two pairs are the same where both texts are.
    """
    if isinstance(text, Pair):
        return "\n".join(map(key, text.parts))
    return " ".join(text.casefold().split())


def letters(text: str) -> str:
    """Case-folded letters and digits alone; the key of a text that has neither.

    Copies of one text that differ in punctuation, case or spacing agree in it.
    """
    if text.isascii():
        kept = text.lower().encode().translate(None, _NOT_LETTERS_ASCII).decode()
    else:
        kept = _NOT_LETTERS.sub("", text.casefold())
    return kept or key(text)


def rank(text: str, stream: str) -> tuple[bytes, str]:
    """A pseudo-random sort key: SHA-256 of the stream's name and ``letters(text)``, then the text.

    Sorting by it shuffles; the order is the same on every machine, with every library version,
    and whatever order or copy of the data the texts came from.
    """
    seen = f"{stream}\0{letters(text)}".encode(errors="surrogatepass")
    return hashlib.sha256(seen).digest()[:16], text
