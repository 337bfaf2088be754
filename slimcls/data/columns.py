"""Which columns hold the text, or the two texts of a pair, and the label."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

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
#: What follows the names of all columns where one was misspelt.
_NAME_IT = "name it with --{}-column"
#: Names of two columns that hold text pairs.
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


def choose_columns(spec: DatasetSpec, rows: Rows) -> tuple[tuple[str, ...], str]:
    """Names of the text column, or of a pair's two, and of the label column.

    They are as given, or the only way to read the rows. Columns called as those of pairs are one.

    Raises:
        UserError: no such column, or more ways than one.
    """
    columns = rows.columns
    texts = named_columns(rows.where, columns, spec.text_column) if spec.text_column else ()
    if spec.label_column and spec.label_column not in columns:
        raise UserError.unknown(
            f"label column in {rows.where}", spec.label_column, columns, _NAME_IT.format("label")
        )
    if spec.label_column in texts:
        raise UserError(f"--text-column, --label-column: both are {spec.label_column}")
    if len(texts) == len(columns) > 1:
        raise UserError(
            f"--text-column {spec.text_column}: these are all columns of {rows.where}, as a pair "
            "of texts; none is left for the label"
        )
    texts = texts or _pair_columns(columns, spec.label_column)
    label = spec.label_column or _label_column(rows, texts)
    texts = texts or (_text_column(rows, label),)
    label = label or _other(rows, texts, "label")
    return texts, label


def named_columns(where: object, there: Collection[str], wanted: str) -> tuple[str, ...]:
    """The column of that name, or the two whose names stand there, a comma between them.

    Raises:
        UserError: no such column, or others than two.
    """
    if wanted in there:
        return (wanted,)
    names = tuple(name.strip() for name in wanted.split(","))
    for name in names:
        if name not in there:
            raise UserError.unknown(f"text column in {where}", name, there, _NAME_IT.format("text"))
    if len(names) != 2 or names[0] == names[1]:
        raise UserError(
            f"--text-column {wanted}: name one column, or the two of text pairs as in "
            "premise,hypothesis"
        )
    return names


def choose_text_columns(
    where: object,
    names: Sequence[str],
    wanted: str | None,
    pair: tuple[str, str] | None = None,
) -> tuple[str, ...]:
    """The text column of rows without labels: as named, the only one, or the only one called so.

    Where ``pair`` says what the columns of text pairs were called, the two columns of such: as
    named, called so again, or called as those of pairs are.

    Raises:
        UserError: no such column, or several that it could be.
    """
    found: tuple[str, ...] = ()
    if wanted is not None:
        found = named_columns(where, names, wanted)
        if len(found) > 1 and pair is None:
            raise UserError(f"--text-column {wanted}: texts are classified here, not pairs of them")
    elif pair is not None:
        found = pair if set(pair) <= set(names) else _pair_columns(names, "")
    elif len(names) == 1:
        found = (names[0],)
    else:
        found = tuple(_named(names, TEXT_NAMES))
    if len(found) == (2 if pair else 1):
        return found
    what = "columns hold the two texts of a pair" if pair else "column holds the text"
    as_in = f" as in --text-column {','.join(pair)}" if pair else " with --text-column"
    raise UserError(
        f"{where}: which {what}? name {'them' if pair else 'it'}{as_in} (there are {listed(names)})"
    )


def _pair_columns(names: Iterable[str], label: str) -> tuple[str, ...]:
    """The two columns of text pairs, where they are called so; else nothing."""
    lower = {name.strip().lower(): name for name in names if name != label}
    for pair in _PAIRS:
        if all(name in lower for name in pair):
            return tuple(lower[name] for name in pair)
    return ()


def _named(columns: Iterable[str], names: frozenset[str]) -> list[str]:
    return [column for column in columns if column.strip().lower() in names]


def _label_column(rows: Rows, texts: Collection[str]) -> str:
    """The label column where its name says so, else an empty name."""
    found = _named((name for name in rows.columns if name not in texts), _LABEL_NAMES)
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
        return _other(rows, (label,), "text")
    numeric = [name for name, values in rows.columns.items() if _all_numbers(values)]
    if len(rows.columns) == 2 and len(numeric) == 1:
        return _other(rows, (numeric[0],), "text")
    raise _ambiguous(rows, "text", list(rows.columns))


def _other(rows: Rows, known: Collection[str], wanted: str) -> str:
    others = [name for name in rows.columns if name not in known]
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
