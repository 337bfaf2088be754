"""Files and folders that are whole or not there: written beside their place, flushed, renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from slimcls.errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write, which takes the place of ``path`` when all went well.

    Raises UserError where the disk is full or the folder cannot be written.
    """
    with _said(path), _beside(path) as temporary:
        yield temporary
        _flush(temporary)
        temporary.replace(path)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """As :func:`filling`, with UserError where the disk is full or it cannot be written."""
    with _said(folder), filling(folder) as temporary:
        yield temporary


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the place of ``folder`` when all went well.

    One process at a time may fill a folder: what a killed one has left is removed. What the disk
    refuses is passed on.
    """
    for left in folder.parent.glob(_temporary_name(folder, "*")):
        shutil.rmtree(left, ignore_errors=True)
    with _beside(folder) as temporary:
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                # safetensors lets the owner alone read what it writes.
                file.chmod(temporary.stat().st_mode & 0o666)
                _flush(file)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all. Raises as :func:`replacing` does."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    """What the disk refuses, as the user's error."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be written ({error}); see --out") from None


def _temporary_name(path: Path, process: int | str) -> str:
    return f".{path.name}.{process}.tmp"


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name beside ``path``, in a folder that is there; whatever bears it is gone afterwards."""
    temporary = path.with_name(_temporary_name(path, os.getpid()))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary)
            else:
                temporary.unlink()


def _flush(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
