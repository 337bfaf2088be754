"""A folder that lives as long as what holds it, and travels as its files."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path


class HeldFolder:
    """A folder of files in the system's place for temporary ones, removed with this object.

    Pickled or copied it is the files' bytes and nothing that runs; each copy has its own folder.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="slimcls-"))
        weakref.finalize(self, _remove, self.path, os.getpid())

    @classmethod
    def of(cls, folder: Path) -> HeldFolder:
        """One with all that is in ``folder``, which is moved."""
        held = cls()
        for path in folder.iterdir():
            shutil.move(path, held.path / path.name)
        return held

    def __getstate__(self) -> dict[str, bytes]:
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        return {path.relative_to(self.path).as_posix(): path.read_bytes() for path in files}

    def __setstate__(self, files: dict[str, bytes]) -> None:
        self.__init__()  # type: ignore[misc]
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _remove(folder: Path, owner: int) -> None:
    """Remove a folder; a forked process has a copy of the object, and not of the folder."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
