"""One attempt at a cell: nobody else works on it from the first look to the last word on it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from grids import TINY

from slimcls.config import RunConfig
from slimcls.errors import Busy, Diverged, UserError
from slimcls.grids import attempts
from slimcls.grids.attempts import Ended, attempt
from slimcls.runs.folder import locked
from slimcls.session.place import find_place


@pytest.fixture
def cell(toy: Path, tmp_path: Path) -> RunConfig:
    attempts.shared.cache_clear()
    return RunConfig(dataset=str(toy), out=str(tmp_path / "out"), accelerator="cpu", **TINY)


def elsewhere(cell: RunConfig, tried: list[str], **more: Any) -> Ended:
    """What another grid's attempt comes to meanwhile; a lock is a thread's as it is a process's."""

    def work(run: RunConfig, shared: object) -> None:
        tried.append("the other")

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(attempt, cell, work, **more).result()


def test_no_grid_begins_before_the_failure_is_written_down(
    cell: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other grid looks after the run has failed and before its failure can be read."""
    tried: list[str] = []
    others: list[Ended] = []
    record = attempts.record

    def late(folder: Path, failure: attempts.Failure) -> None:
        others.append(elsewhere(cell, tried))
        record(folder, failure)

    def fails(run: RunConfig, shared: object) -> None:
        tried.append("this one")
        raise UserError("no such luck")

    monkeypatch.setattr(attempts, "record", late)
    assert attempt(cell, fails).status == "failed"
    assert tried == ["this one"]
    assert [ended.status for ended in others] == ["busy"]
    assert elsewhere(cell, tried).error == "no such luck"
    assert tried == ["this one"], "and then it is known"
    assert elsewhere(cell, tried, retry=True).status == "done"
    assert tried == ["this one", "the other"]


def test_a_cell_is_held_while_it_is_worked_on(cell: RunConfig) -> None:
    tried: list[str] = []

    def looks(run: RunConfig, shared: object) -> None:
        assert elsewhere(cell, tried).status == "busy"
        with locked(find_place(run, attempts.shared()).folder):  # as train does
            tried.append("this one")

    assert attempt(cell, looks).status == "done"
    assert tried == ["this one"]
    assert elsewhere(cell, tried).status == "done", "nobody holds it afterwards"


@pytest.mark.parametrize(
    ("error", "status", "traceback"),
    [
        (UserError("no such luck"), "failed", False),
        (Diverged("the loss became nan"), "failed", False),
        (RuntimeError("a bug"), "failed", True),
        (Busy("scored elsewhere"), "busy", False),
    ],
)
def test_what_goes_wrong_is_returned_and_recorded(
    cell: RunConfig, error: Exception, status: str, traceback: bool
) -> None:
    def fails(run: RunConfig, shared: object) -> None:
        raise error

    ended = attempt(cell, fails)
    assert ended.status == status
    assert ended.diverged == isinstance(error, Diverged)
    assert ended.folder is not None
    found = attempts.failure(ended.folder)
    if status == "busy":
        assert found is None
    else:
        assert found is not None
        assert str(error) in found.error
        assert ("Traceback" in found.traceback) == traceback


def test_what_has_no_place_fails_without_one(cell: RunConfig) -> None:
    cell.dataset = "treck"
    ended = attempt(cell, lambda run, shared: None)
    assert (ended.status, ended.folder) == ("failed", None)
    assert "unknown dataset 'treck'" in ended.error
