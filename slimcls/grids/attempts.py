"""One attempt at a grid's cell, and the record of how it failed."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import io
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from slimcls.config import RunConfig
from slimcls.errors import Busy, Diverged, UserError
from slimcls.runs.folder import locked
from slimcls.session.place import find_place
from slimcls.session.shared import Shared
from slimcls.storage.json_files import parse_json
from slimcls.storage.memory import hand_back

#: Stands in the directory of a run that failed; a finished run has none.
FAILED = "failed.json"


@dataclass(frozen=True)
class Ended:
    """How an attempt at a cell ended."""

    status: Literal["done", "failed", "busy", "lost", "stopped"]
    """``busy``: another process works on it; ``lost``: its process or machine was."""
    folder: Path | None = None
    """The run directory, where it could be named."""
    error: str = ""
    diverged: bool = False


@dataclass(frozen=True)
class Failure:
    """Why a run failed."""

    error: str
    """In one line."""
    diverged: bool = False
    """Whether training led to no numbers, which another attempt does not change."""
    traceback: str = ""
    """Empty where the settings or the files are to blame."""


#: Runs a cell in this process and raises what goes wrong.
Runner = Callable[[RunConfig, Shared], object]


@cache
def shared() -> Shared:
    """What the cells of this process have in common."""
    return Shared()


def attempt(run: RunConfig, runner: Runner, *, retry: bool = False) -> Ended:
    """Run a cell; what goes wrong is recorded in its directory and returned, never raised.

    The directory is held from the first look to the last word: who comes meanwhile is told that the
    cell is busy, and afterwards finds the result or the failure. Without ``retry`` a failure that
    is recorded there, by whomever, is the answer. What the run prints is left to its log.
    Interrupted and KeyboardInterrupt pass.
    """
    folder = None
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            # While another process scores the layers for this run there are other cells to do.
            folder = find_place(run, shared(), wait=False).folder
            with locked(folder):
                return _attempt(run, runner, folder, retry)
    except Busy:
        return Ended("busy", folder)
    except Exception as error:
        found = _why(error)
        return Ended("failed", folder, found.error, found.diverged)


def _attempt(run: RunConfig, runner: Runner, folder: Path, retry: bool) -> Ended:
    """Run a cell whose directory is held. Raises Busy where it waits for another process."""
    if retry:
        (folder / FAILED).unlink(missing_ok=True)
    if found := failure(folder):
        return Ended("failed", folder, found.error, found.diverged)
    _forget_peak()
    try:
        runner(run, shared())
    except Busy:
        raise
    except Exception as error:
        found = _why(error)
        with contextlib.suppress(UserError):  # a full disk, which is then the error itself
            record(folder, found)
        return Ended("failed", folder, found.error, found.diverged)
    return Ended("done", folder)


def _why(error: Exception) -> Failure:
    """What is recorded of an error: a bug with its traceback."""
    if isinstance(error, UserError):
        return Failure(str(error), isinstance(error, Diverged))
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return Failure(line, traceback="".join(traceback.format_exception(error)))


def record(folder: Path, failure: Failure) -> None:
    """Write down why a run failed. Raises UserError where that cannot be written."""
    from slimcls.storage.files import write_text

    write_text(folder / FAILED, json.dumps(dataclasses.asdict(failure), indent=1))


def failure(folder: Path) -> Failure | None:
    """Why the run of a directory failed when it was last tried, or None."""
    try:
        return Failure(**parse_json((folder / FAILED).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        return Failure(f"{folder / FAILED}: cannot be read ({error})")


def _forget_peak() -> None:
    """Let a run's peak memory be its own, not that of the runs before it in this process."""
    import torch

    _keep_imports()
    gc.collect()
    hand_back()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # and the peak is counted from here
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


@cache
def _keep_imports() -> None:
    """Take what is imported out of the search for garbage: most of its time, and none is there."""
    import slimcls.session.work  # noqa: F401 - and all that a run imports

    gc.freeze()
