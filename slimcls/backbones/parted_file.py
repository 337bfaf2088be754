"""One weight file at the hub, of which parts are kept in the user's cache, a folder each."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from slimcls.backbones.archive import Damaged, begin_in, tensors_in_archive
from slimcls.backbones.directory import Directory, Tensor, tensors_in_safetensors
from slimcls.backbones.hub import parts_folder
from slimcls.backbones.pieces import Told, bring, forget
from slimcls.backbones.ranges import Changed, RemoteFile
from slimcls.backbones.streamed import header_of
from slimcls.errors import UserError
from slimcls.storage.cache import build_once, file_sha256
from slimcls.storage.files import write_text
from slimcls.storage.network import out_of_reach

#: Files of a part's folder.
WEIGHTS, HASH = "model.safetensors", "sha256"

#: What knows the tensors of a file, by how its name ends.
READERS: dict[str, Callable[[RemoteFile], dict[str, Tensor]]] = {
    ".safetensors": tensors_in_safetensors,
    ".bin": tensors_in_archive,
}

_COPIED = 1 << 24


class PartedFile:
    """A weight file of one commit.

    ``part_of`` says to which part a tensor belongs; None for those that are never fetched. What
    the file holds is asked once and kept beside the parts.
    """

    def __init__(
        self, repo: str, commit: str, name: str, part_of: Callable[[str], str | None]
    ) -> None:
        self.name, self.part_of = name, part_of
        self._repo, self._commit = repo, commit
        self._root = parts_folder(commit) / name

    @cached_property
    def directory(self) -> Directory:
        """Its tensors. Raises UserError, and NotInParts where they cannot be told apart."""
        note = self._root / "directory.json"
        try:
            return Directory.from_json(note.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError):
            remote = self._remote
            tensors = READERS[Path(self.name).suffix](remote)
            found = Directory(remote.hash, remote.size, tensors)
        write_text(note, found.to_json())
        return found

    @cached_property
    def whole_size(self) -> int:
        """Bytes of the whole file. Raises UserError."""
        return self._remote.size

    def parts(self) -> list[str]:
        """The parts that it holds, or holds some of."""
        return sorted({part for name in self.directory.tensors if (part := self.part_of(name))})

    def here(self) -> list[str]:
        """The parts of it that were fetched before."""
        return sorted(place.parent.name for place in self._root.glob(f"*/{HASH}"))

    def is_here(self, part: str) -> bool:
        """Whether a part was fetched before."""
        return (self._root / part / HASH).exists()

    def size(self, part: str) -> int:
        """Bytes that a part travels with."""
        return sum(stop - start for start, stop in {(t.start, t.stop) for t in self._of(part)})

    def bring(self, part: str, told: Told) -> Path:
        """The file that has a part alone; fetched if it is not here, and again if it was spoiled.

        Raises:
            UserError: it cannot be had, or kept.
        """
        folder = self._root / part
        if self.is_here(part) and not _intact(folder):
            print(f"note: {folder} was damaged and is fetched again", file=sys.stderr)
            shutil.rmtree(folder)
        return build_once(folder, lambda target: self._build(part, target, told)) / WEIGHTS

    def _of(self, part: str) -> list[Tensor]:
        return [t for name, t in self.directory.tensors.items() if self.part_of(name) == part]

    @cached_property
    def _remote(self) -> RemoteFile:
        if why := out_of_reach():
            here = ", ".join(self.here()) or "none of its parts"
            raise UserError(
                f"--model {self._repo}: not all of {self.name} that it takes is on this machine "
                f"({here} is), and {why}; connect once, or keep what is here"
            )
        return RemoteFile(self._repo, self.name, self._commit)

    def _build(self, part: str, folder: Path, told: Told) -> None:
        """Fetch a part into an empty folder, but not again what came before a kill."""
        unfinished = self._root / f"{part}.unfinished"
        for _ in range(2):
            self._fetch(part, unfinished, told)
            try:
                written = self._write(part, unfinished, folder / WEIGHTS)
            except Damaged:
                forget(unfinished)
                continue
            (folder / HASH).write_text(written)
            forget(unfinished)
            return
        raise UserError(
            f"--model {self._repo}: {part} of {self.name} arrived damaged twice: its checksum is "
            "another; try again later, or from another network"
        )

    def _fetch(self, part: str, unfinished: Path, told: Told) -> None:
        try:
            if (self._remote.hash, self._remote.size) != (self.directory.hash, self.directory.size):
                raise Changed(
                    f"--model {self._repo}: {self.name} is another file than the one whose parts "
                    f"are in {self._root}; delete that folder to start anew"
                )
            bring(self._remote, ((t.start, t.stop) for t in self._of(part)), unfinished, told)
        except Changed:
            forget(unfinished)
            raise

    def _write(self, part: str, fetched: Path, path: Path) -> str:
        """A safetensors file of a part's tensors, as they lie in ``fetched``; its SHA-256.

        Raises Damaged.
        """
        named = {n: t for n, t in self.directory.tensors.items() if self.part_of(n) == part}
        header = header_of(named, {"format": "pt", "source": self._commit})
        total = hashlib.sha256()
        with fetched.open("rb") as source, path.open("wb") as target:
            target.write(header)
            total.update(header)
            for tensor in named.values():
                _copy(source, begin_in(source, tensor), tensor.nbytes, target, total.update)
        return total.hexdigest()


def _copy(
    source: BinaryIO, start: int, size: int, target: BinaryIO, seen: Callable[[bytes], None]
) -> None:
    source.seek(start)
    while size:
        chunk = source.read(min(size, _COPIED))
        if not chunk:
            raise Damaged
        target.write(chunk)
        seen(chunk)
        size -= len(chunk)


def _intact(folder: Path) -> bool:
    try:
        return file_sha256(folder / WEIGHTS) == (folder / HASH).read_text()
    except OSError:
        return False
