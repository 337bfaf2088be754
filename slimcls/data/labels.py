"""What a dataset's labels are called, and the class number of each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import compress

from slimcls.data.rows import BadRow, Rows, as_text, listed
from slimcls.data.spec import DatasetSpec
from slimcls.errors import UserError

#: No number of a class is as long, and Python turns no text of thousands of digits into one.
_MOST_DIGITS = 20

#: Values that are no label.
_NO_NAMES = (list, dict, bytes)

#: From so many rows on, a label column cannot have a class for every second row.
_ENOUGH_ROWS = 20


class Labels:
    """Class numbers of a dataset's label values.

    Values are class numbers where the labels' names come from the description or the source, else
    names (or numbers that serve as names). Of a row without a text in its columns ``texts`` no
    class is made.
    """

    def __init__(self, spec: DatasetSpec, column: str, train: Rows, texts: Sequence[str]) -> None:
        values = train.columns[column]
        self.column = column
        self._spec_names = spec.labels
        source_names = train.label_names.get(column, [])
        if not _all_class_numbers(values, len(source_names)):
            source_names = []
        if spec.labels:
            self.names = spec.labels
        elif source_names:
            self.names = tuple(source_names)
        else:
            self.names = _distinct(train, column, texts)
        if len(self.names) < 2:
            raise UserError(
                f"{train.where}: column {column} holds one class only ({self.names[0]!r}); "
                "a classifier needs two or more"
            )
        self._exact = {name: place for place, name in enumerate(self.names)}
        self._folded = _without_look_alikes(self.names)
        self._numbers = self._class_numbers(train, source_names)
        #: Names of rows that stood for a class by another case, with the class and their number.
        self._by_case: Counter[tuple[str, str]] = Counter()

    def _class_numbers(self, train: Rows, source_names: list[str]) -> dict[int, int]:
        """The source's class numbers to ours, by name where the source has names."""
        if not source_names:
            as_names = not self._spec_names or any(_as_int(n) is not None for n in self.names)
            return {} if as_names else {place: place for place in range(len(self.names))}
        found = {number: self._place(name) for number, name in enumerate(source_names)}
        if None in found.values():
            raise UserError(
                f"{train.where}: column {self.column} has the classes {listed(source_names)}; "
                f"the description says {listed(self.names)}"
            )
        return {number: place for number, place in found.items() if place is not None}

    def _place(self, name: str) -> int | None:
        """The class of that name; where none is exactly so, the one that differs in case only."""
        return self._exact.get(name, self._folded.get(name.casefold()))

    def number(self, rows: Rows, row: int) -> int:
        """The class number of a row; BadRow where it has none."""
        value = rows.columns[self.column][row]
        if isinstance(value, _NO_NAMES):
            raise _nested(rows, row, self.column)
        if self._numbers and (number := _as_int(value)) is not None and number in self._numbers:
            return self._numbers[number]
        name = _as_name(value)
        found = self._place(name)
        if found is not None:
            if name not in self._exact:
                self._by_case[name, self.names[found]] += 1
            return found
        if not name:
            raise rows.bad(row, f"no label in column {self.column}", lacks="label")
        whose = "described" if self._spec_names else "of train"
        problem = f"label {name!r} is not one of the classes {whose} ({listed(self.names)})"
        raise rows.bad(row, problem)

    def notes(self) -> list[str]:
        """What was made of names that differ in case only, of the rows seen so far."""
        alike = [name for name in self.names if name.casefold() not in self._folded]
        notes = []
        if alike:
            notes.append(
                f"labels {listed(alike)} differ in case only and are classes of their own; to "
                "merge them, name one of each under labels in a dataset YAML"
            )
        for (name, label), count in self._by_case.items():
            notes.append(f"{count} rows with the label {name} count as {label}")
        return notes


def _without_look_alikes(names: Sequence[str]) -> dict[str, int]:
    """The place of each name by its case-folded form, where no other name has the same."""
    folded = [name.casefold() for name in names]
    times = Counter(folded)
    return {name: place for place, name in enumerate(folded) if times[name] == 1}


def _nested(rows: Rows, row: int, column: str) -> BadRow:
    value = rows.columns[column][row]
    if isinstance(value, bytes):
        return rows.bad(row, f"column {column} holds bytes; a label is a text or a number")
    return rows.bad(row, f"column {column} holds a {type(value).__name__}; a text has one label")


def _all_class_numbers(values: Sequence[object], count: int) -> bool:
    return all(isinstance(value, int) and -1 <= value < count for value in values)


def _distinct(train: Rows, column: str, texts: Sequence[str]) -> tuple[str, ...]:
    # What is no text at all is said of its row later.
    cells = [[as_text(one) for one in train.columns[name]] for name in texts]
    there = [all(one is None or one.strip() for one in row) for row in zip(*cells, strict=True)]
    values = train.columns[column]
    used = list(compress(values, there))
    nested = [row for row, value in enumerate(values) if isinstance(value, _NO_NAMES)]
    names = {_as_name(value) for value in used if not isinstance(value, _NO_NAMES)} - {""}
    if not names and nested:
        raise _nested(train, nested[0], column)
    if not names:
        raise UserError(f"{train.where}: column {column} holds no label")
    if len(values) >= _ENOUGH_ROWS and len(names) > len(values) // 2:
        raise UserError(
            f"{train.where}: column {column} has {len(names)} different values in {len(values)} "
            "rows: these are no classes; name the right one with --label-column"
        )
    if all(_as_int(name) is not None for name in names):
        # As 1 and 01 are one number and two names.
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _as_int(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) < _MOST_DIGITS:
        return int(value) if value.strip().removeprefix("-").isdecimal() else None
    return None


def _as_name(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())
