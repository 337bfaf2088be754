"""Ranges of a hub file, fetched to their own places in a sparse file; a killed process goes on."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slimcls.backbones.ranges import RemoteFile

#: Bytes between two ranges that are fetched along rather than asked around.
GAP = 1 << 20
#: Most bytes of one request: what a kill can cost, for each of so many at once.
PIECE = 32 << 20
THREADS = 4

Piece = tuple[int, int]
#: Told how many more bytes are there.
Told = Callable[[int], object]

_DONE = re.compile(r"(\d+) (\d+)\n")


class _Stopped(Exception):
    """Another piece failed: this one need not go on."""


def pieces_of(ranges: Iterable[Piece]) -> list[Piece]:
    """Requests that bring all ``ranges``: near ones joined, long ones cut."""
    runs: list[list[int]] = []
    for start, stop in sorted(ranges):
        if runs and start - runs[-1][1] <= GAP:
            runs[-1][1] = max(stop, runs[-1][1])
        else:
            runs.append([start, stop])
    return [(at, min(at + PIECE, stop)) for start, stop in runs for at in range(start, stop, PIECE)]


def bring(remote: RemoteFile, ranges: Iterable[Piece], file: Path, told: Told) -> None:
    """Fetch ranges into ``file``, each to where it is in the hub's file; holes between them.

    A journal beside it has the finished pieces, so that the same call goes on after a kill.
    Raises as :meth:`RemoteFile.stream` does, and OSError.
    """
    wanted, done = pieces_of(ranges), _finished(remote, file)
    told(sum(stop - start for start, stop in wanted if (start, stop) in done))
    stopped, writing = threading.Event(), threading.Lock()
    with file.open("r+b", buffering=0) as opened, journal_of(file).open("a") as journal:

        def take(at: int, chunk: bytes) -> None:
            if stopped.is_set():
                raise _Stopped
            written = os.pwrite(opened.fileno(), chunk, at)
            if written < len(chunk):
                raise OSError(f"{file}: only {written} of {len(chunk)} bytes were written")
            told(len(chunk))

        def fetch(piece: Piece) -> None:
            try:
                if piece not in done and not stopped.is_set():
                    remote.stream(*piece, take)
                    # What the journal names has to outlast a power cut.
                    os.fsync(opened.fileno())
                    with writing:
                        journal.write(f"{piece[0]} {piece[1]}\n")
                        journal.flush()
            except BaseException:
                stopped.set()
                raise

        with ThreadPoolExecutor(THREADS) as pool:
            jobs = [pool.submit(fetch, piece) for piece in wanted]
            try:
                failed = [error for job in jobs if (error := job.exception())]
            except BaseException:  # Ctrl-C, while waiting
                stopped.set()
                raise
    for error in sorted(failed, key=lambda error: isinstance(error, _Stopped)):
        raise error


def forget(file: Path) -> None:
    """Remove a sparse file with its journal."""
    journal_of(file).unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def journal_of(file: Path) -> Path:
    """Where the finished pieces of ``file`` are named: the hash first, then a piece a line."""
    return file.with_name(f"{file.name}.journal")


def _finished(remote: RemoteFile, file: Path) -> set[Piece]:
    """The pieces that are there; where they are of another file, or none are, all starts anew."""
    journal, head = journal_of(file), f"{remote.hash} {remote.size}\n"
    if file.exists() and journal.exists():
        first, *lines = journal.read_text().splitlines(keepends=True) or [""]
        if first == head:
            found = map(_DONE.fullmatch, lines)
            return {(int(line[1]), int(line[2])) for line in found if line}
    forget(file)
    file.touch()
    journal.write_text(head)
    return set()
