"""Which columns hold the text and the label, and what the labels are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from slimcls.data.rows import Rows
from slimcls.data.spec import DatasetSpec
from slimcls.errors import UserError

#: Names of columns that hold the text where nothing says which does.
TEXT_NAMES = frozenset(
    {"text", "sentence", "content", "body", "review", "comment", "question", "message"}
    | {"document", "tweet", "utterance", "headline", "description", "title", "query"}
)
_LABEL_NAMES = frozenset(
    {"label", "labels", "class", "category", "target", "sentiment", "topic", "intent"}
    | {"emotion", "coarse_label", "y"}
)
_PAIRS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("text", "text_pair"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "document"),
)

#: From so many rows on, a label column cannot have a class for every second row.
_ENOUGH_ROWS = 20


def choose(spec: DatasetSpec, rows: Rows) -> tuple[str, str]:
    """Names of the text and label columns: as given, or the only way to read the rows.

    Raises:
        UserError: no such column, text pairs, or more ways than one.
    """
    columns = rows.columns
    for flag, given in (("text", spec.text_column), ("label", spec.label_column)):
        if given and given not in columns:
            raise UserError.unknown(
                f"{flag} column in {rows.where}", given, columns, f"name it with --{flag}-column"
            )
    if spec.text_column and spec.text_column == spec.label_column:
        raise UserError(f"--text-column, --label-column: both are {spec.text_column}")
    if not spec.text_column:
        _refuse_pairs(rows)
    label = spec.label_column or _label_column(rows, spec.text_column)
    text = spec.text_column or _text_column(rows, label)
    label = label or _other(rows, text, "label")
    return text, label


def choose_text(where: object, names: Sequence[str], wanted: str | None) -> str:
    """The text column of rows without labels: as named, the only one, or the only one called so.

    Raises:
        UserError: no such column, or several that it could be.
    """
    if wanted is not None:
        if wanted not in names:
            raise UserError.unknown(f"text column in {where}", wanted, names)
        return wanted
    if len(names) == 1:
        return names[0]
    found = _named(names, TEXT_NAMES)
    if len(found) != 1:
        raise UserError(
            f"{where}: which column holds the text? name it with --text-column "
            f"(there are {', '.join(names)})"
        )
    return found[0]


def _refuse_pairs(rows: Rows) -> None:
    lower = {name.lower(): name for name in rows.columns}
    for first, second in _PAIRS:
        if first in lower and second in lower:
            raise UserError(
                f"{rows.where}: text pairs ({lower[first]}, {lower[second]}) are not supported; "
                "join them into one column, or name one with --text-column"
            )


def _named(columns: Iterable[str], names: frozenset[str]) -> list[str]:
    return [column for column in columns if column.lower() in names]


def _label_column(rows: Rows, text: str) -> str:
    """The label column where its name says so, else an empty name."""
    found = _named((name for name in rows.columns if name != text), _LABEL_NAMES)
    if len(found) > 1:
        raise _ambiguous(rows, "label", found)
    return found[0] if found else ""


def _text_column(rows: Rows, label: str) -> str:
    found = _named((name for name in rows.columns if name != label), TEXT_NAMES)
    if len(found) > 1:
        raise _ambiguous(rows, "text", found)
    if found:
        return found[0]
    if label:
        return _other(rows, label, "text")
    numeric = [name for name, values in rows.columns.items() if _all_numbers(values)]
    if len(rows.columns) == 2 and len(numeric) == 1:
        return _other(rows, numeric[0], "text")
    raise _ambiguous(rows, "text", list(rows.columns))


def _other(rows: Rows, known: str, wanted: str) -> str:
    others = [name for name in rows.columns if name != known]
    if len(others) == 1:
        return others[0]
    raise _ambiguous(rows, wanted, others)


def _all_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) or str(v).strip().lstrip("-").isdigit() for v in values)


def _ambiguous(rows: Rows, wanted: str, found: Sequence[str]) -> UserError:
    if not found:
        return UserError(f"{rows.where}: no {wanted} column (columns: {', '.join(rows.columns)})")
    return UserError(
        f"{rows.where}: which column is the {wanted}? name it with --{wanted}-column "
        f"({', '.join(found)})"
    )


class Labels:
    """Class numbers of a dataset's label values.

    Values are class numbers where the labels' names come from the description or the source, else
    names (or numbers that serve as names).
    """

    def __init__(self, spec: DatasetSpec, column: str, train: Rows) -> None:
        values = train.columns[column]
        self.column = column
        self._spec_names = spec.labels
        _refuse_nested(train, column)
        source_names = train.label_names.get(column, [])
        if not _all_class_numbers(values, len(source_names)):
            source_names = []
        if spec.labels:
            self.names = spec.labels
        elif source_names:
            self.names = tuple(source_names)
        else:
            self.names = _distinct(train, column)
        if len(self.names) < 2:
            raise UserError(
                f"{train.where}: column {column} holds one class only ({self.names[0]!r}); "
                "a classifier needs two or more"
            )
        self._by_name = {name: place for place, name in enumerate(self.names)}
        self._by_name |= {name.casefold(): place for name, place in self._by_name.items()}
        self._numbers = self._class_numbers(train, source_names)

    def _class_numbers(self, train: Rows, source_names: list[str]) -> dict[int, int]:
        """The source's class numbers to ours, by name where the source has names."""
        if not source_names:
            as_names = not self._spec_names or any(_as_int(n) is not None for n in self.names)
            return {} if as_names else {place: place for place in range(len(self.names))}
        folded = [name.casefold() for name in source_names]
        if not set(folded) <= set(self._by_name):
            raise UserError(
                f"{train.where}: column {self.column} has the classes {', '.join(source_names)}; "
                f"the description says {', '.join(self.names)}"
            )
        return {place: self._by_name[name] for place, name in enumerate(folded)}

    def number(self, rows: Rows, row: int) -> int:
        """The class number of a row; UserError where it has none."""
        value = rows.columns[self.column][row]
        if self._numbers and (number := _as_int(value)) is not None and number in self._numbers:
            return self._numbers[number]
        name = _as_name(value)
        found = self._by_name.get(name, self._by_name.get(name.casefold()))
        if found is not None:
            return found
        if not name:
            raise UserError(f"{rows.place(row)}: no label in column {self.column}")
        raise UserError(
            f"{rows.place(row)}: label {name!r} is not one of the classes "
            f"{'of train' if not self._spec_names else 'described'} ({_listed(self.names)})"
        )


def _refuse_nested(rows: Rows, column: str) -> None:
    for row, value in enumerate(rows.columns[column]):
        if isinstance(value, list | dict):
            raise UserError(
                f"{rows.place(row)}: column {column} holds a {type(value).__name__}; "
                "a text has one label"
            )


def _all_class_numbers(values: Sequence[Any], count: int) -> bool:
    return all(isinstance(value, int) and -1 <= value < count for value in values)


def _distinct(train: Rows, column: str) -> tuple[str, ...]:
    values = train.columns[column]
    names = {_as_name(value) for value in values} - {""}
    if not names:
        raise UserError(f"{train.where}: column {column} holds no label")
    if len(values) >= _ENOUGH_ROWS and len(names) > len(values) // 2:
        raise UserError(
            f"{train.where}: column {column} has {len(names)} different values in {len(values)} "
            "rows: these are no classes; name the right one with --label-column"
        )
    if all(_as_int(name) is not None for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def _as_int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal():
        return int(value)
    return None


def _as_name(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f", ... {len(names)} in all" if len(names) > most else ""
    return ", ".join(names[:most]) + more
