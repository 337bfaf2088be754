"""A dataset's rows as tables: found, read, checked, stripped, and fingerprinted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from slimcls.data import corpus
from slimcls.data.columns import choose_columns
from slimcls.data.labels import Labels
from slimcls.data.pairs import PAIR_SLOTS, Pair, parts_of, slots_of
from slimcls.data.pooling import Table, split_pool
from slimcls.data.reader import read_rows
from slimcls.data.remarks import Remarks
from slimcls.data.rows import ADVICE, STOP, BadRow, BadRows, Rows, as_text, listed
from slimcls.data.spec import DatasetSpec
from slimcls.errors import UserError
from slimcls.storage.paths import user_path

__all__ = ["Table", "Tables", "read_tables"]

#: A part with fewer rows gives too wide an interval to tell models apart: it is warned about.
FEW = 200

DEFAULT_TEMPLATE = "Text: {text}\nLabel:{label}"
DEFAULT_PAIR_TEMPLATE = "Premise: {premise}\nHypothesis: {hypothesis}\nLabel:{label}"


@dataclass(frozen=True)
class Tables:
    """A dataset's parts, all rows of each."""

    #: The specification with labels, template and label words filled in.
    spec: DatasetSpec
    train: Table
    #: None where the source has no validation part: one is reserved from train.
    validation: Table | None
    #: Empty where rows are given in memory: nothing is tested then.
    test: Table
    #: "sha256:..." of the rows and of what decides how they are read and put into prompts.
    fingerprint: str
    #: What was dropped, counted, and warnings.
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sources:
    """A dataset's rows as they were read: nothing is pooled, split or taken for a repeat yet."""

    #: The specification as it was given.
    spec: DatasetSpec
    rows: dict[str, Rows]
    #: Names of the column of texts, or of the two of text pairs, and of the labels'.
    texts: tuple[str, ...]
    label: str
    labels: Labels
    #: Stripped texts and class numbers of the rows that have both; ids are places in ``rows``.
    parts: dict[str, Table]
    #: Rows without a text: places in ``rows``.
    empty: dict[str, list[int]]
    #: What was left out of the user's own files.
    left_out: list[BadRow]
    #: What was left out, counted, and what was made of labels.
    notes: list[str]

    @property
    def text(self) -> str:
        """Its columns of texts as a setting has them: a name, or two with a comma between."""
        return ",".join(self.texts)


def read_tables(
    spec: DatasetSpec, data_dir: Path | None = None, *, skip_bad_rows: bool = False
) -> Tables:
    """Read a dataset: from its own files, else from ``data_dir``, the installed corpus, the hub.

    Args:
        spec: as :func:`slimcls.data.catalog.find_dataset` gives it.
        data_dir: holds ``<name>/<split>.parquet`` with the hub's column and split names;
            ``SLIMCLS_DATA_DIR`` where None.
        skip_bad_rows: leaves out what cannot be used of the user's own files, with a note; else
            the first such row is an error.

    Raises:
        UserError: rows that cannot be found, read or used, with file and line.
    """
    return tables_of(read_sources(spec, data_dir, skip_bad_rows=skip_bad_rows))


def read_sources(
    spec: DatasetSpec, data_dir: Path | None = None, *, skip_bad_rows: bool = False
) -> Sources:
    """The first half of :func:`read_tables`: all rows, with their texts and class numbers."""
    may_skip = spec.files or spec.hub_named
    bad_rows = BadRows(skip=skip_bad_rows, advice=ADVICE) if may_skip else STOP
    return sources_of(*_rows_of(spec, data_dir, bad_rows), bad_rows)


def sources_of(spec: DatasetSpec, rows: dict[str, Rows], bad_rows: BadRows = STOP) -> Sources:
    """The texts and class numbers of rows, wherever they were read.

    Raises UserError for rows that cannot be used; ``bad_rows`` says which of them may be left out.
    """
    first = rows["train" if "train" in rows else next(iter(rows))]
    texts, label = choose_columns(spec, first)
    labels = Labels(spec, label, first, texts)
    notes = [spec.note] if spec.note else []
    if len(texts) > 1 and spec.own_rows and not spec.text_column:
        notes.append(f"columns {' and '.join(texts)} are read as text pairs")
    parts, empty = {}, {}
    for part, mine in rows.items():
        _need_columns(mine, (*texts, label))
        parts[part], empty[part] = _table(mine, texts, labels, bad_rows)
        notes += _without_text(mine, texts, empty[part], bad_rows if spec.own_rows else None)
    notes += [*bad_rows.notes(), *labels.notes()]
    return Sources(spec, rows, texts, label, labels, parts, empty, bad_rows.left_out(), notes)


