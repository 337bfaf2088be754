"""Texts whose labels are never read: what a teacher shows a cut beside the labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from slimcls.data import texts
from slimcls.data.reader import READERS, stream_texts
from slimcls.data.rows import Row
from slimcls.data.splits import Splits
from slimcls.data.tables import Tables
from slimcls.errors import UserError

#: In place of a file: the dataset's own training texts that a run does not use.
REST = "rest"
_CHUNK = 1024


@dataclass(frozen=True)
class Unlabelled:
    """Texts that are in no part of a run, and what was taken out, in sentences."""

    texts: tuple[str, ...]
    notes: tuple[str, ...]


def check_unlabelled(name: str) -> None:
    """Raise UserError where ``--unlabelled`` is neither ``rest`` nor a file that can be read."""
    if name == REST:
        return
    if not Path(name).is_file():
        raise UserError(
            f"--unlabelled {name}: no such file; give a data file, or {REST} for the training "
            "texts that the run does not use"
        )
    if Path(name).suffix.lower() not in READERS:
        raise UserError(f"--unlabelled {name}: not one of {', '.join(READERS)}")


def draw_unlabelled(
    name: str, data: Tables, splits: Splits, *, column: str | None, size: int | None, seed: int
) -> Unlabelled:
    """Texts of a file, or the rest of the training texts, in an order that the seed gives.

    A text that occurs in any part of the run, or in the dataset's test and validation parts, is
    taken out; so is one that nearly is a validation or test text, since the teacher's answer to it
    gives theirs away; a text that comes again counts once.

    Args:
        name: the file, or ``rest``.
        data: the run's dataset.
        splits: the run's items.
        column: names the column of a file's texts; None for the plain one.
        size: most texts; None for all.
        seed: orders them, so that a smaller size is a part of a larger one.

    Raises:
        UserError: a file that cannot be read, or nothing is left.
    """
    # numpy and scipy take longer to import than most commands to say that a flag is wrong.
    from slimcls.data.near_duplicates import near_duplicates_among

    given, bad = list(data.train.texts), list[Row]()
    if name != REST:
        given, bad = unlabelled_texts(Path(name), column, data.spec.pair)
    held_out = [*data.test.texts, *(data.validation.texts if data.validation else ())]
    held_out += [item.text for item in splits.validation]
    known = {texts.key(text) for text in held_out}
    known |= {texts.key(item.text) for item in (*splits.demonstrations, *splits.train)}
    fresh = {key: text for text in given if (key := texts.key(text)) not in known}
    found = list(fresh.values())
    near = {place for place, _ in near_duplicates_among(found, held_out)}
    left = [text for place, text in enumerate(found) if place not in near]
    left.sort(key=lambda text: texts.rank(text, f"{seed} unlabelled"))
    if not left:
        raise UserError(
            f"--unlabelled {name}: all of its {len(given)} texts are items of the run, or nearly "
            "are its validation or test texts"
        )
    what = "training texts that are not used" if name == REST else f"texts of {name}"
    notes = [f"{min(size or len(left), len(left))} {what} are learnt without their labels"]
    if near:
        notes.append(f"{len(near)} {what} nearly are validation or test texts: left out")
    if name != REST and (again := len(given) - len(found)):
        notes.append(f"{again} {what} are items of the run, or come again: left out")
    return Unlabelled(tuple(left[:size]), (*notes, *left_out(name, bad)))


def unlabelled_texts(
    path: Path, column: str | None, pair: tuple[str, str] | None = None
) -> tuple[list[str], list[Row]]:
    """The texts of a file, and the rows that have none; a blank line of a .txt file is no row.

    ``column`` is the dataset's column of texts, where it was named; a .txt file has none. ``pair``
    are the dataset's two columns, where it has text pairs.

    Raises UserError where it cannot be read, or its column of texts is not clear.
    """
    named = None if path.suffix.lower() == ".txt" else column
    found, bad = [], []
    for row, text in chain.from_iterable(stream_texts(path, named, _CHUNK, pair)):
        if text:
            found.append(text.strip())
        elif path.suffix.lower() != ".txt" or str(row.values.get("text", "")).strip():
            bad.append(row)
    return found, bad


def left_out(name: str, bad: Sequence[Row]) -> list[str]:
    """In a sentence how many rows of a file have no text, and what is wrong with the first."""
    if not bad:
        return []
    first = f"{bad[0].place}: {bad[0].fault}"
    return [f"{name}: rows without a text: {len(bad)}, left out; the first is {first}"]
