"""Paths as people give them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Annotated

from slimcls.errors import UserError, in_short

#: A setting that names a file or a folder, or also something that is known by name.
PathName = Annotated[str, "a path"]
NameOrPath = Annotated[str, "a name or a path"]

#: Folders above a path; what walks a path folder by folder gives up far later.
DEEPEST = 200
#: Bytes of a file's name.
LONGEST = 255


def user_path(name: str, what: str) -> Path:
    """The path that ``name`` stands for, ``~`` expanded; whether there is anything is not asked.

    ``what`` is the flag or variable that errors name. Raises UserError for ``~`` and an unknown
    user, and for what no file system takes: NUL, names of thousands of letters.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError:
        user = name[1:].partition("/")[0]
        raise UserError(f"{what} {in_short(name)}: there is no user {in_short(user)}") from None
    if len(path.parts) > DEEPEST:
        raise UserError(f"{what} {in_short(name)}: is more than {DEEPEST} folders deep")
    try:
        # The system looks at names only as deep as there are folders.
        if max(map(len, map(os.fsencode, path.parts)), default=0) > LONGEST:
            raise OSError(errno.ENAMETOOLONG, "")
        os.lstat(path)
    except ValueError:
        raise UserError(f"{what} {in_short(name)}: no file can have that name") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(f"{what} {in_short(name)}: is too long a name for a file") from None
    return path