def tables_of(sources: Sources, *, remark: bool = True) -> Tables:
    """The second half of :func:`read_tables`: the parts, disjoint where the dataset is a pool.

    ``remark`` looks for what a person should know of their own rows, which takes seconds.
    """
    spec, rows, names = sources.spec, sources.rows, sources.labels.names
    parts, notes = sources.parts, [*sources.notes]
    remarks = Remarks(rows, parts, names) if spec.own_rows and remark else None
    notes += remarks.on_labels() if remarks else []
    if spec.pool:
        parts, said = split_pool(_pooled(parts.values()), near_duplicates=spec.near_duplicates)
        notes += said
    if remarks and not (spec.pool and spec.near_duplicates):
        notes += remarks.on_near_copies(parts)
    if remarks:
        notes += remarks.on_shared_texts(parts)
    spec = _filled(spec, sources, names)
    _check(parts, rows["train" if "train" in rows else next(iter(rows))], notes, names)
    return Tables(
        spec,
        parts["train"],
        parts.get("validation"),
        parts.get("test", Table()),
        _fingerprint(spec, parts),
        notes,
    )


def _rows_of(
    spec: DatasetSpec, data_dir: Path | None, bad_rows: BadRows
) -> tuple[DatasetSpec, dict[str, Rows]]:
    """The rows by part, and the specification as far as reading them fills it in.

    It names a hub dataset no more where the rows are not from there.
    """
    if spec.files:
        return spec, {part: read_rows(path, bad_rows) for part, path in spec.files.items()}
    if spec.hub_named:
        from slimcls.data.hub_named import read_named

        return read_named(spec)
    here = replace(spec, hub=None, hub_config=None, hub_revision=None)
    folder = _data_dir(data_dir)
    if folder and (folder / spec.name).is_dir():
        return here, {
            part: read_rows(folder / spec.name / f"{name}.parquet")
            for part, name in spec.splits.items()
        }
    if spec.name == "bbcnews" and (articles := corpus.corpus_folder()):
        return here, {"all": corpus.read_corpus(articles)}
    if spec.hub:
        return spec, _from_hub(spec)
    where = f"{folder} has no folder {spec.name}" if folder else "it names no files and no hub id"
    raise UserError(
        f"dataset {spec.name}: {where}; give --data-dir DIR with "
        f"DIR/{spec.name}/{next(iter(spec.splits.values()))}.parquet"
    )


def _from_hub(spec: DatasetSpec) -> dict[str, Rows]:
    from slimcls.data import hub

    try:
        return hub.read_hub_dataset(spec)
    except UserError as error:
        if spec.name == "bbcnews":
            raise UserError(f"{error}; or install the corpus: {corpus.INSTALL}") from None
        raise


def _data_dir(given: Path | None) -> Path | None:
    if given is None:
        named = os.environ.get("SLIMCLS_DATA_DIR")
        given = Path(named) if named else None
    if given is None:
        return None
    folder = user_path(str(given), "--data-dir")
    if not folder.is_dir():
        raise UserError(f"--data-dir {given}: no such folder (or SLIMCLS_DATA_DIR)")
    return folder


def _need_columns(rows: Rows, names: Iterable[str]) -> None:
    for column in names:
        if column not in rows.columns:
            raise UserError(
                f"{rows.where}: no column {column!r}, which train has "
                f"(columns: {listed(rows.columns)})"
            )


def _table(
    rows: Rows, names: tuple[str, ...], labels: Labels, bad_rows: BadRows
) -> tuple[Table, list[int]]:
    """Stripped texts, or pairs of such, and class numbers, and which rows lack a text."""
    table, empty = Table(), []
    for row, values in enumerate(zip(*(rows.columns[name] for name in names), strict=True)):
        try:
            stripped = [
                _as_text(value, rows, row, name).strip()
                for value, name in zip(values, names, strict=True)
            ]
            label = labels.number(rows, row) if all(stripped) else 0
        except BadRow as bad:
            bad_rows.add(bad)
            continue
        if all(stripped):
            table.add(row, Pair(*stripped) if len(stripped) > 1 else stripped[0], label)
        else:
            empty.append(row)
    return table, empty


