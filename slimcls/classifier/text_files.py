"""Files of texts, read and written row by row: a row each way, bad rows reported and left out."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from slimcls.classifier.classifier import Classifier, Prediction
from slimcls.data.columns import choose_text
from slimcls.data.files import delimiter, quotes_balance
from slimcls.errors import UserError
from slimcls.storage.files import replacing

#: Rows classified together: enough to sort by length, few enough for any memory.
CHUNK = 1024


@dataclass(frozen=True)
class Row:
    """A row of the input: its text, or why it has none."""

    number: int
    """Line of a text file, row of a Parquet file, from 1."""
    values: dict[str, Any]
    text: str = ""
    fault: str = ""


class Format(Protocol):
    """How one kind of file is read and written."""

    def read(self, path: Path, column: str | None) -> Iterator[Row]:
        """Rows in order; UserError where the file as a whole cannot be read."""

    def writer(self, source: Path, path: Path, stack: ExitStack) -> Any:
        """A function that appends rows (dicts) to ``path``."""


def classify_file(
    classifier: Classifier,
    source: Path,
    target: Path,
    *,
    column: str | None,
    batch_size: int,
    strict: bool,
) -> tuple[int, int]:
    """Classify a file's texts into another file; return how many rows went in and were bad.

    Rows stream through in chunks. The output appears whole when all went well. Raises UserError
    for a file that cannot be read or written, and with ``strict`` for the first bad row.
    """
    from tqdm import tqdm

    kind = FORMATS[source.suffix.lower()]
    rows = kind.read(source, column)
    done = bad = 0
    with replacing(target) as temporary, ExitStack() as stack:
        write = kind.writer(source, temporary, stack)
        bar = stack.enter_context(tqdm(unit=" texts", disable=not sys.stderr.isatty()))
        while chunk := list(islice(rows, CHUNK)):
            good = [row for row in chunk if not row.fault]
            for row in chunk:
                if row.fault:
                    _report(source, row, strict)
            predictions = classifier.predict([row.text for row in good], batch_size, bar.update)
            write([_added(source, row, p) for row, p in zip(good, predictions, strict=True)])
            done, bad = done + len(chunk), bad + len(chunk) - len(good)
        if done == bad:
            raise UserError(f"{source}: none of its {done} rows has a text to classify")
    return done, bad


def _report(source: Path, row: Row, strict: bool) -> None:
    message = f"{source} line {row.number}: {row.fault}"
    if strict:
        raise UserError(f"{message} (--strict stops at the first bad row)")
    print(f"slimcls: skipped: {message}", file=sys.stderr)


def _added(source: Path, row: Row, prediction: Prediction) -> dict[str, Any]:
    name = "predicted_label" if "label" in row.values else "label"
    probabilities = {f"probability_{k}": v for k, v in prediction.probabilities.items()}
    new = {name: prediction.label} | probabilities
    for taken in row.values.keys() & new.keys():
        raise UserError(f"{source}: has a column {taken!r} already; rename it or leave it out")
    return row.values | new


def _text_of(number: int, values: dict[str, Any], column: str) -> Row:
    text = values.get(column)
    if not isinstance(text, str):
        return Row(number, values, fault=f"no text under {column!r}")
    if any(_is_broken(value) for value in values.values()):
        return Row(number, values, fault="not UTF-8 text")
    if not text.strip():
        return Row(number, values, fault="the text is empty")
    return Row(number, values, text)


def _is_broken(value: Any) -> bool:
    """Whether a text holds what is no character: a byte that is not UTF-8, half of a pair."""
    return isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value)


def _open_text(path: Path) -> Any:
    try:
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


class Lines:
    """``.txt``: a text a line in; label, probabilities and text out, tabs between them."""

    def read(self, path: Path, column: str | None) -> Iterator[Row]:
        """A row a line."""
        if column is not None:
            raise UserError(f"--text-column {column}: {path} has no columns")
        with _open_text(path) as file:
            for number, line in enumerate(file, 1):
                yield _text_of(number, {"text": line.rstrip("\r\n")}, "text")

    def writer(self, source: Path, path: Path, stack: ExitStack) -> Any:
        """Label first, the text last."""
        file = stack.enter_context(path.open("w", encoding="utf-8"))

        def write(rows: list[dict[str, Any]]) -> None:
            for row in rows:
                text = row.pop("text")
                label, *probabilities = row.values()
                cells = [label, *(f"{p:.6f}" for p in probabilities), text]
                file.write("\t".join(cells) + "\n")

        return write


def _records(reader: Any) -> Iterator[tuple[int, list[str], str]]:
    """Line where a record begins, its cells, and what is wrong with it, blank lines left out."""
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            what = str(error)
            if reader.line_num > start:
                what += f"; a quotation mark made lines {start} to {reader.line_num} one row"
            yield start, [], f"cannot be parsed: {what}"
            continue
        if cells:
            yield start, cells, ""


def _refuse_twins(path: Path, header: list[str]) -> None:
    """A row is read by its columns' names: of two with one name, one would be lost."""
    names = [name.strip() for name in header]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: two columns are called {name!r}; rename one")


