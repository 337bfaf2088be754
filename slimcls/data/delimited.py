"""``.csv`` and ``.tsv`` files: a header, then a row a record."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TextIO, TypedDict

from slimcls.data.lines import badly_saved, open_text
from slimcls.data.rows import Row, repeated
from slimcls.errors import UserError

#: What may stand between the columns of a .csv; where its header holds several, the first here.
DELIMITERS = ",;\t|"

_QUOTED = re.compile('"[^"]*"')
#: As long as the csv module lets a cell be on every system.
_LONGEST = 2**31 - 1


class Dialect(TypedDict, total=False):
    """How the cells of a file are told apart: options of the csv module's readers and writers."""

    delimiter: str
    quoting: Literal[0, 1, 2, 3]
    quotechar: str | None


_BARE: Dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}


def dialect_of(path: Path) -> Dialect:
    """How the cells of a file are told apart: a .csv's by its header, a .tsv's by all of it.

    Many .tsv files hold bare quotation marks: marks quote there only where all of them can.
    """
    if path.suffix.lower() == ".tsv":
        return {"delimiter": "\t"} if _quotes_balance(path) else _BARE
    with open_text(path) as file:
        header = _QUOTED.sub("", _header(file))
    return {"delimiter": next((sign for sign in DELIMITERS if sign in header), DELIMITERS[0])}


def _header(lines: Iterable[str]) -> str:
    """The first line that is more than blanks; several where a quoted name goes on."""
    header = ""
    for line in lines:
        header += line if header or line.strip() else ""
        if header and header.count('"') % 2 == 0:
            break
    return header


def _quotes_balance(path: Path) -> bool:
    csv.field_size_limit(_LONGEST)
    with open_text(path) as file:
        try:
            for _ in csv.reader(file, delimiter="\t", strict=True):
                pass
        except csv.Error:
            return False
    return True


def delimited_rows(path: Path) -> Iterator[Row]:
    """A row a record, with the line where it begins; blank lines are passed over.

    Blanks around the names of columns do not count.
    """
    dialect = dialect_of(path)
    with open_text(path) as file:
        records = _records(path, file, dialect)
        names = _names(path, records)
        for number, cells, fault in records:
            if not fault and len(cells) != len(names):
                fault = f"{len(cells)} columns, the header has {len(names)}"
            yield Row(number, {} if fault else dict(zip(names, cells, strict=True)), fault)


def _records(path: Path, file: TextIO, dialect: Dialect) -> Iterator[tuple[int, list[str], str]]:
    """Line where a record begins, its cells, and what is wrong with it.

    Raises UserError where a quotation mark swallows lines: to leave out that one row would be to
    leave out all of them.
    """
    csv.field_size_limit(_LONGEST)
    reader = csv.reader(file, strict=True, **dialect)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if reader.line_num > start:
                raise UserError(
                    f"{path} line {start}: cannot be parsed: {error}; a quotation mark made lines "
                    f"{start} to {reader.line_num} one row; double it, or take it out"
                ) from None
            yield start, [], f"cannot be parsed: {error}"
            continue
        if cells:
            yield start, cells, badly_saved(cells)


def _names(path: Path, records: Iterator[tuple[int, list[str], str]]) -> list[str]:
    """The columns' names: the first record that holds more than blanks."""
    for number, cells, fault in records:
        names = [name.strip() for name in cells]
        twice = repeated(names) if any(names) else ""
        if twice:
            fault = f"two columns are called {twice!r}; rename one"
        if fault:
            raise UserError(f"{path} line {number}: {fault}")
        if any(names):
            return names
    raise UserError(f"{path}: no line names its columns")
