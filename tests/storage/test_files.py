"""Files are whole or not there, and what a killed writer left goes with the next one."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import ROOT

from slimcls.errors import Busy, UserError
from slimcls.storage import files
from slimcls.storage.files import (
    alone,
    check_writable,
    filling,
    replacing,
    replacing_folder,
    write_text,
)


def test_replacing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "one")
    assert path.read_text() == "one"
    half = replacing(path)
    half.__enter__().write_text("half")
    assert path.read_text() == "one"
    assert not half.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
    with replacing(path) as temporary:
        temporary.write_text("two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_replacing_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot be written .*see --out"):
        write_text(tmp_path / "file" / "below.txt", "x")


#: Writes half of a file, or of a folder, says so, and waits to be killed.
HALF = """
import sys, time
from pathlib import Path
from slimcls.storage import files
target = Path(sys.argv[1])
if sys.argv[2] == "file":
    with files.replacing(target) as temporary:
        temporary.write_text("half")
        print("half", flush=True)
        time.sleep(600)
with files.alone(target, "x"), files.replacing_folder(target) as temporary:
    (temporary / "a").write_text("half")
    print("half", flush=True)
    time.sleep(600)
"""


def writer(target: Path, kind: str = "file") -> subprocess.Popen[str]:
    """A process that holds a half-written file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HALF, str(target), kind],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def temporaries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".tmp")


@pytest.mark.fault("kills")
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    target, other = tmp_path / "a.csv", tmp_path / "a"
    dead, living = writer(target), writer(target)
    sibling = writer(other)
    try:
        killed(dead)
        assert len(temporaries(tmp_path)) == 3
        write_text(target, "whole")
        left = temporaries(tmp_path)
        assert [name.split(".")[-3] for name in left] != [str(dead.pid)] * 3
        assert len(left) == 2, "who still writes is left alone"
        assert not any(f".{dead.pid}." in name for name in left)
    finally:
        killed(living)
        killed(sibling)
    write_text(target, "again")
    assert [name.rsplit(".", 3)[0] for name in temporaries(tmp_path)] == [".a"]
    write_text(other, "mine")
    assert temporaries(tmp_path) == []


@pytest.mark.fault("races")
def test_a_living_writer_ends_well_beside_others(tmp_path: Path) -> None:
    """Threads of one process are told apart, too."""
    path = tmp_path / "f"
    with replacing(path) as first:
        first.write_text("first")
        thread = threading.Thread(target=lambda: [write_text(path, "x") for _ in range(20)])
        thread.start()
        thread.join()
        assert path.read_text() == "x"
    assert path.read_text() == "first"
    assert temporaries(tmp_path) == []


def test_without_locks_nothing_of_others_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that has no locks cannot say who lives."""

    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    left = tmp_path / f".f.123.{'0' * 8}.tmp"
    left.touch()
    monkeypatch.setattr(files.fcntl, "flock", refuse)
    write_text(tmp_path / "f", "x")
    assert (tmp_path / "f").read_text() == "x"
    assert temporaries(tmp_path) == [left.name]
    monkeypatch.undo()
    write_text(tmp_path / "f", "y")
    assert temporaries(tmp_path) == []


def test_odd_names_are_no_patterns(tmp_path: Path) -> None:
    write_text(tmp_path / ".f1.1.00000000.tmp", "of f1")
    write_text(tmp_path / "f[1]*?", "x")
    assert temporaries(tmp_path) == [".f1.1.00000000.tmp"]


@pytest.mark.fault("kills")
def test_a_folder_is_filled_by_one_at_a_time(tmp_path: Path) -> None:
    target = tmp_path / "model"
    process = writer(target, "folder")
    with pytest.raises(Busy, match=r"model: another process is writing it"), alone(target, "it"):
        pass
    killed(process)
    with alone(target, "it"), replacing_folder(target) as folder:
        (folder / "a").write_text("whole")
    assert (target / "a").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("fails", [1, 2], ids=["the old one stays put", "the new one"])
def test_a_folder_that_cannot_be_replaced_is_as_it_was(
    fails: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mount point cannot be, which the kernel calls busy."""
    target = tmp_path / "model"
    target.mkdir()
    (target / "a").write_text("old")
    rename, calls = Path.rename, iter(range(1, 9))

    def busy(self: Path, to: Path) -> Path:
        if next(calls) == fails:
            raise OSError(errno.EBUSY, "busy")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", busy)
    with (
        pytest.raises(UserError, match="model: cannot be written"),
        replacing_folder(target) as made,
    ):
        (made / "a").write_text("new")
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_kill_between_old_and_new_loses_nothing(tmp_path: Path) -> None:
    target, old = tmp_path / "model", tmp_path / ".model.old"
    old.mkdir()
    (old / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), filling(target):
        raise ZeroDivisionError
    assert (target / "a").read_text() == "old"
    with filling(target) as made:
        (made / "b").write_text("new")
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_lock_waits_for_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    for _ in range(3):
        with alone(tmp_path / "deep" / "x", "it"):
            assert (tmp_path / "deep").is_dir()
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_link_is_written_through(tmp_path: Path) -> None:
    real, link = tmp_path / "there" / "real", tmp_path / "link"
    real.parent.mkdir()
    real.write_text("old")
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    real.unlink()
    write_text(link, "made")
    assert link.is_symlink()
    assert real.read_text() == "made"
    folder = tmp_path / "folder"
    folder.symlink_to(tmp_path / "whole")
    with filling(folder) as target:
        (target / "a").touch()
    assert folder.is_symlink()
    assert (tmp_path / "whole" / "a").is_file()


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, what in (("pipe", "no file"), ("folder", "no file"), ("loop", "cannot be written")):
        with pytest.raises(UserError, match=f"{name}: .*{what}"):
            write_text(tmp_path / name, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "loop", "pipe"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is no folder"), replacing_folder(tmp_path / "file"):
        pass


def test_whether_a_folder_can_be_written_is_tried_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in (".", "there", "new", "new/below/it"):
        check_writable(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "file/below", "/proc/nothing/below"):
        with pytest.raises(UserError, match=r"^--out .*: cannot be written \("):
            check_writable(tmp_path / name)
    check_writable(tmp_path / "dangling" / "below")
