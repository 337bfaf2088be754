"""Rows of data files: one by one as they are read, and the rows of a part together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from slimcls.errors import UserError


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


def as_text(value: object) -> str | None:
    """A cell as a text: numbers as they are written, nothing where it is empty.

    None for what is no text, such as a list.
    """
    if value is None or value != value:
        return ""
    return str(value) if isinstance(value, str | int | float) else None


class BadRow(UserError):
    """A row that cannot be used: of which source, where in it, and why.

    ``lacks`` is ``text`` or ``label`` where the row only lacks that, else empty.
    """

    def __init__(self, where: str, unit: str, number: int, problem: str, lacks: str = "") -> None:
        super().__init__(f"{where} {unit} {number}: {problem}")
        self.where, self.unit, self.number, self.problem = where, unit, number, problem
        self.lacks = lacks


class BadRows:
    """What becomes of bad rows: the first is an error, or all are left out and told in a note."""

    def __init__(self, *, skip: bool, advice: str = "") -> None:
        self.skip, self._advice = skip, advice
        self._left_out: dict[str, list[BadRow]] = {}

    def add(self, bad: BadRow) -> None:
        """Take note of a row. Raises UserError where none may be left out."""
        if not self.skip:
            raise UserError(f"{bad}{self._advice}") from None
        self._left_out.setdefault(bad.where, []).append(bad)

    def left_out(self) -> list[BadRow]:
        """All rows that were left out, source by source in their order."""
        return [
            row
            for rows in self._left_out.values()
            for row in sorted(rows, key=lambda row: row.number)
        ]

    def notes(self) -> list[str]:
        """How many rows of each source were left out, where they are, and why the first was."""
        notes = []
        for where, rows in self._left_out.items():
            rows = sorted(rows, key=lambda row: row.number)
            unit, numbers = rows[0].unit, [str(row.number) for row in rows]
            notes.append(
                f"{where}: bad rows left out: {len(rows)} ({unit} {listed(numbers)}); "
                f"{unit} {numbers[0]}: {rows[0].problem}"
            )
        return notes


#: For rows that are nobody's own file: the first bad one is an error.
STOP = BadRows(skip=False)
#: What the error says where the user's own file may go on without its bad rows.
ADVICE = " (--skip-bad-rows leaves such rows out)"


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

    def bad(self, row: int, problem: str, lacks: str = "") -> BadRow:
        """The error that a row cannot be used."""
        return BadRow(self.where, self.unit, self.numbers[row], problem, lacks)


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
