"""Text that others wrote (labels, names of files, notes), made plain for where it is shown."""

from __future__ import annotations

import re
from typing import TypeVar

T = TypeVar("T")

#: What Markdown would act on. A lone star between blanks and an underscore inside a word it leaves.
_MARKDOWN = re.compile(
    r"[\\`\[\]<>~|]|(?<!\s)\*|\*(?!\s|$)|(?<![^\W_])_|_(?![^\W_])|(?<!\S)#|&(?=#?\w+;)"
)

#: What a spreadsheet takes for the beginning of a formula, blanks before it included, and what is
#: a number all the same.
_FORMULA = tuple("=+-@\t\r\n")
_NUMBER = re.compile(r"[+-]?[0-9.,]*[0-9]%?([eE][+-]?[0-9]+)?")

#: Letters of one text that a figure has room for.
_ROOM = 120


def in_figure(text: str) -> str:
    """The text for matplotlib, which takes what stands between two dollars for mathematics.

    Text too long for a figure ends in dots.
    """
    shown = text if len(text) <= _ROOM else f"{text[:_ROOM]}..."
    return shown.replace("$", r"\$")


def in_markdown(text: str) -> str:
    """The text on one line of a Markdown page: no picture, link, HTML or mark-up in it is live."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


def in_csv(cell: T) -> T | str:
    """A cell for CSV: text that a spreadsheet would run gets an apostrophe in front of it."""
    if not isinstance(cell, str):
        return cell
    runs = cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if runs else cell
