"""The mended copy of one's own data: CSV files, written whole into the fit's folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from slimcls.data.columns import choose_columns
from slimcls.data.pairs import PAIR_SLOTS, parts_of
from slimcls.data.rows import Rows
from slimcls.data.spec import DatasetSpec
from slimcls.errors import UserError
from slimcls.search.items import Item, Items
from slimcls.storage.files import replacing, replacing_folder

#: The copy of a lone file, and the folder of the copies of several.
FILE, FOLDER = "cleaned.csv", "cleaned"


class Copy(NamedTuple):
    """What names a copy to ``--dataset``, ``--text-column`` and ``--label-column``."""

    dataset: str
    text_column: str | None
    label_column: str | None


def write_copy(items: Items, described: bool, folder: Path) -> Copy:
    """Write the rows, with all of their columns that a CSV file can hold.

    A lone file becomes ``cleaned.csv``; a folder, or the files of a description (``described``),
    become ``cleaned/`` with the same names, and the description anew. Texts are stripped, labels
    are the names of their classes, what is no text or number is JSON.

    Raises UserError where the folder cannot be written.
    """
    sources = items.sources
    spec = sources.spec
    texts, label = _text_columns(sources.texts), sources.label.strip() or "label"
    if label in texts:
        label = f"{label} (label)"
    columns = (*texts, label)
    if not described and set(spec.files) == {"all"}:
        with replacing(folder / FILE) as temporary:
            _write(temporary, items, "all", columns)
        return Copy(str(folder / FILE), *_flags(items, "all", columns))
    with replacing_folder(folder / FOLDER) as temporary:
        names = {part: f"{path.stem}.csv" for part, path in spec.files.items()}
        if len(set(names.values())) < len(names):
            names = {part: f"{part}.csv" for part in names}
        for part, name in names.items():
            _write(temporary / name, items, part, columns)
        if not described:
            return Copy(str(folder / FOLDER), *_flags(items, "train", columns))
        described_anew = _description(spec, names, columns)
        (temporary / "dataset.yaml").write_text(described_anew, encoding="utf-8")
    return Copy(str(folder / FOLDER / "dataset.yaml"), None, None)


def _text_columns(names: Sequence[str]) -> list[str]:
    """Names of the columns of texts that a header can hold."""
    stripped = [name.strip() for name in names]
    plain = all(stripped) and len(set(stripped)) == len(stripped)
    if len(names) == 1:
        return stripped if plain else ["text"]
    # A name with a comma in it could not be told from two.
    return stripped if plain and not any("," in name for name in stripped) else list(PAIR_SLOTS)


def _flags(items: Items, part: str, columns: tuple[str, ...]) -> tuple[str | None, str | None]:
    """What has to name the columns of the copy: nothing where that is plain, as it was before.

    A name would count for a file of unlabelled texts too.
    """
    spec, rows = items.sources.spec, items.sources.rows[part]
    others = {name.strip(): rows.columns[name] for name in _other_columns(rows, items, columns)}
    mine = [item for item in items.all if item.part == part]
    *texts, label = columns
    values = {
        name: [parts_of(item.text)[place] for item in mine] for place, name in enumerate(texts)
    }
    values[label] = [_label(items, i) for i in mine]
    copied = Rows(rows.where, rows.unit, [], {**values, **others})
    given = DatasetSpec(spec.name, text_column=spec.text_column, label_column=spec.label_column)
    try:
        plain = choose_columns(given, copied) == (tuple(texts), label)
    except UserError:
        plain = False
    if plain:
        return spec.text_column or None, spec.label_column or None
    return ",".join(texts), label


def _description(spec: DatasetSpec, files: dict[str, str], columns: tuple[str, ...]) -> str:
    *texts, label = columns
    keys = {
        "name": spec.name,
        "version": spec.version,
        "files": {"train" if part == "all" else part: name for part, name in files.items()},
        "text_column": ",".join(texts),
        "label_column": label,
        "labels": list(spec.labels),
        "template": spec.template,
        "label_words": list(spec.label_words),
        "pool": spec.pool,
        "near_duplicates": spec.near_duplicates,
        "note": spec.note,
    }
    return yaml.safe_dump({key: value for key, value in keys.items() if value}, sort_keys=False)


def _write(path: Path, items: Items, part: str, columns: tuple[str, ...]) -> None:
    rows = items.sources.rows[part]
    others = _other_columns(rows, items, columns)
    # Every cell in quotation marks: no name of a column can be taken for a delimiter.
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow([*columns, *(name.strip() for name in others)])
        for item in items.all:
            if item.part == part:
                rest = [_cell(rows.columns[name][item.row]) for name in others]
                writer.writerow([*parts_of(item.text), _label(items, item), *rest])


def _label(items: Items, item: Item) -> str:
    return items.names[item.label]


def _other_columns(rows: Rows, items: Items, columns: Sequence[str]) -> list[str]:
    """Those beside text and label whose names a header can hold, each once."""
    seen = set(columns)
    others = []
    for name in rows.columns:
        if (
            name not in (*items.sources.texts, items.sources.label)
            and name.strip()
            and name.strip() not in seen
        ):
            seen.add(name.strip())
            others.append(name)
    return others


def _cell(value: object) -> object:
    if value is None or isinstance(value, str | int | float):
        return value
    return json.dumps(value, default=str)
