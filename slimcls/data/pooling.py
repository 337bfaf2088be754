"""One pool of rows into train, validation and test: 80/10/10 by class, by a hash of the text."""

from __future__ import annotations

from dataclasses import dataclass, field

from slimcls.data import texts


@dataclass
class Table:
    """The rows of one part: where they stood in the source, texts stripped, class numbers."""

    ids: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, id: int, text: str, label: int) -> None:
        """Another row."""
        self.ids.append(id)
        self.texts.append(text)
        self.labels.append(label)

    def select(self, places: list[int]) -> Table:
        """The rows at these places, in this order."""
        return Table(
            [self.ids[place] for place in places],
            [self.texts[place] for place in places],
            [self.labels[place] for place in places],
        )


def split_pool(pooled: Table, *, near_duplicates: bool) -> tuple[dict[str, Table], list[str]]:
    """Train, validation and test tables, and what was dropped.

    Repeated texts are dropped, near-duplicates too on request; of several, the one that comes
    first by hash stays. The same texts give the same parts in whatever order they come, and where
    copies differ in case and punctuation only.
    """
    order = sorted(range(len(pooled)), key=lambda row: texts.rank(pooled.texts[row], "pool"))
    unique, notes = _without_repeats(pooled.select(order))
    if near_duplicates:
        from slimcls.data.near_duplicates import near_duplicate_groups

        firsts = sorted(set(near_duplicate_groups(unique.texts)))
        notes.append(
            f"{len(pooled)} texts pooled; {len(unique) - len(firsts)} near-duplicates dropped"
        )
        unique = unique.select(firsts)
    parts = _eighty_ten_ten(unique)
    counts = ", ".join(f"{name} {len(table)}" for name, table in parts.items())
    notes.append(f"split 80/10/10 by class and a hash of the text: {counts}")
    return parts, notes


def _without_repeats(table: Table) -> tuple[Table, list[str]]:
    first: dict[str, int] = {}
    other_label = 0
    for row, text in enumerate(table.texts):
        kept = first.setdefault(texts.key(text), row)
        other_label += table.labels[kept] != table.labels[row]
    repeats = len(table) - len(first)
    notes = []
    if repeats:
        notes.append(f"{repeats} repeated texts dropped ({other_label} with another label)")
    return table.select(list(first.values())), notes


def _eighty_ten_ten(table: Table) -> dict[str, Table]:
    places: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    by_class: dict[int, list[int]] = {label: [] for label in sorted(set(table.labels))}
    for row, label in enumerate(table.labels):
        by_class[label].append(row)
    for rows in by_class.values():
        tenth = (len(rows) + 5) // 10 or int(len(rows) >= 3)
        places["test"] += rows[:tenth]
        places["validation"] += rows[tenth : 2 * tenth]
        places["train"] += rows[2 * tenth :]
    return {name: table.select(sorted(rows)) for name, rows in places.items()}
