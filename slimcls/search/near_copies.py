"""Texts that nearly repeat another one, within a part and across the parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from zlib import crc32

from slimcls.data import texts
from slimcls.data.near_duplicates import near_repeats
from slimcls.data.pairs import Pair
from slimcls.search.answer import Finding
from slimcls.search.items import MOST_SEARCHED, Item, Items

#: Letters of a text that are compared: of ten pages the first.
BEGINNING = 2000
_REMEDY = "pool: true and near_duplicates: true in a dataset YAML take them out"
_WORDS = re.compile(r"\w+")


def near_copies(items: Items, parts: Mapping[str, str]) -> list[Finding]:
    """Texts that nearly repeat an earlier one, those across parts apart.

    ``parts`` has the part that each text (:func:`slimcls.data.texts.key`) goes into.
    """
    some = _worth_comparing(items)
    pairs = [
        (some.all[later], some.all[earlier])
        for later, earlier in near_repeats([_beginning(item.text) for item in some.all])
    ]
    if not pairs:
        return []

    def part(item: Item) -> str | None:
        return parts.get(texts.key(item.text))

    # What is in no part was taken out as a near-repeat already.
    across = sum(part(a) != part(b) and None not in (part(a), part(b)) for a, b in pairs)
    spec = items.sources.spec
    taken_out = spec.pool and spec.near_duplicates
    at_odds = sum(a.label != b.label for a, b in pairs)
    odd = f"; {at_odds:,} of them have another label than it" if at_odds else ""
    some_of = "" if len(some.all) == len(items.all) else _among(len(some.all))
    return [
        Finding(
            kind="near-repeat",
            sentence=f"texts that nearly repeat another: {len(pairs):,}, {across or 'none'} of "
            f"them one of another part{odd}{some_of}. Near-repeats across parts flatter a test"
            f"{'' if taken_out else '; ' + _REMEDY}",
            count=len(pairs),
            places=tuple(f"{some.places([a])[0]} and {some.places([b])[0]}" for a, b in pairs[:3]),
        )
    ]


def _beginning(text: str) -> str:
    """Of a pair, that of both texts."""
    return text.each(_beginning) if isinstance(text, Pair) else text[:BEGINNING]


def _among(count: int) -> str:
    return f" (looked for among {count:,} texts, chosen so that copies come together)"


def _worth_comparing(items: Items) -> Items:
    """At most MOST_SEARCHED; copies come together where that is a part.

    Two texts have the same smallest hash of a word with the chance that is their words' Jaccard
    similarity (min-wise hashing: Broder 1997).
    """
    if len(items.all) <= MOST_SEARCHED:
        return items
    order = sorted(range(len(items.all)), key=lambda place: _sketch(items.all[place].text))
    return Items(items.sources, [items.all[place] for place in sorted(order[:MOST_SEARCHED])])


def _sketch(text: str) -> int:
    words = {word.encode(errors="surrogatepass") for word in _WORDS.findall(text[:BEGINNING])}
    smallest = min(words, key=crc32, default=b"")
    return crc32(b"order" + smallest)
