"""Every row of the table: exit code 0 with what is promised, or 2 with one line."""

from __future__ import annotations

import io
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE
from hostile import rows_data, rows_models, rows_runs, rows_words
from hostile.table import QUICK, Case

from slimcls.__main__ import main

CASES = [*rows_data.CASES, *rows_words.CASES, *rows_models.CASES, *rows_runs.CASES]


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A command that never ends fails, in the end."""

    def stop(*_: object) -> None:
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def words_of(case: Case, world: Path) -> list[list[str]]:
    """The command, or the commands that follow one another."""
    known = {
        "{quick}": QUICK,
        "{cls}": str(world / "cls"),
        "{pcls}": str(world / "p-cls"),
        "{rev}": str(world / "rev.csv"),
    }
    line = case.words
    for slot, words in known.items():
        line = line.replace(slot, words)
    commands = [shlex.split(one) for one in line.split(" && ")]
    commands[-1] += case.more
    return commands


@pytest.mark.fault("hostile inputs")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(
    case: Case,
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in case.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO(case.stdin))
    case.make(tmp_path, world)
    before = {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    code = 0
    for words in words_of(case, world):
        assert code == 0
        code = main(words)
    out, errors = capfd.readouterr()
    lines = [line for line in errors.splitlines() if line.startswith("slimcls: error:")]
    assert code == case.code, errors
    assert "Traceback" not in errors
    assert len(lines) == (code == 2), errors
    assert re.search(case.says, lines[0] if lines else out + errors), errors
    assert not list(tmp_path.rglob("*.tmp"))
    if code == 2:
        assert len(lines[0]) < 1000
        assert lines[0].isprintable()
        assert not list(tmp_path.glob("runs/*/result.parquet")) or before
    if case.check:
        case.check(tmp_path)


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
