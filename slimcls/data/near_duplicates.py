"""Texts that are nearly the same: word five-grams, Jaccard similarity, connected components."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import ceil, inf

import numpy as np
import numpy.typing as npt

from slimcls.data.pairs import Pair, parts_of
from slimcls.data.texts import key

#: Words in a row that count as one feature of a text.
WORDS = 5

#: Least share of common five-grams (of all that either text has) of near-duplicates.
ALIKE = 0.5

#: Texts that are compared with all others at a time.
_BLOCK = 256

#: Odd 64-bit factor of the rolling hash; products wrap around.
_FACTOR = 0x9E3779B97F4A7C15


def near_duplicate_groups(texts: Sequence[str]) -> list[int]:
    """The group of each text: the place of the first text that it is a near-duplicate of.

    Two texts are near-duplicates where the Jaccard similarity of their sets of word five-grams
    (case and punctuation ignored) is at least ``ALIKE``, or a chain of such pairs joins them.
    Texts of fewer than five words count as one feature, so they match only as a whole. Two pairs
    are near-duplicates where their first texts are and their second ones too.
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
    parts, found = _parts_of_pairs(texts), []
    # What all texts open with is shared by every two of them: a block of rows at a time.
    for start in range(0, len(texts), _BLOCK):
        both = (matrix[start : start + _BLOCK] @ matrix.T).tocoo()
        rows, cols = both.coords[0] + start, both.coords[1]
        alike = both.data >= ALIKE * (sizes[rows] + sizes[cols] - both.data)
        alike &= rows < cols
        rows, cols = rows[alike], cols[alike]
        if parts:
            pairs = zip(rows, cols, strict=True)
            same = np.array([_all_alike(parts[a], parts[b]) for a, b in pairs], bool)
            rows, cols = rows[same], cols[same]
        found.append(np.stack([rows, cols]))
    ends_of = np.concatenate(found, axis=1)
    edges = csr_array((np.ones(ends_of.shape[1]), tuple(ends_of)), shape=(len(texts), len(texts)))
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
        self._parts = _parts_of_pairs(texts)
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
            alike = _alike(mine, self._features[other])
            if alike and self._parts:
                alike = _all_alike(self._parts[place], self._parts[other])
            if alike and key(self.texts[place]) != key(self.texts[other]):
                return other
        return None


_Features = frozenset[int]


def _alike(mine: _Features, theirs: _Features) -> bool:
    both = len(mine & theirs)
    return both >= ALIKE * (len(mine) + len(theirs) - both)


def _all_alike(mine: Sequence[_Features], theirs: Sequence[_Features]) -> bool:
    """Whether each text of a pair is alike to that of the other pair at its place."""
    return all(map(_alike, mine, theirs))


def _parts_of_pairs(texts: Sequence[str]) -> list[tuple[_Features, ...]]:
    """The features of each text of each pair; nothing where there are no pairs.

    Where both texts are alike, the pairs' features are as well, since no feature of a first text is
    one of a second: who looks for pairs looks among those that are alike as a whole.
    """
    if not any(isinstance(text, Pair) for text in texts):
        return []
    found = zip(*(_features([parts_of(text)[at] for text in texts]) for at in (0, 1)), strict=True)
    return [tuple(frozenset(part.tolist()) for part in pair) for pair in found]


def _features(texts: Sequence[str]) -> list[npt.NDArray[np.uint64]]:
    numbers: dict[tuple[int, str], int] = {}
    features = []
    for text in texts:
        grams = []
        for place, part in enumerate(parts_of(text)):
            words = re.findall(r"[^\W_]+", part.casefold()) or [part]
            ids = [numbers.setdefault((place, word), len(numbers) + 1) for word in words]
            grams.append(_rolling(np.array(ids, dtype=np.uint64)))
        features.append(np.unique(np.concatenate(grams)))
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
