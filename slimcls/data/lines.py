"""Text files in UTF-8, and the two kinds that hold a row a line: ``.txt`` and ``.jsonl``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from slimcls.data.rows import Row
from slimcls.errors import UserError
from slimcls.storage.json_files import parse_json

#: Where a text file came from bytes that are no UTF-8, or JSON from half of a pair.
_NO_CHARACTER = re.compile("[\ud800-\udfff]")
#: Where Python puts bytes that it could not decode, all above 0x7f.
_ESCAPED = 0xDC00
_BYTES = range(_ESCAPED + 0x80, _ESCAPED + 0x100)

BLANK = "the file is empty"
#: Most objects and lists in one another: Python reads deeper ones than it can write again.
DEEPEST = 100


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """A text file to go through line by line, bytes that are no UTF-8 kept for :func:`no_utf8`.

    Raises UserError where it cannot be opened, or holds nothing but blanks.
    """
    try:
        file = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    with file:
        if not any(line.strip() for line in file):
            raise UserError(f"{path}: {BLANK}")
        file.seek(0)
        yield file


def no_utf8(texts: Iterable[object]) -> str:
    """The first thing in the texts that is no character; empty where all are."""
    for text in texts:
        if isinstance(text, str) and not text.isascii() and (found := _NO_CHARACTER.search(text)):
            code = ord(found[0])
            if code in _BYTES:
                return f"byte 0x{code - _ESCAPED:02x} is not UTF-8"
            return f"\\u{code:04x} is half a surrogate pair, which UTF-8 cannot hold"
    return ""


def badly_saved(texts: Iterable[object]) -> str:
    """As :func:`no_utf8`, of a file's bytes, with what to do about it."""
    fault = no_utf8(texts)
    return f"{fault}; save the file as UTF-8" if fault else ""


def text_rows(path: Path) -> Iterator[Row]:
    """A row a line, blank ones too, with the line as its ``text``."""
    with open_text(path) as file:
        yield from line_rows(file)


def line_rows(lines: Iterable[str]) -> Iterator[Row]:
    """As :func:`text_rows`, of lines that are open already (decoded as :func:`open_text` does)."""
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        yield Row(number, {"text": text}, badly_saved([text]))


def json_rows(path: Path) -> Iterator[Row]:
    """An object a line; blank lines are passed over."""
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    if fault := badly_saved([line]):
        return Row(number, {}, fault)
    try:
        values = parse_json(line)
    except ValueError as error:
        return Row(number, {}, f"not JSON: {error}")
    if not isinstance(values, dict):
        return Row(number, {}, "not a JSON object of column names and values")
    if line.count("[") + line.count("{") > DEEPEST and _depth(values) > DEEPEST:
        return Row(number, {}, f"nested more than {DEEPEST} deep")
    return Row(number, values, no_utf8([*values, *values.values()]))


def _depth(value: object) -> int:
    """How many objects and lists stand in one another."""
    depth, level = 0, [value]
    while level := [inner for outer in level for inner in _inside(outer)]:
        depth += 1
    return depth


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