class Csv:
    """``.csv``, with a header line."""

    def dialect(self, path: Path) -> dict[str, Any]:
        """How the cells of a file are told apart, as the csv module's options."""
        with _open_text(path) as file:
            return {"delimiter": delimiter(file.readline())}

    def read(self, path: Path, column: str | None) -> Iterator[Row]:
        """A row a record; ``number`` is the line where it begins. Blank lines are passed over."""
        csv.field_size_limit(sys.maxsize)
        dialect = self.dialect(path)
        with _open_text(path) as file:
            reader = csv.reader(file, strict=True, **dialect)
            records = _records(reader)
            _, header, fault = next(records, (1, [], ""))
            if not header:
                raise UserError(f"{path} line 1: {fault}" if fault else f"{path}: is empty")
            _refuse_twins(path, header)
            column = choose_text(path, header, column)
            for number, cells, fault in records:
                if not fault and len(cells) != len(header):
                    fault = f"{len(cells)} columns, the header has {len(header)}"
                if fault:
                    yield Row(number, {}, fault=fault)
                else:
                    yield _text_of(number, dict(zip(header, cells, strict=True)), column)

    def writer(self, source: Path, path: Path, stack: ExitStack) -> Any:
        """The header comes with the first rows."""
        file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        out = csv.writer(file, **self.dialect(source))
        begun = False

        def write(rows: list[dict[str, Any]]) -> None:
            nonlocal begun
            if rows and not begun:
                out.writerow(rows[0])
                begun = True
            out.writerows([row.values() for row in rows])

        return write


class Tsv(Csv):
    """``.tsv``: tabs between the cells; quotation marks quote only where all of them do."""

    def dialect(self, path: Path) -> dict[str, Any]:
        """Looks at the whole file."""
        csv.field_size_limit(sys.maxsize)
        with _open_text(path) as file:
            quoted = quotes_balance(file)
        plain = {"quoting": csv.QUOTE_NONE, "quotechar": None}
        return {"delimiter": "\t"} | ({} if quoted else plain)


class JsonLines:
    """``.jsonl``: an object a line."""

    def read(self, path: Path, column: str | None) -> Iterator[Row]:
        """A row a line; blank lines are passed over."""
        with _open_text(path) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                if _is_broken(line):
                    yield Row(number, {}, fault="not UTF-8 text")
                    continue
                try:
                    values = json.loads(line)
                except ValueError as error:
                    yield Row(number, {}, fault=f"not JSON ({error})")
                    continue
                if not isinstance(values, dict):
                    yield Row(number, {}, fault="not a JSON object")
                    continue
                column = column or choose_text(path, list(values), None)
                yield _text_of(number, values, column)

    def writer(self, source: Path, path: Path, stack: ExitStack) -> Any:
        """An object a line."""
        # Half a surrogate pair inside a value can only be written as the escape it was.
        file = stack.enter_context(path.open("w", encoding="utf-8", errors="backslashreplace"))

        def write(rows: list[dict[str, Any]]) -> None:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

        return write


def _open_parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({error})") from None


class Parquet:
    """``.parquet``; columns keep their types."""

    def read(self, path: Path, column: str | None) -> Iterator[Row]:
        """Rows, a batch in memory at a time."""
        import pyarrow as pa

        file = _open_parquet(path)
        _refuse_twins(path, file.schema_arrow.names)
        column = choose_text(path, file.schema_arrow.names, column)
        number = 0
        try:
            for batch in file.iter_batches(batch_size=CHUNK):
                for values in batch.to_pylist():
                    number += 1
                    yield _text_of(number, values, column)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: cannot be read beyond row {number} ({error})") from None

    def writer(self, source: Path, path: Path, stack: ExitStack) -> Any:
        """Appends row groups with the input's schema and the new columns."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        given = _open_parquet(source).schema_arrow
        writers: list[Any] = []

        def write(rows: list[dict[str, Any]]) -> None:
            if not rows:
                return
            new = [name for name in rows[0] if name not in given.names]
            types = [pa.string(), *[pa.float64()] * (len(new) - 1)]
            schema = pa.schema([*given, *zip(new, types, strict=True)])
            if not writers:
                writers.append(stack.enter_context(pq.ParquetWriter(path, schema)))
            writers[0].write_table(pa.Table.from_pylist(rows, schema=schema))

        return write


FORMATS: dict[str, Format] = {
    ".txt": Lines(),
    ".csv": Csv(),
    ".tsv": Tsv(),
    ".jsonl": JsonLines(),
    ".parquet": Parquet(),
}
