"""What tells one file's contents from another's."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(*files: Path) -> str:
    """SHA-256 of a file, or of the one that several are parts of, in this order; in hexadecimal.

    Raises OSError where one cannot be read.
    """
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            # Goes on with the same sum: what it is called with need not be new.
            hashlib.file_digest(opened, lambda: total)
    return total.hexdigest()
