"""What ``--dataset`` may name: a packaged dataset, an own YAML, a file, a folder, a hub id."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slimcls.data.hub_named import hub_named
from slimcls.data.reader import TABLE_FILES
from slimcls.data.spec import PART_NAMES, DatasetSpec
from slimcls.errors import UserError
from slimcls.storage.paths import user_path

_PACKAGED = Path(__file__).parent / "catalog"
_WHAT_ELSE = (
    "or a .yaml, .csv, .tsv, .jsonl or .parquet file, a folder of them, or ORG/NAME of the hub"
)


def packaged_names() -> list[str]:
    """The packaged datasets."""
    return sorted(path.stem for path in _PACKAGED.glob("*.yaml"))


def find_dataset(
    name: str, *, text_column: str | None = None, label_column: str | None = None
) -> DatasetSpec:
    """The dataset of that name; rows are not read yet.

    Args:
        name: a packaged name, an own .yaml, a data file, a folder with train/test files, or
            ORG/NAME[:CONFIG][@REVISION] of the hub, where no file or folder is called so.
        text_column: names the text column of the user's own files, or of a hub dataset.
        label_column: names the label column of them.

    Raises:
        UserError: no such dataset, or a description that cannot be right.
    """
    if name in packaged_names():
        _refuse_columns(name, text_column, label_column)
        return _described(_PACKAGED / f"{name}.yaml")
    try:
        spec = _own(user_path(name, "--dataset"), name)
    except OSError as error:
        raise UserError(f"dataset {name}: cannot be read ({error.strerror})") from None
    return replace(
        spec,
        text_column=text_column or spec.text_column,
        label_column=label_column or spec.label_column,
    )


def _described(path: Path) -> DatasetSpec:
    from slimcls.data.description import read_dataset_yaml

    return read_dataset_yaml(path)


def _refuse_columns(name: str, text_column: str | None, label_column: str | None) -> None:
    for flag, value in (("--text-column", text_column), ("--label-column", label_column)):
        if value is not None:
            raise UserError(
                f"{flag} {value}: only for your own files and the hub's; {name} names its columns"
            )


def _own(path: Path, name: str) -> DatasetSpec:
    suffix = path.suffix.lower()
    if path.is_dir():
        return _folder(path)
    if suffix in (*TABLE_FILES, ".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"dataset {name}: no such file")
        if suffix in TABLE_FILES:
            return DatasetSpec(name=path.stem, pool=True, files={"all": path})
        return _described(path)
    if path.exists():
        raise UserError(
            f"dataset {name}: not a kind of file that is read ({', '.join(TABLE_FILES)})"
        )
    if spec := hub_named(name):
        return spec
    raise UserError.unknown("dataset", name, packaged_names(), _WHAT_ELSE)


def _folder(path: Path) -> DatasetSpec:
    files = {part: found for part in PART_NAMES if (found := _part_file(path, part))}
    name = path.resolve().name
    if "train" not in files:
        raise UserError(f"dataset {path}: the folder has no train file ({', '.join(TABLE_FILES)})")
    if "test" in files:
        return DatasetSpec(name=name, files=files)
    if "validation" in files:
        raise UserError(f"dataset {path}: the folder has no test file; add one, or give one file")
    return DatasetSpec(name=name, pool=True, files={"all": files["train"]})


def _part_file(folder: Path, part: str) -> Path | None:
    found = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in TABLE_FILES and file.stem.lower() in PART_NAMES[part]
    ]
    if len(found) > 1:
        several = ", ".join(file.name for file in found)
        raise UserError(f"dataset {folder}: several {part} files ({several}); keep one")
    return found[0] if found else None
