"""A dataset's YAML description: read strictly, every fault named with file and key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slimcls.data.pairs import template_fault
from slimcls.data.reader import TABLE_FILES
from slimcls.data.spec import PART_NAMES, DatasetSpec
from slimcls.errors import UserError
from slimcls.storage.yaml_files import read_yaml


class _Wrong(Exception):
    """A value that its key cannot have."""


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong("must be a text")
    return value


def _columns(value: object) -> str:
    """A column's name, or those of a pair's two columns, as one text or as a list."""
    return ",".join(map(_text, value)) if isinstance(value, list) else _text(value)


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _Wrong("must be a whole number from 1")
    return value


def _yes_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("must be true or false")
    return value


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) < 2:
        raise _Wrong("must be a list of two texts or more")
    words = tuple(_word(item) for item in value)
    if len(set(words)) < len(words):
        raise _Wrong("names one twice")
    return words


def _word(item: object) -> str:
    if isinstance(item, bool) or not isinstance(item, str | int) or not str(item).strip():
        raise _Wrong(f"holds {item!r}, not a text (quote it)")
    return str(item).strip()


def _parts(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not value:
        raise _Wrong("must map train, validation, test to names")
    for part, name in value.items():
        if part not in PART_NAMES or not isinstance(name, str) or not name:
            raise _Wrong(f"maps {part!r} to {name!r}; it maps train, validation, test to names")
    return dict(value)


def _template(value: object) -> str:
    template = _text(value)
    if fault := template_fault(template):
        raise _Wrong(fault)
    return template


#: Key in the file: field of the specification, and how its value is checked.
_KEYS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "name": ("name", _text),
    "version": ("version", _number),
    "hub": ("hub", _text),
    "revision": ("hub_revision", _text),
    "config": ("hub_config", _text),
    "text_column": ("text_column", _columns),
    "label_column": ("label_column", _text),
    "splits": ("splits", _parts),
    "labels": ("labels", _words),
    "template": ("template", _template),
    "label_words": ("label_words", _words),
    "pool": ("pool", _yes_no),
    "near_duplicates": ("near_duplicates", _yes_no),
    "files": ("files", _parts),
    "note": ("note", _text),
}


def read_dataset_yaml(path: Path) -> DatasetSpec:
    """The specification in a YAML file; ``files`` are relative to its folder.

    Raises:
        UserError: not YAML, an unknown key, a wrong value, or keys that contradict each other,
            always with the file and the key.
    """
    given = read_yaml(path)
    values: dict[str, Any] = {"name": path.stem}
    for key, value in given.items():
        if key not in _KEYS:
            raise UserError.unknown(f"key in {path}", str(key), _KEYS)
        field, check = _KEYS[key]
        try:
            values[field] = check(value)
        except _Wrong as wrong:
            raise UserError(f"{path}: {key}: {wrong}") from None
    spec = DatasetSpec(**_with_files(path, values))
    _agree(path, spec)
    return spec


def _with_files(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    files = {part: path.parent / name for part, name in values.get("files", {}).items()}
    for part, file in files.items():
        if file.suffix.lower() not in TABLE_FILES:
            raise UserError(
                f"{path}: files: {part}: {file.name} is none of {', '.join(TABLE_FILES)}"
            )
        if not file.is_file():
            raise UserError(f"{path}: files: {part}: no such file {file}")
    if set(files) == {"train"}:
        return {**values, "files": {"all": files["train"]}, "pool": True}
    return {**values, "files": files}


def _agree(path: Path, spec: DatasetSpec) -> None:
    if spec.label_words and len(spec.label_words) != len(spec.labels):
        raise UserError(
            f"{path}: label_words: {len(spec.label_words)} words for {len(spec.labels)} labels"
        )
    if spec.files and spec.hub:
        raise UserError(f"{path}: files, hub: give one of them")
    if spec.files and spec.splits:
        raise UserError(f"{path}: splits: only with hub or a data folder; files name the parts")
    parts = set(spec.files or spec.splits)
    if not parts:
        raise UserError(f"{path}: splits: missing; as in splits: {{train: train, test: test}}")
    if "all" not in parts and not {"train", "test"} <= parts and not spec.pool:
        lacking = sorted({"train", "test"} - parts)
        raise UserError(f"{path}: {'files' if spec.files else 'splits'}: no {lacking[0]}")
    if not spec.files and not (spec.text_column and spec.label_column):
        raise UserError(f"{path}: text_column, label_column: both must be given")
    if (spec.hub_revision or spec.hub_config) and not spec.hub:
        raise UserError(f"{path}: revision, config: only with hub")
