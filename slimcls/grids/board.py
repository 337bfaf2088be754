"""What a grid shows while it works: a line a cell, and on a terminal a table that stays below."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from statistics import mean
from typing import TextIO

from slimcls.grids.attempts import Ended
from slimcls.grids.cells import Cell, Group
from slimcls.grids.ledger import Count, Ledger, TimeLeft
from slimcls.grids.timing import Took

#: Tells a terminal to go up to the table's first line and to clear from there. No mode is set that
#: has to be set back: Ctrl-C drops what is on its way to the terminal.
_CLEAR = "\x1b[{}F\x1b[J"


class Board:
    """Lines on stderr; on a terminal the table of results so far is drawn anew below them."""

    def __init__(self, ledger: Ledger, stream: TextIO | None = None) -> None:
        self.ledger = ledger
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = 0
        #: The table's row that was worked on last.
        self._place = 0
        self._running: dict[Cell, None] = {}
        self._elsewhere: set[Cell] = set()

    def say(self, line: str) -> None:
        """A line above the table."""
        self._show(f"{line}\n", self._below())

    def started(self, cell: Cell) -> None:
        """Show a cell as being worked on."""
        self._running[cell] = None
        self._place = self._row_of(cell)
        self._show("", self._below())

    def ended(self, cell: Cell, ended: Ended) -> None:
        """The line of a cell."""
        self._running.pop(cell, None)
        count = self.ledger.count()
        what = _outcome(self.ledger, cell, ended)
        self.say(f"[{count.done + count.failed}/{count.total}] {cell.label}: {what}")

    def waiting(self, cell: Cell) -> None:
        """Say once that another process works on a cell."""
        self._running.pop(cell, None)
        if cell not in self._elsewhere:
            self._elsewhere.add(cell)
            self.say(f"{cell.label}: another process works on it; looked at again at the end")

    def close(self) -> None:
        """Take the table away."""
        self._show("", [])

    def _show(self, said: str, below: Sequence[str]) -> None:
        """Clear the table, say something, draw the table: in one go, so that nothing flickers."""
        cleared = _CLEAR.format(self._drawn) if self._drawn else ""
        if text := cleared + said + "".join(f"{line}\n" for line in below):
            self.stream.write(text)
            self.stream.flush()
        self._drawn = len(below)

    def _below(self) -> list[str]:
        """The table with what is left; on a terminal only, and never more than it has lines."""
        if not self.live:
            return []
        head, *rows = table(self.ledger)
        foot = left(self.ledger).split("; ")
        foot += [f"working on {cell.label}" for cell in self._running]
        size = _size(self.stream)
        # A table that does not fit would scroll, and could not be taken back.
        room = size.lines - len(foot) - 4
        shown = ["", head, *_window(rows, self._place, room), *foot]
        return [_cut(line, size.columns - 1) for line in shown[-max(1, size.lines - 2) :]]

    def _row_of(self, cell: Cell) -> int:
        """A cell's row of the table."""
        names = _names(self.ledger)
        mine = next(name for group, name in names.items() if cell in (*group.cells, *group.trials))
        return list(dict.fromkeys(names.values())).index(mine)


def _window(rows: list[str], place: int, room: int) -> list[str]:
    """The rows around a place, as many as there is room for, and how many are left out."""
    if len(rows) <= room:
        return rows
    count = max(0, room - 1)
    first = max(0, min(place - count // 2, len(rows) - count))
    shown = rows[first : first + count]
    return [*shown, f"({len(rows) - len(shown)} rows more)"]


def _cut(line: str, columns: int) -> str:
    """As much of a line as fits: one that wraps could not be taken back."""
    widths = (1 + (unicodedata.east_asian_width(character) in "WF") for character in line)
    return line[: sum(end <= columns for end in itertools.accumulate(widths))]


def _size(stream: TextIO) -> os.terminal_size:
    """Of the terminal behind a stream, which need not be the one behind stdout."""
    with contextlib.suppress(OSError, ValueError):
        size = os.get_terminal_size(stream.fileno())
        if all(size):
            return size
    return shutil.get_terminal_size()


def _outcome(ledger: Ledger, cell: Cell, ended: Ended) -> str:
    result = ledger.result(cell)
    if ended.status == "done" and result:
        took = duration(result.outcome.total_seconds)
        return f"done, test accuracy {result.outcome.test_accuracy:.3f}, {took}"
    return f"{'diverged' if ended.diverged else ended.status}: {ended.error}"


def left(ledger: Ledger) -> str:
    """What is left, and for how long."""
    count = ledger.count()
    return f"{counted(count)}; {time_left(ledger.time_left(), count.left)}"


def counted(count: Count) -> str:
    """Done, failed, left."""
    return f"{count.total} cells: {count.done} done, {count.failed} failed, {count.left} left"


def time_left(left: TimeLeft, cells: int) -> str:
    """In words; what is estimated from other depths, and cells without an estimate, are named."""
    if not cells:
        return "nothing left"
    if not left.seconds:
        return "time left: unknown"
    how = " (estimated from cells of other depths)" if left.estimated else ""
    cells_of = "cell" if left.unknown == 1 else "cells"
    more = f" and {left.unknown} {cells_of} of unknown time" if left.unknown else ""
    return f"time left: about {duration(left.seconds)}{how}{more}"


def taking(took: Took | None) -> str:
    """The time of one cell in a table."""
    if took is None:
        return "unknown"
    return f"{'about ' if took.estimated else ''}{duration(took.seconds)}"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def table(ledger: Ledger) -> list[str]:
    """Mean test accuracy over the seeds done, a row a cut and a column a mode."""
    modes = list(dict.fromkeys(cell.run.mode for cell in ledger.grid.cells))
    rows: dict[str, dict[str, str]] = {}
    for group, name in _names(ledger).items():
        rows.setdefault(name, {})[group.cells[0].run.mode] = _entry(ledger, group)
    return aligned(
        ["test accuracy (seeds)", *modes], [[k, *map(v.get, modes)] for k, v in rows.items()]
    )


def _names(ledger: Ledger) -> dict[Group, str]:
    """The table's row of each group."""
    return {group: _row(group.cells[0], group) for group in ledger.groups}


def _row(cell: Cell, group: Group) -> str:
    """A label without mode, seed and searched settings."""
    gone = [f" {cell.run.mode} ", f" seed {cell.run.seed}"]
    gone += [f" {name} {value}" for name, value in group.settings(cell).items()]
    text = f"{cell.label} "
    for words in gone:
        text = text.replace(f"{words.rstrip()} ", " ", 1)
    return text.strip()


def _entry(ledger: Ledger, group: Group) -> str:
    chosen = ledger.chosen(group)
    if not chosen:
        candidates = (group.guide or group).candidates
        tried = [cell for cell in candidates if ledger.result(cell)]
        return f"search {len(tried)}/{len(candidates)}"
    scores = [r.outcome.test_accuracy for cell in chosen if (r := ledger.result(cell))]
    choice = ledger.choice(group)
    edge = "*" if choice and choice.edge else ""
    return f"{mean(scores):.3f}{edge} ({len(scores)}/{len(chosen)})" if scores else "-"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> list[str]:
    """Aligned text columns."""
    cells = [list(head), *([value or "" for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    return [
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
