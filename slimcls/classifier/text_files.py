"""Files of texts, classified row by row: a row each way, bad rows reported and left out."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TextIO

from slimcls.classifier.prediction import Predictor
from slimcls.data.delimited import dialect_of
from slimcls.data.lines import line_rows
from slimcls.data.parquet import open_parquet
from slimcls.data.reader import stream_rows, stream_texts, with_text
from slimcls.data.rows import Row
from slimcls.errors import UserError
from slimcls.escaping import in_csv
from slimcls.storage.files import replacing

#: Rows classified together: enough to sort by length, few enough for any memory.
CHUNK = 1024

#: Appends rows to a file that is open, the columns as the first row has them.
Write = Callable[[list[dict[str, object]]], None]


def classify_file(
    classifier: Predictor,
    source: Path,
    target: Path,
    *,
    column: str | None,
    batch_size: int,
    strict: bool,
    **promises: float | None,
) -> tuple[int, int]:
    """Classify a file's texts into another file; return how many rows went in and were bad.

    Rows stream through in chunks. The output appears whole when all went well. ``promises`` are
    those of :meth:`Classifier.predict`. Raises UserError for a file that cannot be read or written,
    and with ``strict`` for the first bad row.
    """
    with replacing(target) as temporary, ExitStack() as stack:
        write = WRITERS[source.suffix.lower()](source, temporary, stack)
        chunks = stream_texts(source, column, CHUNK, classifier.pair)
        label = _label_column(source)
        return _classify(
            classifier, str(source), chunks, write, batch_size, strict, promises, label
        )


def classify_lines(
    classifier: Predictor,
    lines: Iterable[str],
    output: TextIO,
    *,
    name: str,
    as_json: bool,
    batch_size: int,
    strict: bool,
    **promises: float | None,
) -> tuple[int, int]:
    """As :func:`classify_file`, of open lines, each a text, into an open file.

    Rows are as a ``.txt`` has them, or a ``.jsonl``; ``name`` is what messages call the input.
    """
    write = (_as_json if as_json else _as_line)(output)
    chunks = _chunks(line_rows(lines))
    return _classify(classifier, name, chunks, write, batch_size, strict, promises)


def _label_column(source: Path) -> str:
    """What the answers are called: one name for the whole file, beside labels of its own."""
    rows = stream_rows(source)
    # Only there may a row lack what others have.
    if source.suffix.lower() != ".jsonl":
        rows = islice(rows, 1)
    return "predicted_label" if any("label" in row.values for row in rows) else "label"


def _chunks(rows: Iterator[Row]) -> Iterator[list[tuple[Row, str]]]:
    while chunk := list(islice(rows, CHUNK)):
        yield [with_text(row, ("text",)) for row in chunk]


def _classify(
    classifier: Predictor,
    name: str,
    chunks: Iterable[list[tuple[Row, str]]],
    write: Write,
    batch_size: int,
    strict: bool,
    promises: dict[str, float | None],
    label: str = "label",
) -> tuple[int, int]:
    from tqdm import tqdm

    done = bad = 0
    with tqdm(unit=" texts", disable=not sys.stderr.isatty()) as bar:
        for chunk in chunks:
            for row, _ in chunk:
                if row.fault:
                    _report(name, row, strict)
            good = [(row, text) for row, text in chunk if not row.fault]
            texts = [text for _, text in good]
            predictions = classifier.predict(texts, batch_size, bar.update, **promises)
            write(
                [
                    _added(name, row, prediction.columns(label))
                    for (row, _), prediction in zip(good, predictions, strict=True)
                ]
            )
            done, bad = done + len(chunk), bad + len(chunk) - len(good)
    if done == bad:
        raise UserError(f"{name}: none of its {done} rows has a text to classify")
    return done, bad


def _report(source: str, row: Row, strict: bool) -> None:
    message = f"{source} {row.place}: {row.fault}"
    if strict:
        raise UserError(f"{message} (--strict stops at the first bad row)")
    print(f"slimcls: skipped: {message}", file=sys.stderr)


def _added(source: str, row: Row, new: Mapping[str, object]) -> dict[str, object]:
    for taken in row.values.keys() & new.keys():
        raise UserError(f"{source}: has a column {taken!r} already; rename it or leave it out")
    return {**row.values, **new}


def _lines(source: Path, path: Path, stack: ExitStack) -> Write:
    """``.txt``."""
    return _as_line(stack.enter_context(path.open("w", encoding="utf-8")))


def _as_line(file: TextIO) -> Write:
    """Label, probabilities, depth and set of classes if there are any, text; tabs between them."""

    def write(rows: list[dict[str, object]]) -> None:
        for row in rows:
            text = row.pop("text")
            cells = [f"{v:.6f}" if isinstance(v, float) else _plain(v) for v in row.values()]
            file.write("\t".join(map(str, [*cells, text])) + "\n")

    return write


def _plain(value: object) -> object:
    """A cell for files that have text alone: no label is nothing, a set is JSON."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else value


def _delimited(source: Path, path: Path, stack: ExitStack) -> Write:
    """``.csv`` and ``.tsv``: cells told apart as in the input; the header with the first rows."""
    file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
    out = csv.writer(file, **dialect_of(source))
    begun = False

    def write(rows: list[dict[str, object]]) -> None:
        nonlocal begun
        if rows and not begun:
            out.writerow(map(in_csv, rows[0]))
            begun = True
        out.writerows([[in_csv(_plain(value)) for value in row.values()] for row in rows])

    return write


def _json_lines(source: Path, path: Path, stack: ExitStack) -> Write:
    """``.jsonl``."""
    # Half a surrogate pair inside a value can only be written as the escape it was.
    return _as_json(
        stack.enter_context(path.open("w", encoding="utf-8", errors="backslashreplace"))
    )


def _as_json(file: TextIO) -> Write:
    """An object a line."""

    def write(rows: list[dict[str, object]]) -> None:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    return write


def _parquet(source: Path, path: Path, stack: ExitStack) -> Write:
    """``.parquet``: row groups with the input's schema and the new columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {float: pa.float64(), int: pa.int64(), list: pa.list_(pa.string())}
    given = open_parquet(source).schema_arrow
    writers: list[pq.ParquetWriter] = []

    def write(rows: list[dict[str, object]]) -> None:
        if not rows:
            return
        new = [name for name in rows[0] if name not in given.names]
        types = [kinds.get(type(rows[0][name]), pa.string()) for name in new]
        schema = pa.schema([*given, *zip(new, types, strict=True)])
        if not writers:
            writers.append(stack.enter_context(pq.ParquetWriter(path, schema)))
        writers[0].write_table(pa.Table.from_pylist(rows, schema=schema))

    return write


#: How the results for each kind of file are written: told the input, the output, and what to close.
WRITERS: dict[str, Callable[[Path, Path, ExitStack], Write]] = {
    ".txt": _lines,
    ".csv": _delimited,
    ".tsv": _delimited,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
