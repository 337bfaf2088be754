"""A grid that is killed again and again ends as one that was left alone.

``make faults`` kills twenty times; SLIMCLS_FAULTS says how often here.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from grids import assert_same_table, finish, sessions, stamps, start, write_grid

from slimcls.grids.definition import read_grid
from slimcls.session.place import find_place
from slimcls.session.shared import Shared

KILLS = int(os.environ.get("SLIMCLS_FAULTS", "2"))
GRID = {
    "mode": "p-cls", "keep": [1, 2], "seed": [0, 1], "lr": [1e-3, 1e-2], "epochs": 6,
    "choose": {"over": ["lr"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The grid's folder, and the seconds in which it did its runs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(write_grid(folder / "g.yaml", toy, **GRID), folder / "out")
    assert wait_for_a_run(process, folder / "out")
    began = time.monotonic()
    finish(process)
    return folder / "out", time.monotonic() - began


def wait_for_a_run(process: Any, out: Path) -> bool:
    """Wait until a run writes to its log; False if the grid ended first."""
    before = {path: path.stat().st_size for path in out.glob("*/log.txt")}
    while process.poll() is None:
        for path in out.glob("*/log.txt"):
            if path.stat().st_size != before.get(path):
                return True
        time.sleep(0.01)
    return False


@pytest.mark.fault("kills")
@pytest.mark.slow
def test_kill_9_at_random_moments(toy: Path, tmp_path: Path, undisturbed: tuple[Path, float]):
    whole, seconds = undisturbed
    out = tmp_path / "out"
    path = write_grid(tmp_path / "g.yaml", toy, **GRID)
    chance, finished = random.Random(KILLS), {}
    for kills in range(KILLS):
        process = start(path, out)
        if not wait_for_a_run(process, out):
            assert kills, "it was done before it could be killed"
            finish(process)
            break  # the machine is faster than it was when nothing was disturbed
        time.sleep(chance.uniform(0, seconds / KILLS))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert finished.items() <= stamps(out).items(), "what was done stayed done"
        finished = stamps(out)
    finish(start(path, out))
    assert_same_table(out, whole)
    assert finished.items() <= stamps(out).items(), "and was not done again"
    assert (out / "choices" / "g.json").read_text() == (whole / "choices" / "g.json").read_text()
    assert not list(out.glob("*/checkpoints"))


@pytest.mark.fault("races")
@pytest.mark.slow
def test_two_grids_at_once_run_no_cell_twice(
    toy: Path, tmp_path: Path, undisturbed: tuple[Path, float]
):
    blocks = [{"keep": 3}, {"keep": GRID["keep"]}]
    path = write_grid(tmp_path / "g.yaml", toy, **GRID | {"keep": None, "cells": blocks})
    out = tmp_path / "out"
    broken = read_grid(str(path), out=str(out)).groups()[0].candidates
    for cell in broken:
        (folder := find_place(cell.run, Shared()).folder).mkdir(parents=True)
        (folder / "checkpoints").touch()  # a file where the run's folder would be
    processes = [start(path, out), start(path, out)]
    tables = {finish(process, code=1)[0] for process in processes}
    assert len(tables) == 1, "both wait for all cells and say the same"
    assert_same_table(out, undisturbed[0])
    assert set(sessions(out).values()) == {1}, "no failed one either"
    assert len(list(out.glob("*/failed.json"))) == len(broken) == 2
