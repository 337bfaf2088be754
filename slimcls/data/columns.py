"""Which columns hold the text and the label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slimcls.data.rows import Rows, listed
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


def choose_columns(spec: DatasetSpec, rows: Rows) -> tuple[str, str]:
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


def choose_text_column(where: object, names: Sequence[str], wanted: str | None) -> str:
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
            f"(there are {listed(names)})"
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
    return [column for column in columns if column.strip().lower() in names]


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


def _all_numbers(values: Sequence[object]) -> bool:
    return all(isinstance(v, int | float) or str(v).strip().lstrip("-").isdigit() for v in values)


def _ambiguous(rows: Rows, wanted: str, found: Sequence[str]) -> UserError:
    if not found:
        return UserError(f"{rows.where}: no {wanted} column (columns: {listed(rows.columns)})")
    return UserError(
        f"{rows.where}: which column is the {wanted}? name it with --{wanted}-column "
        f"({listed(found)})"
    )
