"""What the texts are made of: how long, in which script, and whether they are texts at all."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from slimcls.data import texts
from slimcls.data.lengths import MOST_TOKENS
from slimcls.search.answer import Finding
from slimcls.search.items import Item, Items, quoted

#: Words; a sign of a script without blanks between words counts as one.
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+")
_CHINESE_OR_JAPANESE = {"CJK", "HIRAGANA", "KATAKANA"}
#: Words that as many tokens hold of an ordinary text at least: more is cut.
LONG = MOST_TOKENS
#: Least share of a second script, of one-word texts, of long texts that is worth a sentence.
SHARE = 0.01
#: Share of texts that make a column look like ids.
MOSTLY = 0.9
#: Letters that tell the script of a text.
_LETTERS = 200


def make_up(items: Items, every: Sequence[Item]) -> list[Finding]:
    """Lengths, scripts, and what speaks against the column; of many rows a sample is looked at.

    ``every`` are all rows that have text and label, repeats included.
    """
    some = items.sample()
    return [*_on_column(items, every), *_lengths(some), *_scripts(some)]


def _on_column(items: Items, every: Sequence[Item]) -> list[Finding]:
    column = items.sources.text
    different = len({texts.key(item.text) for item in every})
    findings = []
    if 10 * different <= len(every):
        findings.append(
            Finding(
                kind="few different texts",
                sentence=f"column {quoted([column])} holds {different:,} different texts in "
                f"{len(every):,} rows: it looks like a category; --text-column names another",
                count=different,
            )
        )
    ids = [item for item in items.all if _like_an_id(item.text)]
    if len(ids) >= MOSTLY * len(items.all):
        findings.append(
            Finding(
                kind="id-like text",
                sentence=f"column {quoted([column])} looks like numbers or ids: {len(ids):,} texts "
                "are one piece with digits; --text-column names another",
                count=len(ids),
                places=items.places(ids),
            )
        )
    return findings


def _like_an_id(text: str) -> bool:
    return len(text.split()) == 1 and any(sign.isdecimal() for sign in text)


def words_in(text: str) -> int:
    """How many words a text has."""
    return len(_WORDS.findall(text))


def _lengths(some: Items) -> list[Finding]:
    words = np.array([words_in(item.text) for item in some.all])
    low, middle, high = np.percentile(words, (5, 50, 95))
    findings = [
        Finding(
            kind="length",
            sentence=f"a text has {middle:.0f} words in the median, nine in ten have {low:.0f} to "
            f"{high:.0f}, the longest {words.max():,}{some.among()}",
            count=len(some.all),
        )
    ]
    for kind, which, said in (
        ("one word", words <= 1, "texts of one word or none, with little to learn from"),
        ("very long", words > LONG, f"texts of more than {LONG} words, only begun by a model"),
    ):
        rows = [item for item, odd in zip(some.all, which, strict=True) if odd]
        if len(rows) > SHARE * len(some.all):
            findings.append(
                Finding(
                    kind=kind,
                    sentence=f"{said}: {len(rows):,}, {len(rows) / len(some.all):.1%}"
                    f"{some.among()}",
                    count=len(rows),
                    places=some.places(rows),
                )
            )
    return findings


def _scripts(some: Items) -> list[Finding]:
    found = [script_of(item.text) for item in some.all]
    shares = [(script, count / len(found)) for script, count in Counter(found).most_common()]
    main = shares[0][0]
    others = [item for item, script in zip(some.all, found, strict=True) if script != main]
    if main == "Latin" and len(others) < max(2, SHARE * len(found)):
        return []
    said = ", ".join(f"{script} {share:.1%}" for script, share in shares[:5])
    advice = (
        "; a model that was trained on English above all is weak in other languages"
        if main != "Latin" or len(others) > 0.1 * len(found)
        else ""
    )
    return [
        Finding(
            kind="script",
            sentence=f"scripts of the texts: {said}{advice}{some.among()}",
            count=len(others) if main == "Latin" else len(found),
            places=some.places(others if main == "Latin" else some.all),
        )
    ]


def script_of(text: str) -> str:
    """The script of most of its first letters, such as Latin or Cyrillic; else ``no letters``."""
    head = text[:_LETTERS]
    if head.isascii():
        return "Latin" if any(map(str.isalpha, head)) else "no letters"
    counts = Counter(_script(sign) for sign in head if sign.isalpha())
    return counts.most_common(1)[0][0] if counts else "no letters"


@lru_cache(maxsize=100_000)
def _script(letter: str) -> str:
    """The first word of the letter's name in Unicode, which is its script but for few."""
    first = unicodedata.name(letter, "unknown").split()[0].split("-")[0]
    if first in _CHINESE_OR_JAPANESE:
        return "Chinese or Japanese"
    return "Latin" if first in ("FULLWIDTH", "FEMININE", "MASCULINE") else first.capitalize()
