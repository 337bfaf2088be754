"""Files and folders that are whole or not there: written beside their place, flushed, renamed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from slimcls.errors import Busy, UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write, which takes the place of ``path`` when all went well.

    The writer holds a kernel lock on it, by which the next writer of ``path`` knows, on a shared
    file system too, whether a killed process has left it; where there are no locks it stays. A
    link is written through.

    Raises UserError where the disk is full, the folder cannot be written, or ``path`` is no file.
    """
    with _said(path):
        target = _followed(path)
        if target.exists() and not target.is_file():
            raise UserError(f"{path}: is no file that could be replaced; name another")
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in _left(target):
            _remove_dead(left)
        temporary, held = _claimed(target)
        try:
            yield temporary
            _flush(temporary)
            temporary.replace(target)
        finally:
            os.close(held)
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """As :func:`filling`, with UserError where the disk is full or it cannot be written."""
    with _said(folder), filling(folder) as temporary:
        yield temporary


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the place of ``folder`` when all went well.

    One process at a time may fill a folder (:func:`alone`): what a killed one has left is removed.
    The old folder stays beside its place until the new one is in it, and comes back where that
    fails or was cut short. A link is written through. What the disk refuses is passed on.
    """
    target = _followed(folder)
    if target.exists() and not target.is_dir():
        raise UserError(f"{folder}: is no folder; name another")
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in _left(target):
        _remove(left)
    old = target.with_name(f".{target.name}.old")
    if old.exists():
        _put_back(old, target)
    temporary = _temporary(target)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                # safetensors lets the owner alone read what it writes.
                file.chmod(temporary.stat().st_mode & 0o666)
                _flush(file)
        if target.exists():
            target.rename(old)
        temporary.rename(target)
    finally:
        if old.exists():
            _put_back(old, target)
        shutil.rmtree(temporary, ignore_errors=True)


def _put_back(old: Path, target: Path) -> None:
    """The folder of before, where there is no other now; else it goes."""
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.rename(target)


@contextlib.contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Keep other processes from writing ``path`` in the meantime; the kernel lets go when we die.

    The lock is a file beside ``path`` that goes afterwards. On a file system without locks nobody
    is kept out.

    Raises:
        Busy: another process holds it; ``what`` says what it writes.
        UserError: the folder cannot be written.
    """
    with _said(path):
        whole = path.absolute()
        lock = whole.with_name(f".{whole.name}.lock")
        whole.parent.mkdir(parents=True, exist_ok=True)
        held = _only_holder(lock)
    if held is None:
        raise Busy(f"{path}: another process is writing {what}; wait for it, or name another --out")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(held)


def remove_leftovers(folder: Path) -> None:
    """Remove temporaries anywhere in a folder that nobody else writes into now."""
    for left in list(folder.rglob(".*.tmp")):
        _remove(left)


def check_writable(folder: Path) -> None:
    """Whether a folder can be made, or written into where it is there; nothing is left of the try.

    What a system says of permissions is not all that counts: for root, or on a disk that is
    mounted to be read only, the try alone tells. Raises UserError.
    """
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".slimcls-"):
            pass
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be written ({error.strerror})") from None


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all. Raises as :func:`replacing` does."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    """What the disk refuses, as the user's error."""
    try:
        yield
    except Exception as error:
        # The one of safetensors, which need not be installed, is no OSError.
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        raise UserError(f"{path}: cannot be written ({error}); see --out") from None


def _followed(path: Path) -> Path:
    """Where a link leads; any other path as it is. Raises OSError for a circle of links."""
    if not path.is_symlink():
        return path
    with contextlib.suppress(FileNotFoundError):
        path.stat()
    return Path(os.path.realpath(path))


def _temporary(path: Path) -> Path:
    """A name beside ``path`` that no other process or thread has, on any machine."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def _left(path: Path) -> list[Path]:
    """Temporaries beside ``path`` that stand for it, of whatever process."""
    name = re.compile(re.escape(f".{path.name}.") + r"\d+(\.[0-9a-f]{8})?\.tmp")
    with os.scandir(path.parent) as entries:
        return [path.parent / entry.name for entry in entries if name.fullmatch(entry.name)]


def _remove(left: Path) -> None:
    with contextlib.suppress(OSError):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _remove_dead(left: Path) -> None:
    """Remove a temporary that no process writes: its lock can be had."""
    with contextlib.suppress(OSError):
        opened = os.open(left, os.O_RDWR)
        try:
            if _lock(opened):
                left.unlink()
        finally:
            os.close(opened)


def _claimed(path: Path) -> tuple[Path, int]:
    """A new temporary of ``path`` and the descriptor that holds its lock."""
    while True:
        temporary = _temporary(path)
        held = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(held)
        # Who looked before the lock was ours has taken the file for a dead process's.
        if _is_still(temporary, held):
            return temporary, held
        os.close(held)


def _only_holder(lock: Path) -> int | None:
    """The descriptor of a lock file that is ours now; None where another process has it."""
    while True:
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        if _lock(held) is False:
            os.close(held)
            return None
        # Who held it before us has removed the file that we opened.
        if _is_still(lock, held):
            return held
        os.close(held)


def _lock(descriptor: int) -> bool | None:
    """Whether the lock of an open file is ours now; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether ``path`` is the file that is open here."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _flush(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
