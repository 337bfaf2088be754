"""Parquet files: their rows, batch by batch, and the names of their classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcls.data.lines import badly_saved, no_utf8
from slimcls.data.rows import Row, Rows, repeated
from slimcls.errors import UserError
from slimcls.storage.json_files import parse_json

if TYPE_CHECKING:
    import pyarrow.parquet

#: Rows in memory at a time.
BATCH = 1024


def open_parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    """A Parquet file whose columns can be told apart. Raises UserError where it is none."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({_first_line(error)})") from None
    if twice := repeated(names):
        raise UserError(f"{path}: two columns are called {twice!r}; rename one")
    return file


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows, a batch in memory at a time."""
    import pyarrow

    file = open_parquet(path)
    names = file.schema_arrow.names
    number = 0
    try:
        # One thread: a table this small is read no faster by several.
        for batch in file.iter_batches(BATCH, use_threads=False):
            for cells in zip(*map(_cells, batch.columns), strict=True):
                yield Row(number, dict(zip(names, cells, strict=True)), badly_saved(cells), "row")
                number += 1
    except (OSError, pyarrow.ArrowException) as error:
        problem = f"cannot be read from row {number} on ({_first_line(error)})"
        raise UserError(f"{path}: {problem}") from None


def _cells(column: pyarrow.Array) -> list[object]:
    """Texts, numbers and truth values as Python's own, all else as it is; None where null."""
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        try:
            return list(column.to_pylist())
        except UnicodeDecodeError:
            return [_undecoded(cell) for cell in column]
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return list(column.to_pylist())
    return [cell if cell.is_valid else None for cell in column]


def _undecoded(cell: pyarrow.Scalar) -> str | None:
    """A text whose bytes may be no UTF-8, kept as :func:`~slimcls.data.lines.open_text` does."""
    import pyarrow

    if not cell.is_valid:
        return None
    text = cell.value if isinstance(cell, pyarrow.DictionaryScalar) else cell
    return str(text.as_buffer().to_pybytes(), "utf-8", "surrogateescape")


def as_python(path: Path, rows: Rows) -> Rows:
    """The rows with Python's own values only, and the names that the file has for their classes.

    None stands for what Python has nothing like, such as a day of the year 10000.
    """
    columns = {name: list(map(_plain, column)) for name, column in rows.columns.items()}
    names = class_names(open_parquet(path).schema_arrow.metadata)
    return replace(rows, columns=columns, label_names=names)


def _plain(value: Any) -> object:
    if value is None or isinstance(value, str | int | float):
        return value
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return None


def class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Names of the classes by column, from a Parquet schema's metadata.

    They stand under ``label_names`` (JSON), or in what the datasets library writes. What cannot be
    the names of classes is passed over.
    """
    info = _object(_parsed(metadata, b"huggingface").get("info"))
    features = {column: _object(kind) for column, kind in _object(info.get("features")).items()}
    classes = {
        c: kind.get("names") for c, kind in features.items() if kind.get("_type") == _CLASSES
    }
    given = _parsed(metadata, b"label_names") or classes
    found = {column: _names(names) for column, names in given.items()}
    return {column: names for column, names in found.items() if names}


#: What the datasets library calls a column of class numbers.
_CLASSES = "ClassLabel"


def _parsed(metadata: Mapping[bytes, bytes] | None, key: bytes) -> dict[str, object]:
    try:
        return _object(parse_json((metadata or {}).get(key, b"{}")))
    except ValueError:
        return {}


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _names(given: object) -> list[str]:
    """Distinct names that can be shown; none where one is not."""
    if not isinstance(given, list) or not all(isinstance(name, str | int) for name in given):
        return []
    names = [str(name) for name in given]
    shown = all(map(str.strip, names)) and not no_utf8(names)
    return names if shown and not repeated(names) else []
