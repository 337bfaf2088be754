"""A hostile case is one row: how its input is made, the words of the command, what comes out.

A row is added to one of the lists beside this file; ``test_hostile.py`` runs them all in one warm
process. Whatever comes in, a command ends in exit code 0 with what it promises, or in 2 with one
line that says what is wrong; never in a traceback, with a half-written file, or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Makes the input of a case in its own empty folder, where the command is run. The second folder
#: holds ``rev.csv`` (90 rows, columns text and label, three classes) and a finished run of it in
#: each mode: ``cls`` and ``p-cls``.
Make = Callable[[Path, Path], object]

#: How a run on a few rows ends in a second.
QUICK = "--shots all --model tiny-gpt2 --mode cls --epochs 1 --keep 1 --out runs"


def nothing(folder: Path, world: Path) -> None:
    """No input of its own."""


@dataclass(frozen=True)
class Case:
    """One row."""

    name: str
    words: str
    """Verb and words as a shell would split them. {quick}, {cls}, {pcls} and {rev} stand for the
    settings of a quick run, the two finished runs, and the rows that they are of."""
    code: int
    says: str
    """Regular expression: found in the one line of code 2, or in all that is printed."""
    make: Make = nothing
    more: tuple[str, ...] = ()
    """Further words that no shell could hand over as text."""
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    check: Callable[[Path], object] | None = None
    """Looks at the folder afterwards; asserts."""


def text(name: str, content: str | bytes) -> Make:
    """A file with this content; text as UTF-8, half surrogates as they are."""

    def make(folder: Path, world: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        path.write_bytes(raw)

    return make


def both(*makes: Make) -> Make:
    """One after the other."""

    def make(folder: Path, world: Path) -> None:
        for one in makes:
            one(folder, world)

    return make


def run_copy(change: Callable[[Path], object], mode: str = "cls", name: str = "RUN") -> Make:
    """A copy of a finished run as RUN; ``change`` is given its model/."""

    def make(folder: Path, world: Path) -> None:
        shutil.copytree(world / mode, folder / name)
        change(folder / name / "model")

    return make


def model_copy(change: Callable[[Path], object]) -> Make:
    """A copy of the tiny model as the folder M; ``change`` is given it."""

    def make(folder: Path, world: Path) -> None:
        from slimcls.backbones import tiny

        shutil.copytree(tiny.build("tiny-gpt2"), folder / "M")
        change(folder / "M")

    return make


def json_with(name: str, **entries: Any) -> Callable[[Path], None]:
    """Sets entries of a JSON file in a folder."""

    def change(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(content | entries), encoding="utf-8")

    return change


def content(name: str, raw: str | bytes) -> Callable[[Path], None]:
    """Writes a file in a folder over what is there."""

    def change(folder: Path) -> None:
        data = raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")
        (folder / name).write_bytes(data)

    return change


def gone(*names: str) -> Callable[[Path], None]:
    """What must not be there afterwards."""

    def check(folder: Path) -> None:
        assert not [name for name in names if (folder / name).exists()]

    return check
