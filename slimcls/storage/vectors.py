"""Vectors kept on disk by content, in files that any number of processes may add to."""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors.torch import load, save
from torch import Tensor

from slimcls.storage.files import replacing

#: Bytes that all folders of vectors in the cache may take together.
LIMIT = 4 * 2**30
_SIZE = 16


def digest(ids: Sequence[int]) -> bytes:
    """Identifies a list of numbers: 16 bytes."""
    return hashlib.blake2b(array("q", ids).tobytes(), digest_size=_SIZE).digest()


class Vectors:
    """Vectors of one kind, each under the digest of what it was computed from.

    Every :meth:`add` makes one safetensors file, named by the hash of its bytes, which is never
    changed again: writers cannot disturb each other or a reader, and what a fault of the disk or
    a person has changed no longer fits its name and counts as absent. Beside ``folder`` stand the
    folders of other kinds; together they are kept below ``limit`` bytes, and the files that were
    not read for longest go first.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder, self.limit = folder, limit

    def read(self, wanted: Collection[bytes]) -> dict[bytes, Tensor]:
        """Those of the wanted vectors that are there."""
        missing, found = set(wanted), {}
        for file in sorted(self.folder.glob("*.safetensors")):
            if not missing:
                break
            held = _read(file)
            found.update({key: held[key] for key in missing & held.keys()})
            missing -= held.keys()
        return found

    @contextlib.contextmanager
    def alone(self, waiting: Callable[[], Any]) -> Iterator[None]:
        """Hold the folder, so that processes that lack the same vectors compute them once.

        ``waiting`` is called if another process holds it. A folder that has no locks is not held.
        """
        lock = FileLock(self.folder / ".lock")
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                try:
                    held.enter_context(lock.acquire(timeout=0))
                except Timeout:
                    waiting()
                    held.enter_context(lock.acquire())
            yield

    def add(self, vectors: Mapping[bytes, Tensor]) -> None:
        """Write vectors (hidden,) of one size. Raises UserError where that cannot be done."""
        keys = torch.frombuffer(bytearray(b"".join(vectors)), dtype=torch.uint8)
        content = save(
            {"keys": keys.view(-1, _SIZE), "vectors": torch.stack(list(vectors.values()))}
        )
        name = hashlib.sha256(content).hexdigest()[:32]
        with replacing(self.folder / f"{name}.safetensors") as temporary:
            temporary.write_bytes(content)
        _drop_oldest(self.folder.parent, self.limit)


def _read(file: Path) -> dict[bytes, Tensor]:
    """The vectors of a file; none, and the file is deleted, if it is damaged."""
    try:
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest()[:32] != file.stem:
            file.unlink()
            return {}
        # Its time of change says when it was last of use.
        os.utime(file)
    except OSError:
        return {}
    held = load(content)
    keys = held["keys"].numpy().tobytes()
    places = range(0, len(keys), _SIZE)
    return dict(zip((keys[i : i + _SIZE] for i in places), held["vectors"].unbind(), strict=True))


def _drop_oldest(folder: Path, limit: int) -> None:
    """Delete files until the rest is within the limit; other processes may do so, too."""
    files = []
    for file in folder.glob("*/*"):
        with contextlib.suppress(OSError):
            state = file.stat()
            files.append((state.st_mtime_ns, state.st_size, file))
    total = sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            file.unlink()
            total -= size
