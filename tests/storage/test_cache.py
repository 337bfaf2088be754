"""Things are built once, whole, by one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE

from slimcls.errors import UserError
from slimcls.storage import cache


def test_folder_is_named_or_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path))
    assert cache.cache_dir() == tmp_path
    monkeypatch.delenv("SLIMCLS_CACHE")
    assert cache.cache_dir().name == "slimcls"


def test_a_folder_of_nobody_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLIMCLS_CACHE", "~nouser/x")
    with pytest.raises(UserError, match="SLIMCLS_CACHE ~nouser/x: there is no user nouser"):
        cache.cache_dir()


def test_built_once(tmp_path: Path):
    calls = []

    def build(target: Path) -> None:
        calls.append(target)
        (target / "a").write_text("x")

    for _ in range(2):
        assert cache.build_once(tmp_path / "thing", build) == tmp_path / "thing"
    assert len(calls) == 1
    assert (tmp_path / "thing" / "a").read_text() == "x"


def test_a_failed_build_leaves_nothing(tmp_path: Path):
    def build(target: Path) -> None:
        (target / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.build_once(tmp_path / "thing", build)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.fault("kills")
def test_what_a_killed_build_left_is_removed(tmp_path: Path):
    left = tmp_path / ".thing.123.tmp"
    left.mkdir()
    (left / "half").write_text("x")
    cache.build_once(tmp_path / "thing", lambda target: (target / "a").touch())
    assert not left.exists()


def test_disk_faults_are_said(tmp_path: Path):
    def build(target: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device; set SLIMCLS_CACHE"):
        cache.build_once(tmp_path / "thing", build)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write the cache"):
        cache.build_once(tmp_path / "file" / "below" / "thing", build)


def test_hashes_follow_contents_and_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "a"
    file.write_text("one")
    first = cache.content_hash([file])
    read = []
    real = cache.hashlib.file_digest
    monkeypatch.setattr(cache.hashlib, "file_digest", lambda *a: read.append(1) or real(*a))
    assert cache.content_hash([file]) == first
    assert not read
    file.write_text("two")
    os.utime(file, ns=(1, 1))
    assert cache.content_hash([file]) != first
    assert read
    for note in (tmp_path / "cache" / "hashes").iterdir():
        note.write_text("broken")
    file.write_text("one")
    assert cache.content_hash([file]) == first


@pytest.mark.parametrize("replaced", [True, False])
def test_contents_that_change_behind_their_time_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
):
    """Same path, size and modification time, as ``cp -p`` or a restored backup leaves it."""
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "a"
    file.write_text("one")
    first, state = cache.content_hash([file]), file.stat()
    other = tmp_path / "b" if replaced else file
    other.write_text("two")
    other.replace(file)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert cache.content_hash([file]) != first


def test_hashes_need_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path / "file" / "below"))
    assert cache.content_hash([tmp_path / "file"]).startswith("sha256:")


RACE = """
import sys, time, pathlib
from slimcls.storage.cache import build_once
def build(target):
    with open(sys.argv[1] + "/builds", "a") as log:
        log.write("x")
    (target / "a").write_text("half")
    time.sleep(0.5)
    (target / "a").write_text("whole")
folder = build_once(pathlib.Path(sys.argv[1]) / "thing", build)
assert (folder / "a").read_text() == "whole"
"""


@pytest.mark.fault("races")
def test_processes_at_once_build_it_once(tmp_path: Path):
    racers = [subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path)]) for _ in range(3)]
    assert [racer.wait(PATIENCE) for racer in racers] == [0, 0, 0]
    assert (tmp_path / "builds").read_text() == "x"
