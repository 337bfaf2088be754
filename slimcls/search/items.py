"""The rows that a look at the data is taken at, and how they are named to a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from slimcls.data import texts
from slimcls.data.rows import BadRow
from slimcls.data.tables import Sources
from slimcls.errors import in_short

#: Items that a finding names.
NAMED = 5
#: Items that a search is made among which would take too long among all.
MOST_SEARCHED = 10_000


class Item(NamedTuple):
    """A row that has text and label."""

    part: str
    row: int
    """Its place among the rows of its part, from 0."""
    text: str
    label: int


@dataclass(frozen=True)
class Items:
    """Some rows of a dataset."""

    sources: Sources
    all: Sequence[Item]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes."""
        return self.sources.labels.names

    def sample(self) -> Items:
        """At most MOST_SEARCHED of them, drawn by a hash of the text, in their order."""
        if len(self.all) <= MOST_SEARCHED:
            return self
        order = sorted(
            range(len(self.all)), key=lambda place: texts.rank(self.all[place].text, "look")
        )
        return Items(self.sources, [self.all[place] for place in sorted(order[:MOST_SEARCHED])])

    def among(self) -> str:
        """How many were looked at, where that may not be all."""
        whole = len(self.all) < MOST_SEARCHED
        return "" if whole else f" (looked for among {len(self.all):,} texts)"

    def places(self, items: Iterable[Item]) -> tuple[str, ...]:
        """Where the first few stand."""
        first = [item for item, _ in zip(items, range(NAMED), strict=False)]
        rows = self.sources.rows
        return tuple(
            place_of(rows[item.part].where, rows[item.part].unit, rows[item.part].numbers[item.row])
            for item in first
        )


def place_of(where: str, unit: str, number: int) -> str:
    """Such as ``tickets.csv, line 12``."""
    return f"{Path(where).name}, {unit} {number}"


def places_of(rows: Iterable[BadRow]) -> tuple[str, ...]:
    """Where the first few of these rows stand."""
    found = [place_of(row.where, row.unit, row.number) for row in rows]
    return tuple(found[:NAMED])


def quoted(names: Iterable[str], most: int = NAMED) -> str:
    """The first few names in quotation marks, and how many there are."""
    found = list(names)
    shown = ", ".join(f"'{in_short(name)}'" for name in found[:most])
    return shown + (f", ... {len(found):,} in all" if len(found) > most else "")


def counted(count: int, noun: str, plural: str = "") -> str:
    """Such as ``1 row``, ``12 rows``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
