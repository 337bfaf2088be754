"""What a person should know of their own rows: labels at odds, lone rows, near-copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from slimcls.data import texts
from slimcls.data.pairs import parts_of
from slimcls.data.pooling import Table
from slimcls.data.rows import Rows

#: With more texts the search for near-copies would take longer than many a training.
MOST_COMPARED = 20_000
#: Rows that a remark names.
_NAMED = 3


class _Seen(NamedTuple):
    """Where a text stands first, and its class number."""

    rows: Rows
    row: int
    label: int

    @property
    def place(self) -> str:
        return self.rows.place(self.row)


class Remarks:
    """Remarks on the rows of one's own files, as they were read: nothing is pooled yet."""

    def __init__(
        self, sources: Mapping[str, Rows], parts: Mapping[str, Table], labels: Sequence[str]
    ) -> None:
        self._labels = labels
        self._first: dict[str, _Seen] = {}
        self._at_odds: dict[str, _Seen] = {}
        self._rows: Counter[int] = Counter()
        self._last: dict[int, _Seen] = {}
        for part, table in parts.items():
            for row, text, label in zip(table.ids, table.texts, table.labels, strict=True):
                self._see(texts.key(text), _Seen(sources[part], row, label))

    def _see(self, key: str, seen: _Seen) -> None:
        self._rows[seen.label] += 1
        self._last[seen.label] = seen
        if self._first.setdefault(key, seen).label != seen.label:
            self._at_odds.setdefault(key, seen)

    def on_labels(self) -> list[str]:
        """Texts with several labels, and classes of one row."""
        notes = []
        if self._at_odds:
            pairs = [
                f"{self._said(self._first[key])} and {self._said(other)}"
                for key, other in self._at_odds.items()
            ]
            notes.append(f"texts with several labels: {len(pairs)} ({_some(pairs)})")
        lone = [self._last[label] for label, count in self._rows.items() if count == 1]
        if lone:
            notes.append(f"classes of one row only: {len(lone)} ({_some(map(self._said, lone))})")
        return notes

    def _said(self, seen: _Seen) -> str:
        return f"{seen.place}: {' '.join(self._labels[seen.label].split())}"

    def on_near_copies(self, parts: Mapping[str, Table]) -> list[str]:
        """Texts of validation and test that are nearly one of train, or of each other."""
        from slimcls.data.near_duplicates import near_duplicates_among

        total = sum(map(len, parts.values()))
        if total > MOST_COMPARED:
            return [f"near-copies across parts were not looked for: over {MOST_COMPARED} texts"]
        earlier: list[str] = []
        counts, pairs = [], []
        for part in ("train", "validation", "test"):
            mine = parts[part].texts if part in parts else []
            found = near_duplicates_among(mine, earlier)
            if found:
                counts.append(f"{len(found)} in {part}")
            pairs += [f"{self._at(mine[a])} and {self._at(earlier[b])}" for a, b in found]
            earlier = earlier + mine
        if not pairs:
            return []
        return [
            f"near-copies of texts of another part: {', '.join(counts)} ({_some(pairs)}); figures "
            "flatter; pool: true and near_duplicates: true in a dataset YAML take them out"
        ]

    def on_shared_texts(self, parts: Mapping[str, Table]) -> list[str]:
        """Pairs of validation and test of which one text, at its place, is one of train's."""
        known = {half for text in parts["train"].texts for half in _halves(text)}
        counts = []
        for part in ("validation", "test"):
            mine = parts[part].texts if part in parts else []
            if found := sum(not known.isdisjoint(_halves(text)) for text in mine):
                counts.append(f"{found} of {len(mine)} in {part}")
        if not counts:
            return []
        return [
            f"pairs that share one of their texts with a pair of train: {', '.join(counts)}; "
            "figures say little of pairs of new texts"
        ]

    def _at(self, text: str) -> str:
        return self._first[texts.key(text)].place


def _halves(text: str) -> list[tuple[int, str]]:
    """Each text of a pair with its place; of a text alone nothing."""
    parts = parts_of(text)
    return [(at, texts.key(part)) for at, part in enumerate(parts)] if len(parts) > 1 else []


def _some(named: Iterable[str]) -> str:
    """The first few in a line, and that there are more."""
    shown = list(named)
    return "; ".join(shown[:_NAMED]) + ("; ..." if len(shown) > _NAMED else "")
