"""Rows of .csv, .tsv, .jsonl and .parquet files, each with the place to look for it in the file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slimcls.errors import UserError

#: Told the place ("line 7") and what is wrong with the row there.
BadRow = Callable[[str, str], None]


@dataclass
class Rows:
    """The rows of one part of a dataset, by column."""

    #: What to call the source in a message: a file, or a hub dataset and its split.
    where: str
    #: What its rows are counted in: "line" (from 1, as editors do) or "row" (from 0).
    unit: str
    #: Line or row number of each row.
    numbers: list[int]
    columns: dict[str, list[Any]]
    #: Names of the classes of integer columns, where the source has them.
    label_names: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, row: int) -> str:
        """Where the row is, for a message."""
        return f"{self.where} {self.unit} {self.numbers[row]}"


def read(path: Path) -> Rows:
    """All rows of a file.

    Raises:
        UserError: no such file, an empty one, one that cannot be parsed (with the line), or bytes
            that are not UTF-8.
    """
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    numbers: list[int] = []
    columns: dict[str, list[Any]] = {}
    for number, row in iterate(path):
        for name in [name for name in row if name not in columns]:
            columns[name] = [None] * len(numbers)
        numbers.append(number)
        for name, values in columns.items():
            values.append(row.get(name))
    if not numbers:
        raise UserError(f"{path}: holds no rows")
    return Rows(str(path), "line", numbers, columns)


def iterate(path: Path, bad: BadRow | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a text file one by one, with the line that each begins on.

    Args:
        path: a .csv, .tsv or .jsonl file.
        bad: told of rows that cannot be read, which are then left out; without it they are errors.

    Raises:
        UserError: as :func:`read`.
    """

    def refuse(place: str, problem: str) -> None:
        raise UserError(f"{path} {place}: {problem}")

    text = decoded(path)
    if path.suffix.lower() == ".jsonl":
        return _json_rows(text, bad or refuse)
    return _delimited_rows(path, text, bad or refuse)


def decoded(path: Path) -> str:
    """The whole text of a UTF-8 file. Raises UserError as :func:`read`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise UserError(
            f"{path} line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8"
        ) from None
    if not text.strip():
        raise UserError(f"{path}: the file is empty")
    return text


def _json_rows(text: str, bad: BadRow) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            bad(f"line {number}", f"not JSON: {error}")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            bad(f"line {number}", "not a JSON object of column names and values")


def _delimited_rows(path: Path, text: str, bad: BadRow) -> Iterator[tuple[int, dict[str, Any]]]:
    records = _records(path, text, bad)
    _, header = next(records)
    names = [name.strip() for name in header]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path} line 1: two columns are called {twice!r}; rename one")
    for number, values in records:
        if len(values) == len(names):
            yield number, dict(zip(names, values, strict=True))
        else:
            bad(f"line {number}", f"{len(values)} values for {len(names)} columns")


def _records(path: Path, text: str, bad: BadRow) -> Iterator[tuple[int, list[str]]]:
    tabs = path.suffix.lower() == ".tsv"
    csv.field_size_limit(2**31 - 1)
    options: dict[str, Any] = {"delimiter": "\t" if tabs else delimiter(text), "strict": True}
    if tabs and not quotes_balance(io.StringIO(text, newline="")):
        options["quoting"] = csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), **options)
    while True:
        start = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            bad(f"line {start}", f"cannot be parsed: {error}")
            continue
        if values:
            yield start, values


def delimiter(text: str) -> str:
    """What stands between the columns of a .csv, by its header line: a comma or a semicolon."""
    header = text.lstrip().partition("\n")[0]
    return ";" if ";" in header and "," not in header else ","


def quotes_balance(lines: Iterable[str]) -> bool:
    """Whether a .tsv quotes as .csv files do; many hold bare quotation marks instead."""
    try:
        for _ in csv.reader(lines, delimiter="\t", strict=True):
            pass
    except csv.Error:
        return False
    return True


def _parquet(path: Path) -> Rows:
    import pyarrow
    import pyarrow.parquet

    try:
        # One thread: a table this small is read no faster by several.
        table = pyarrow.parquet.read_table(path, use_threads=False)
    except (OSError, pyarrow.ArrowException) as error:
        problem = str(error).splitlines()[0]
        raise UserError(f"{path}: not a readable Parquet file: {problem}") from None
    if not table.num_rows:
        raise UserError(f"{path}: holds no rows")
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    metadata = table.schema.metadata or {}
    return Rows(str(path), "row", list(range(table.num_rows)), columns, class_names(metadata))


def class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Names of the classes by column, from a Parquet schema's metadata.

    They stand under ``label_names`` (JSON), or in what the datasets library writes.
    """
    try:
        named = json.loads(metadata.get(b"label_names", b"{}"))
        described = json.loads(metadata.get(b"huggingface", b"{}"))
    except ValueError:
        return {}
    if named:
        return {column: [str(name) for name in found] for column, found in named.items()}
    features = described.get("info", {}).get("features", {})
    return {
        column: list(feature["names"])
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }
