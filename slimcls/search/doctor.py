"""The look at the data that a fit begins with: what is wrong, what was mended, what to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slimcls.data import catalog, texts
from slimcls.data.hub_named import pinned
from slimcls.data.pooling import Table
from slimcls.data.tables import Sources, Tables, read_sources, tables_of
from slimcls.errors import UserError, in_short
from slimcls.search.answer import Finding
from slimcls.search.class_sizes import class_sizes
from slimcls.search.cleaned_copy import Copy, write_copy
from slimcls.search.items import Item, Items, counted, place_of, quoted
from slimcls.search.leaks import label_leaks
from slimcls.search.look_alikes import look_alike_labels
from slimcls.search.make_up import make_up
from slimcls.search.mending import every_item, mend
from slimcls.search.near_copies import near_copies
from slimcls.search.without_labels import unlabelled_file

#: With fewer rows there is nothing to hold out.
FEWEST_ROWS = 10


@dataclass(frozen=True)
class Look:
    """What was found, and what to go on with."""

    dataset: str
    """For ``--dataset``: the mended copy, or what was given where nothing had to be mended."""
    text_column: str | None
    label_column: str | None
    findings: tuple[Finding, ...]
    read: int
    """Rows that were read, those that cannot be used included."""
    rows: dict[str, int]
    """Rows by part, as a run has them: train, validation (where there is one), test."""
    classes: dict[str, int]
    """Rows of each class in all parts together."""
    numbers: dict[str, tuple[str, str, tuple[int, ...]]]
    """By part that rows were read from: its file, what its rows are counted in, and where each row
    of ``dataset`` stood there."""
    pooled: bool
    """Whether ids count on from part to part."""
    skips: bool = False
    """Whether ``dataset`` has rows that cannot be used, of which there is no copy without them."""

    def place(self, part: str, id: int) -> str:
        """Where the item of a run with this id, of this part, stands in what the user gave."""
        if not self.pooled:
            where, unit, numbers = self.numbers[part]
            return place_of(where, unit, numbers[id])
        for where, unit, numbers in self.numbers.values():
            if id < len(numbers):
                return place_of(where, unit, numbers[id])
            id -= len(numbers)
        raise IndexError(id)


def look(
    dataset: str,
    folder: Path,
    *,
    data_dir: Path | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    unlabelled: str | None = None,
) -> Look:
    """Look at a dataset; of one's own files a mended copy is written where rows are left out.

    Args:
        dataset: as ``--dataset`` takes it.
        folder: where ``cleaned.csv``, or ``cleaned/`` for several files, is written.
        data_dir: as ``--data-dir``.
        text_column: as ``--text-column``; of the unlabelled file too.
        label_column: as ``--label-column``.
        unlabelled: as ``--unlabelled``.

    Raises:
        UserError: data that cannot be read, or that make no sense for a classifier: one class, a
            handful of rows, all texts equal, nothing that could be held out.
    """
    spec = catalog.find_dataset(dataset, text_column=text_column, label_column=label_column)
    sources = read_sources(spec, data_dir, skip_bad_rows=True)
    items, findings = mend(sources)
    every = every_item(sources)
    _refuse(items, every)
    own, mended = bool(spec.files), len(items.all) < len(every) or bool(sources.left_out)
    tables = tables_of(_only(items) if own else sources, remark=False)
    findings += near_copies(items, _part_of_each(tables))
    findings += look_alike_labels(items)
    findings += class_sizes(tables)
    findings += label_leaks(items)
    findings += make_up(items, every)
    if unlabelled is not None:
        findings += unlabelled_file(unlabelled, text_column, tables)
    described = Path(dataset).suffix.lower() in (".yaml", ".yml")
    named = sources.spec.hub_revision if sources.spec.hub_named else None
    copy = Copy(pinned(dataset, named) if named else dataset, text_column, label_column)
    if own and mended:
        copy = write_copy(items, described, folder)
    return Look(
        *copy,
        findings=tuple(findings),
        read=_read(sources),
        rows={part: len(table) for part, table in _parts(tables).items()},
        classes=_classes(tables),
        numbers=_numbers(sources, items if own else None),
        pooled=sources.spec.pool,
        skips=sources.spec.hub_named,
    )


def _read(sources: Sources) -> int:
    """Rows of all files, good and bad: some are bad in themselves, some once they are looked at."""
    known = {(rows.where, number) for rows in sources.rows.values() for number in rows.numbers}
    bad = {(row.where, row.number) for row in sources.left_out}
    return len(known | bad)


def _refuse(items: Items, every: Sequence[Item]) -> None:
    """What no classifier can be made of. Raises UserError."""
    sources = items.sources
    where = next(iter(sources.rows.values())).where
    if sources.spec.files and not sources.spec.pool:
        kept = {item.label for item in items.all if item.part == "train"}
        lost = {item.label for item in every if item.part == "train"} - kept
        if lost := lost & {item.label for item in items.all}:
            raise UserError(
                f"{where}: no training text of class {quoted([items.names[min(lost)]])} is left: "
                "each stands in validation or test too, or has several labels; give it others"
            )
    different = {texts.key(item.text) for item in every}
    if len(different) == 1:
        raise UserError(
            f"{where}: all texts of column {quoted([sources.text])} are equal "
            f"('{in_short(every[0].text)}'); --text-column names another"
        )
    left = f"{counted(len(items.all), 'row')} left of {len(every):,}" if every else "no row is left"
    if len(items.all) < FEWEST_ROWS:
        raise UserError(
            f"{where}: {left} after rows without text or label, repeats and texts with several "
            f"labels; a classifier needs {FEWEST_ROWS} at the very least, and hundreds to be judged"
        )
    classes = sorted({item.label for item in items.all})
    if len(classes) == 1:
        raise UserError(
            f"{where}: {left}, all of class '{in_short(items.names[classes[0]])}'; a classifier "
            "needs two or more"
        )
    if 2 * len(classes) > len(items.all):
        raise UserError(
            f"{where}: {left} for {len(classes):,} classes: too few to learn a class from and to "
            "test it"
        )


def _only(items: Items) -> Sources:
    """The sources with these items alone."""
    parts = {part: Table() for part in items.sources.parts}
    for item in items.all:
        parts[item.part].add(item.row, item.text, item.label)
    return replace(items.sources, parts=parts)


def _parts(tables: Tables) -> dict[str, Table]:
    parts = {"train": tables.train, "validation": tables.validation, "test": tables.test}
    return {part: table for part, table in parts.items() if table is not None}


def _part_of_each(tables: Tables) -> dict[str, str]:
    return {texts.key(text): part for part, table in _parts(tables).items() for text in table.texts}


def _classes(tables: Tables) -> dict[str, int]:
    counts = dict.fromkeys(tables.spec.labels, 0)
    for table in _parts(tables).values():
        for label in table.labels:
            counts[tables.spec.labels[label]] += 1
    return {name: count for name, count in counts.items() if count}


def _numbers(sources: Sources, items: Items | None) -> dict[str, tuple[str, str, tuple[int, ...]]]:
    """Where each row that is gone on with stood; all rows where nothing was mended."""
    found = {}
    for part, rows in sources.rows.items():
        kept = sources.parts[part].ids
        # Ids of a pool count on after the last row of a part that has text and label.
        numbers = rows.numbers[: kept[-1] + 1] if kept else []
        if items is not None:
            numbers = [rows.numbers[item.row] for item in items.all if item.part == part]
        found[part] = (rows.where, rows.unit, tuple(numbers))
    return found
