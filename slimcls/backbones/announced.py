"""Whether a file in the hub's cache is the one that the hub announced."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from slimcls.errors import UserError
from slimcls.storage.cache import file_sha256

_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


def intact(file: Path) -> bool:
    """Whether a file has the hash that the cache stores it under.

    The hub names large files by their SHA-256 and small ones by their hash in git; a mirror may use
    the SHA-1 of the contents. What is stored under another name, or as itself (a system without
    links), cannot be told and counts as intact. What cannot be read does not.
    """
    try:
        return _fits(file, file.resolve().name)
    except OSError:
        return False


def _fits(file: Path, announced: str) -> bool:
    if _SHA256.fullmatch(announced):
        return file_sha256(file) == announced
    if _SHA1.fullmatch(announced):
        content = file.read_bytes()
        return announced in (_sha1(b"blob %d\0" % len(content) + content), _sha1(content))
    return True


def _sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def delete(file: Path) -> None:
    """Take a damaged file out of the cache, so that it is fetched again.

    Raises UserError where the cache cannot be written.
    """
    try:
        file.resolve().unlink(missing_ok=True)
        file.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{file}: is damaged and cannot be deleted ({error.strerror}); delete it, and the file "
            "it links to, to have it fetched again"
        ) from None
