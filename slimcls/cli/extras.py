"""What a verb needs beyond predicting comes as an extra: whether it is there, in one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import metadata

from slimcls.errors import UserError

#: Brings what every verb but predict needs, and what predict needs for a run not exported, and for
#: a pipeline of scikit-learn's.
TRAIN, TORCH, WORDS = "train", "torch", "words"


def check_extra(command: str, extra: str) -> None:
    """Raise UserError where packages of an extra of slimcls are not installed."""
    lacking = [name for name in _packages(extra) if not _is_there(name)]
    if lacking:
        raise lacks(command, lacking, extra)


def lacks(command: str, packages: Sequence[str], extra: str = TRAIN) -> UserError:
    """The error that says which packages a command lacks and how to get them."""
    shown = ", ".join(packages[:3]) + (f" and {len(packages) - 3} more" if packages[3:] else "")
    return UserError(f"{command} needs more packages ({shown}): pip install 'slimcls[{extra}]'")


def _packages(extra: str) -> list[str]:
    """Names of the packages that an extra brings, as slimcls was installed.

    None where it was not: what lies in a checkout says what is missing when it is imported.
    """
    try:
        requirements = metadata.requires("slimcls") or []
    except metadata.PackageNotFoundError:
        return []
    brought = re.compile(rf"([\w.-]+)(?:\[([\w,-]+)\])?.*;\s*extra\s*==\s*['\"]{extra}['\"]")
    found = [match.groups() for line in requirements if (match := brought.match(line))]
    return [
        package
        for name, inner in found
        for part in (inner.split(",") if name == "slimcls" else [""])
        for package in (_packages(part) if part else [name])
    ]


def _is_there(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True
