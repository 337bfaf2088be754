"""Rows of data files: one by one as they are read, and the rows of a part together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Row(NamedTuple):
    """One row of a file, or what is wrong with it."""

    number: int
    """The line that it begins on, from 1 as editors count; in a Parquet file the row, from 0."""
    values: dict[str, object]
    """By column. What Python has no plain type for is as pyarrow has it."""
    fault: str = ""
    """Why it cannot be used; empty for a good row."""
    unit: str = "line"
    """What its number counts."""

    @property
    def place(self) -> str:
        """Where it is in its file, for a message."""
        return f"{self.unit} {self.number}"


@dataclass
class Rows:
    """The rows of one part of a dataset, by column."""

    #: What to call the source in a message: a file, or a hub dataset and its split.
    where: str
    #: What its rows are counted in: "line" (from 1, as editors do) or "row" (from 0).
    unit: str
    #: Line or row number of each row.
    numbers: list[int]
    columns: Mapping[str, Sequence[object]]
    #: Names of the classes of integer columns, where the source has them.
    label_names: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, row: int) -> str:
        """Where the row is, for a message."""
        return f"{self.where} {self.unit} {self.numbers[row]}"


def repeated(names: Iterable[str]) -> str:
    """The first name that comes twice; empty where all differ.

    A row is read by its columns' names: of two with one name, one would be lost.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names in one line of a message, whatever they hold; of many the first."""
    shown = [" ".join(name.split()) for name in names]
    more = f", ... {len(shown)} in all" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
