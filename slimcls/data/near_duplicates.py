"""Texts that are nearly the same: word five-grams, Jaccard similarity, connected components."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import ceil, inf

import numpy as np
import numpy.typing as npt

from slimcls.data.texts import key

#: Words in a row that count as one feature of a text.
WORDS = 5

#: Least share of common five-grams (of all that either text has) of near-duplicates.
ALIKE = 0.5

#: Odd 64-bit factor of the rolling hash; products wrap around.
_FACTOR = 0x9E3779B97F4A7C15


def near_duplicate_groups(texts: Sequence[str]) -> list[int]:
    """The group of each text: the place of the first text that it is a near-duplicate of.

    Two texts are near-duplicates where the Jaccard similarity of their sets of word five-grams
    (case and punctuation ignored) is at least ``ALIKE``, or a chain of such pairs joins them.
    Texts of fewer than five words count as one feature, so they match only as a whole.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    if not texts:
        return []
    features = _features(texts)
    sizes = np.array([len(found) for found in features])
    _, columns = np.unique(np.concatenate(features), return_inverse=True)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    ones = np.ones(len(columns), dtype=np.float32)
    matrix = csr_array((ones, columns, ends), shape=(len(texts), int(columns.max()) + 1))
    both = (matrix @ matrix.T).tocoo()
    rows, cols = both.coords
    alike = both.data >= ALIKE * (sizes[rows] + sizes[cols] - both.data)
    edges = csr_array((np.ones(int(alike.sum())), (rows[alike], cols[alike])), shape=both.shape)
    _, component = connected_components(edges, directed=False)
    first: dict[int, int] = {}
    return [first.setdefault(int(group), place) for place, group in enumerate(component)]


def near_duplicates_among(texts: Sequence[str], others: Sequence[str]) -> list[tuple[int, int]]:
    """Each text that is a near-duplicate of another one among ``others``, and the first such.

    A text that another repeats but for case and blanks is none.
    """
    found = _Found([*others, *texts])
    for place in range(len(others)):
        found.add(place)
    pairs = []
    for place in range(len(others), len(found.texts)):
        if (other := found.first_alike(place)) is not None:
            pairs.append((place - len(others), other))
    return pairs


#: Texts that share one feature, none a near-duplicate of another, that are compared with more.
CROWD = 200


def near_repeats(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Each text that is a near-duplicate of an earlier one, and that one, which is none itself.

    A text that another repeats but for case and blanks is none. Of a feature that many texts share
    which are not alike the first CROWD count: what all of them open with tells none apart.
    """
    found = _Found(texts, CROWD)
    pairs = []
    for place in range(len(texts)):
        other = found.first_alike(place)
        if other is None:
            found.add(place)
        else:
            pairs.append((place, other))
    return pairs


class _Found:
    """Texts by their rarest features.

    Of two alike, each has some of the other's among as many as are over what they must have in
    common, and one more: the others are not looked up.
    """

    def __init__(self, texts: Sequence[str], crowd: float = inf) -> None:
        self.texts, self._crowd = texts, crowd
        self._features = [frozenset(found.tolist()) for found in _features(texts)]
        times = Counter(feature for found in self._features for feature in found)
        self._rarest = [
            sorted(found, key=lambda f: (times[f], f))[: len(found) - ceil(ALIKE * len(found)) + 1]
            for found in self._features
        ]
        self._index: dict[int, list[int]] = {}

    def add(self, place: int) -> None:
        """A text that others may be alike to."""
        for feature in self._rarest[place]:
            sharing = self._index.setdefault(feature, [])
            if len(sharing) < self._crowd:
                sharing.append(place)

    def first_alike(self, place: int) -> int | None:
        """The first of the added texts that this one is alike to."""
        mine = self._features[place]
        near = {other for feature in self._rarest[place] for other in self._index.get(feature, ())}
        for other in sorted(near):
            theirs = self._features[other]
            both = len(mine & theirs)
            alike = both >= ALIKE * (len(mine) + len(theirs) - both)
            if alike and key(self.texts[place]) != key(self.texts[other]):
                return other
        return None


def _features(texts: Sequence[str]) -> list[npt.NDArray[np.uint64]]:
    numbers: dict[str, int] = {}
    features = []
    for text in texts:
        words = re.findall(r"[^\W_]+", text.casefold()) or [text]
        ids = np.array([numbers.setdefault(w, len(numbers) + 1) for w in words], dtype=np.uint64)
        features.append(np.unique(_rolling(ids)))
    return features


def _rolling(ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One 64-bit hash for every run of WORDS ids (or for all of a shorter text)."""
    width = min(WORDS, len(ids))
    count = len(ids) - width + 1
    total = np.zeros(count, dtype=np.uint64)
    for offset in range(width):
        total = (total ^ ids[offset : offset + count]) * np.uint64(_FACTOR)
        total ^= total >> np.uint64(29)
    return total