def _as_text(value: object, rows: Rows, row: int, column: str) -> str:
    text = as_text(value)
    if text is None:
        raise rows.bad(row, f"column {column} holds a {type(value).__name__}, not a text")
    return text


def _without_text(
    rows: Rows, names: tuple[str, ...], empty: list[int], bad_rows: BadRows | None
) -> list[str]:
    """Rows without a text are bad in the user's own files, and dropped elsewhere with a note."""
    if bad_rows is None:
        return [f"{rows.where}: {len(empty)} rows without text dropped"] if empty else []
    more = f", nor in {len(empty) - 1} rows more" if len(empty) > 1 and not bad_rows.skip else ""
    columns = f"column {names[0]}" if len(names) == 1 else f"columns {' or '.join(names)}"
    for row in empty:
        bad_rows.add(rows.bad(row, f"no text in {columns}{more}", lacks="text"))
    return []


def _pooled(tables: Iterable[Table]) -> Table:
    """One table; ids count on from part to part."""
    pooled = Table()
    offset = 0
    for table in tables:
        pooled.ids += [offset + place for place in table.ids]
        pooled.texts += table.texts
        pooled.labels += table.labels
        offset = pooled.ids[-1] + 1 if pooled.ids else offset
    return pooled


def _filled(spec: DatasetSpec, sources: Sources, labels: tuple[str, ...]) -> DatasetSpec:
    pair = (sources.texts[0], sources.texts[1]) if len(sources.texts) > 1 else None
    if spec.template and (slots_of(spec.template) == PAIR_SLOTS) is not (pair is not None):
        has, needs = ("{text}", "{premise} and {hypothesis}")[:: 1 if pair else -1]
        what = "text pairs" if pair else "texts"
        raise UserError(
            f"dataset {spec.name}: template: has {has}, but column {sources.text} holds {what}, "
            f"which need {needs}"
        )
    words = spec.label_words or _words(labels)
    if len(set(words)) < len(words):
        twice = next(word for word in words if words.count(word) > 1)
        raise UserError(
            f"dataset {spec.name}: several labels give the label word {twice!r}; "
            "write label_words in a dataset YAML"
        )
    return replace(
        spec,
        text_column=sources.text,
        label_column=sources.label,
        pair=pair,
        labels=labels,
        template=spec.template or (DEFAULT_PAIR_TEMPLATE if pair else DEFAULT_TEMPLATE),
        label_words=words,
    )


def _words(names: tuple[str, ...]) -> tuple[str, ...]:
    """The labels' names as words of a prompt: ``world_news`` is ``World news``.

    Their case stays where it alone tells some of them apart, and so do names that would else be one
    word, as ``on_hold`` and ``on hold``.
    """
    spaced = tuple(" ".join(name.replace("_", " ").split()) or name for name in names)
    words = tuple(word[0].upper() + word[1:] for word in spaced)
    return next((some for some in (words, spaced) if len(set(some)) == len(names)), names)


def _check(parts: dict[str, Table], first: Rows, notes: list[str], names: tuple[str, ...]) -> None:
    seen = set(parts["train"].labels)
    if len(seen) < 2:
        raise UserError(f"{first.where}: one class only in train; a classifier needs two or more")
    for part, table in parts.items():
        if not len(table):
            raise UserError(f"{first.where}: too few rows: the {part} part is empty")
        lacking = sorted(set(table.labels) - seen)
        if lacking:
            raise UserError(
                f"{first.where}: label {names[lacking[0]]!r} occurs in {part} but not in train"
            )
        if part != "train" and len(table) < FEW:
            notes.append(
                f"warning: the {part} part has {len(table)} rows, under {FEW}: "
                "figures from it are uncertain"
            )
    absent = [name for number, name in enumerate(names) if number not in seen]
    if absent:
        notes.append(f"no row has the label {listed(absent)}")


def _fingerprint(spec: DatasetSpec, parts: dict[str, Table]) -> str:
    digest = hashlib.sha256()
    described = [spec.version, spec.labels, spec.template, spec.label_words]
    described += [spec.hub_revision] if spec.hub_named else []
    digest.update(json.dumps(described).encode())
    for part in sorted(parts):
        table = parts[part]
        texts: list[object] = [*table.texts]
        if spec.pair:
            texts = [parts_of(text) for text in table.texts]
        digest.update(json.dumps([part, table.ids, table.labels, texts]).encode())
    return f"sha256:{digest.hexdigest()}"
