"""The user's cache folder: things built once, atomically, by whichever process comes first."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from slimcls.errors import Busy, UserError
from slimcls.storage.files import filling, write_text
from slimcls.storage.hashes import sha256_of
from slimcls.storage.paths import user_path


def cache_dir() -> Path:
    """Where converted and built models are kept: SLIMCLS_CACHE, else the platform's cache.

    Raises UserError where SLIMCLS_CACHE is no path.
    """
    named = os.environ.get("SLIMCLS_CACHE")
    if named:
        return user_path(named, "SLIMCLS_CACHE")
    import platformdirs

    return Path(platformdirs.user_cache_dir("slimcls"))


def build_once(folder: Path, build: Callable[[Path], None], *, wait: bool = True) -> Path:
    """Return ``folder``, filled by ``build`` if it is not there yet.

    ``build`` writes into an empty folder beside it, which is renamed when it is complete: a
    killed process leaves no half-made folder, and two processes build it once.

    Raises:
        UserError: the cache cannot be written (no permission, disk full).
        Busy: without ``wait``, another process is building it.
    """
    if folder.is_dir():
        return folder
    from filelock import FileLock, Timeout

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock", timeout=-1 if wait else 0):
            if not folder.is_dir():
                with filling(folder) as unfinished:
                    build(unfinished)
    except Timeout:
        raise Busy(f"{folder}: another process is making it") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"cannot write the cache {folder.parent}: {reason}; "
            "set SLIMCLS_CACHE to a folder that can be written"
        ) from error
    return folder


def content_hash(files: Iterable[Path], texts: Mapping[str, str] | None = None) -> str:
    """``sha256:`` of names and contents, whatever the order in which the files are given.

    ``texts`` are files that have another text than is on the disk, by name.
    """
    contents = {file.name: file_sha256(file) for file in files}
    for name, text in (texts or {}).items():
        contents[name] = hashlib.sha256(text.encode()).hexdigest()
    total = hashlib.sha256()
    for name in sorted(contents):
        total.update(f"{name}\0{contents[name]}\n".encode())
    return f"sha256:{total.hexdigest()}"


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's contents, in hexadecimal.

    It is remembered in the cache by path, size, inode and times of last change, so that a large
    model is read once and not at each run. Raises OSError where the file cannot be read.
    """
    state = file.stat()
    # A file's modification time can be set at will (cp -p, rsync, touch -d); this pair cannot.
    changed = f"{state.st_mtime_ns}\0{state.st_ctime_ns}\0{state.st_ino}"
    identity = f"{file.resolve()}\0{state.st_size}\0{changed}"
    name = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
    note = cache_dir() / "hashes" / f"{name[:32]}.json"
    try:
        known = json.loads(note.read_text())["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        known = None
    if isinstance(known, str):
        return known
    found = sha256_of(file)
    _remember(note, {"file": str(file), "sha256": found})
    return found


def _remember(note: Path, content: dict[str, str]) -> None:
    """Write a note if the cache can be written: a hash that is not remembered is still right."""
    with contextlib.suppress(UserError):
        write_text(note, json.dumps(content))
