"""The one reader of data files, for training, predicting, baselines and scoring: row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from slimcls.data import parquet
from slimcls.data.columns import choose_text_columns
from slimcls.data.delimited import delimited_rows
from slimcls.data.lines import json_rows, text_rows
from slimcls.data.pairs import Pair
from slimcls.data.rows import STOP, BadRow, BadRows, Row, Rows, as_text
from slimcls.errors import UserError

#: How each kind of file is read, by the end of its name.
READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".txt": text_rows,
    ".csv": delimited_rows,
    ".tsv": delimited_rows,
    ".jsonl": json_rows,
    ".parquet": parquet.parquet_rows,
}
#: The kinds with columns, which may hold a dataset.
TABLE_FILES = tuple(suffix for suffix in READERS if suffix != ".txt")


def stream_rows(path: Path) -> Iterator[Row]:
    """The rows of a file in their order, bad ones too; only a part of it is in memory.

    Raises UserError where the file as a whole cannot be read, or holds no row.
    """
    empty = True
    for row in READERS[path.suffix.lower()](path):
        empty = False
        yield row
    if empty:
        raise UserError(f"{path}: holds no rows")


def read_rows(path: Path, bad_rows: BadRows = STOP) -> Rows:
    """All good rows of a file.

    Raises UserError as :func:`stream_rows` does, for a bad row that may not be left out, and where
    no row is good.
    """
    rows = []
    for row in stream_rows(path):
        if row.fault:
            bad_rows.add(BadRow(str(path), row.unit, row.number, row.fault))
        else:
            rows.append(row)
    if not rows:
        raise UserError(f"{path}: none of its rows can be used; {bad_rows.notes()[0]}")
    names = dict.fromkeys(name for row in rows for name in row.values)
    columns = {name: [row.values.get(name) for row in rows] for name in names}
    found = Rows(str(path), rows[0].unit, [row.number for row in rows], columns)
    return parquet.as_python(path, found) if path.suffix.lower() == ".parquet" else found


def stream_texts(
    path: Path, column: str | None, size: int, pair: tuple[str, str] | None = None
) -> Iterator[list[tuple[Row, str]]]:
    """The rows of a file, ``size`` at a time, each with its text; one without is a bad row.

    Args:
        path: the file.
        column: names the column of the texts; where None, the first chunk settles it.
        size: rows of a chunk.
        pair: what the two columns of text pairs were called, where pairs are wanted.

    Raises:
        UserError: as :func:`stream_rows` does, or the column is not there or not clear.
    """
    if pair and path.suffix.lower() == ".txt":
        raise UserError(
            f"{path}: has a text a line, and text pairs take two; give a file of columns"
        )
    if column is not None and path.suffix.lower() == ".txt":
        raise UserError(f"--text-column {column}: {path} has no columns")
    rows = stream_rows(path)
    chosen: tuple[str, ...] = ()
    while chunk := list(islice(rows, size)):
        good = [row for row in chunk if not row.fault]
        if good and not chosen:
            names = dict.fromkeys(name for row in good for name in row.values)
            chosen = choose_text_columns(path, list(names), column, pair)
        yield [with_text(row, chosen) for row in chunk]


def with_text(row: Row, columns: Sequence[str]) -> tuple[Row, str]:
    """A row and the text in its column, or the pair in its two; without one it is a bad row."""
    if row.fault:
        return row, ""
    texts = []
    for column in columns:
        text = as_text(row.values.get(column))
        if text is None or row.values.get(column) is None:
            return row._replace(fault=f"no text under {column!r}"), ""
        if not text.strip():
            of = f" under {column!r}" if len(columns) > 1 else ""
            return row._replace(fault=f"the text{of} is empty"), ""
        texts.append(text)
    return row, Pair(*texts) if len(texts) > 1 else texts[0]
