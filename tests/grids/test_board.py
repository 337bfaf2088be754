"""What a grid shows: on a terminal, a table that stays below the lines and leaves nothing."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from grids import write_grid
from hypothesis import given
from hypothesis import strategies as st

from slimcls.grids import board

COLUMNS, LINES = 46, 9
HEAD = "test accuracy (seeds)"


class Screen:
    """As much of a terminal as a grid uses; :attr:`rows` has what scrolled away, too."""

    def __init__(self) -> None:
        self.rows, self.row, self.column, self.top = [""], 0, 0, 0
        self._rest = ""

    def feed(self, text: str) -> None:
        """What the terminal is told; half a sequence waits for its end."""
        text = self._rest + text
        whole = re.sub(r"\x1b(\[\d*)?$", "", text)
        self._rest = text[len(whole) :]
        for sequence, character in re.findall(r"\x1b\[(\d*\w)|(.)", whole, re.DOTALL):
            (self._obey if sequence else self._put)(sequence or character)

    def _obey(self, sequence: str) -> None:
        if sequence == "J":
            self.rows[self.row :] = [self.rows[self.row][: self.column]]
        else:
            assert re.fullmatch(r"\d+F", sequence), sequence
            self.row, self.column = max(self.top, self.row - int(sequence[:-1])), 0

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            self.rows += [""] * (self.row + 1 - len(self.rows))
            self.top = max(self.top, self.row + 1 - LINES)
        else:
            if self.column == COLUMNS:
                self._put("\r")
                self._put("\n")
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1


def on_a_terminal(
    grid: Path, out: Path, look: Callable[[Screen, int], None]
) -> tuple[list[str], int]:
    """The screen at the end of a grid, and its exit code; ``look`` sees it on the way."""
    words = [sys.executable, "-m", "slimcls.grid", "--config", str(grid), "--out", str(out)]
    known = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TERM": "xterm"}
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | known
    process, terminal = pty.fork()
    if not process:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        os.execve(sys.executable, words, environment)
    screen = Screen()
    while (said := _read(terminal)) is not None:
        screen.feed(said)
        look(screen, terminal)
    os.close(terminal)
    return screen.rows, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _read(terminal: int) -> str | None:
    """What was printed within a moment; None where nobody holds the other end any more."""
    if not select.select([terminal], [], [], 0.05)[0]:
        return ""
    try:
        return os.read(terminal, 4096).decode(errors="replace") or None
    except OSError:  # Linux
        return None


def test_the_table_stays_below_and_goes(toy: Path, tmp_path: Path):
    """A row a cell: more than the terminal has lines for."""
    path = write_grid(tmp_path / "g.yaml", toy, keep=[1, 2], lr=[1e-3, 1e-2])
    shown: list[list[str]] = []
    rows, code = on_a_terminal(path, tmp_path / "out", lambda s, _: shown.append(list(s.rows)))
    assert code == 0, rows
    cells = [row for row in rows if row.startswith("[")]
    assert [row.split("]")[0] for row in cells] == [f"[{n}/4" for n in range(1, 5)]
    assert sum(row.startswith(HEAD) for row in rows) == 1, "the one that stays, at the end"
    assert "4 cells: 4 done, 0 failed, 0 left" in rows
    assert not any("working on" in row or "more)" in row for row in rows)
    for screen in shown:
        assert sum("working on" in row for row in screen) <= 1, screen
        assert sum(row.startswith(HEAD) for row in screen) <= 1, screen
        if working := [row for row in screen if row.startswith("working on")]:
            (keep,) = re.findall(r"keep \d", working[0])
            assert any(row.startswith(f"toy tiny-gpt2 {keep}") for row in screen), screen
            assert any(re.fullmatch(r"\(\d+ rows more\)", row) for row in screen)
    assert any("working on" in row for screen in shown for row in screen)


def test_ctrl_c_leaves_nothing_but_where_it_stands(toy: Path, tmp_path: Path):
    path = write_grid(tmp_path / "g.yaml", toy, seed=[0, 1], epochs=500, checkpoint_seconds=0.3)
    pressed: list[bool] = []

    def press(screen: Screen, terminal: int) -> None:
        if not pressed and list(tmp_path.glob("out/*/checkpoints/last.ckpt")):
            os.write(terminal, b"\x03")
            pressed.append(True)

    rows, code = on_a_terminal(path, tmp_path / "out", press)
    assert code == 130, rows
    text = "\n".join(rows)
    assert "working on" not in text
    assert text.count(HEAD) == 1
    assert "2 cells: 0 done, 0 failed, 2 left" in rows
    assert "the same command goes on from there" in text.replace("\n", "")
    assert "Traceback" not in text


@given(st.integers(1, 30), st.integers(-3, 30), st.data())
def test_the_row_in_work_is_among_those_shown(count: int, room: int, data: st.DataObject):
    rows = [f"row {n}" for n in range(count)]
    place = data.draw(st.integers(0, count - 1))
    shown = board._window(rows, place, room)
    assert len(shown) <= max(1, room)
    if room > 1:
        assert rows[place] in shown
    left = [row for row in rows if row not in shown]
    assert (shown[-1] == f"({len(left)} rows more)") if left else shown == rows


@pytest.mark.parametrize("lines", [1, 2, 3, 40])
def test_never_more_lines_than_the_terminal_has(lines: int, monkeypatch: pytest.MonkeyPatch):
    rows = [HEAD, *map(str, range(50))]
    monkeypatch.setattr(board, "_size", lambda stream: os.terminal_size((20, lines)))
    monkeypatch.setattr(board, "table", lambda ledger: rows)
    monkeypatch.setattr(board, "left", lambda ledger: "something left")
    monkeypatch.setattr(board, "_names", lambda ledger: {})
    shown = board.Board(None)  # type: ignore[arg-type]
    shown.live = True
    assert 1 <= len(shown._below()) <= max(1, lines - 2)


@pytest.mark.parametrize(
    ("line", "cut"), [("abcdef", "abcde"), ("abc", "abc"), ("新闻abc", "新闻a")]
)
def test_a_line_takes_no_more_columns_than_there_are(line: str, cut: str):
    assert board._cut(line, 5) == cut
