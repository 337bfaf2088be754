"""Shared by the tests of grids: small YAML files, tables without timings, processes to kill."""

from __future__ import annotations

import subprocess
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pandas as pd
import yaml
from conftest import PATIENCE
from processes import started

from slimcls.runs.folder import locked

#: Columns that differ from run to run.
TIMES = [
    "train_seconds", "total_seconds", "examples_per_second", "tokens_per_second",
    "peak_memory_mb", "latency_ms", "out", "commit",
]  # fmt: skip
TINY: dict[str, Any] = {
    "model": "tiny-gpt2", "mode": "cls", "shots": 20, "epochs": 1, "batch_size": 8, "lr": 1e-3,
    "save_model": "none", "checkpoint_seconds": 0.0,
}  # fmt: skip


def write_grid(path: Path, data: Path, **settings: Any) -> Path:
    """A grid of tiny runs; ``None`` leaves a setting out."""
    content = TINY | {"dataset": str(data)} | settings
    kept = {name: value for name, value in content.items() if value is not None}
    path.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return path


def table(out: Path) -> pd.DataFrame:
    """All result rows of a folder, sorted, without what timings decide."""
    rows = [pd.read_parquet(path) for path in sorted(out.glob("*/result.parquet"))]
    return pd.concat(rows, ignore_index=True).drop(columns=TIMES)


def assert_same_table(one: Path, other: Path) -> None:
    """The same runs with the same results, to the last bit."""
    pd.testing.assert_frame_equal(table(one), table(other), check_exact=True)


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    """When each result file was written, and which file it is."""
    files = {path.parent.name: path.stat() for path in out.glob("*/result.parquet")}
    return {name: (stat.st_mtime_ns, stat.st_ino) for name, stat in files.items()}


def sessions(out: Path) -> dict[str, int]:
    """How often work began in each run directory."""
    return {
        path.parent.name: path.read_text(encoding="utf-8").count("run directory:")
        for path in out.glob("*/log.txt")
    }


def start(grid: Path, out: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    """A grid in a process of its own."""
    words = ["--config", grid, "--out", out, *more]
    return started("-m", "slimcls.grid", *words, cwd=grid.parent, **environment)


class HeldElsewhere:
    """Holds a run directory as another process does: a lock is a thread's as well."""

    def __init__(self, folder: Path) -> None:
        self._taken, self._let_go = Event(), Event()
        self._thread = Thread(target=self._hold, args=(folder,))
        self._thread.start()
        assert self._taken.wait(PATIENCE)

    def _hold(self, folder: Path) -> None:
        with locked(folder):
            self._taken.set()
            assert self._let_go.wait(PATIENCE)

    def let_go(self) -> None:
        self._let_go.set()
        self._thread.join(PATIENCE)


def finish(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """What a grid printed, once it has ended with ``code``."""
    printed, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, printed + said
    return printed, said
