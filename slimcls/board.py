"""What a grid shows while it works: a line a cell, and on a terminal a table that stays below."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from statistics import mean
from typing import TextIO

from slimcls.attempts import Ended
from slimcls.cells import Cell, Group
from slimcls.ledger import Count, Ledger


class Board:
    """Lines on stderr; on a terminal the table of results so far is drawn anew below them."""

    def __init__(self, ledger: Ledger, stream: TextIO | None = None) -> None:
        self.ledger = ledger
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = 0
        self._running: dict[Cell, None] = {}
        self._elsewhere: set[Cell] = set()

    def say(self, line: str) -> None:
        """A line above the table."""
        self._erase()
        print(line, file=self.stream, flush=True)
        self._draw()

    def started(self, cell: Cell) -> None:
        """Show a cell as being worked on."""
        self._running[cell] = None
        self._erase()
        self._draw()

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
        self._erase()

    def _erase(self) -> None:
        if self._drawn:
            print(f"\x1b[{self._drawn}F\x1b[J", end="", file=self.stream, flush=True)
        self._drawn = 0

    def _draw(self) -> None:
        if not self.live:
            return
        size = shutil.get_terminal_size()
        lines = ["", *table(self.ledger), left(self.ledger)]
        lines += [f"working on {cell.label}" for cell in self._running]
        # A table that does not fit would scroll, and could not be taken back.
        lines = [line[: size.columns - 1] for line in lines[-(size.lines - 2) :]]
        print("\n".join(lines), file=self.stream, flush=True)
        self._drawn = len(lines)


def _outcome(ledger: Ledger, cell: Cell, ended: Ended) -> str:
    result = ledger.result(cell)
    if ended.status == "done" and result:
        took = duration(result.outcome.total_seconds)
        return f"done, test accuracy {result.outcome.test_accuracy:.3f}, {took}"
    return f"{'diverged' if ended.diverged else ended.status}: {ended.error}"


def left(ledger: Ledger) -> str:
    """What is left, and for how long."""
    count = ledger.count()
    known, unknown = ledger.seconds_left()
    return f"{tally(count)}; {time_left(known, unknown, count.left)}"


def tally(count: Count) -> str:
    """Done, failed, left."""
    return f"{count.total} cells: {count.done} done, {count.failed} failed, {count.left} left"


def time_left(seconds: float, unknown: int, cells: int) -> str:
    """In words; cells without an estimate are named."""
    if not cells:
        return "nothing left"
    if not seconds:
        return "time left: unknown"
    more = f" and {unknown} cells of unknown time" if unknown else ""
    return f"time left: about {duration(seconds)}{more}"


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
    for group in ledger.groups:
        first = group.cells[0]
        entry = _entry(ledger, group)
        rows.setdefault(_row(first, group), {})[first.run.mode] = entry
    return columns(["test accuracy", *modes], [[k, *map(v.get, modes)] for k, v in rows.items()])


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
        tried = [cell for cell in group.candidates if ledger.result(cell)]
        return f"search {len(tried)}/{len(group.candidates)}"
    scores = [r.outcome.test_accuracy for cell in chosen if (r := ledger.result(cell))]
    choice = ledger.choice(group)
    edge = "*" if choice and choice.edge else ""
    return f"{mean(scores):.3f}{edge} ({len(scores)}/{len(chosen)})" if scores else "-"


def columns(head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> list[str]:
    """Aligned text columns."""
    cells = [list(head), *([value or "" for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    return [
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
