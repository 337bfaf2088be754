"""``--dataset ORG/NAME``: a hub dataset without a description; its parts are found in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from slimcls.data import copies, hub
from slimcls.data.columns import choose_columns
from slimcls.data.rows import Rows, listed
from slimcls.data.spec import PART_NAMES, DatasetSpec
from slimcls.errors import UserError, in_short
from slimcls.storage.files import write_text
from slimcls.storage.json_files import parse_json
from slimcls.storage.network import endpoint, out_of_reach

_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::([^@\s]+))?(?:@([^@\s]+))?")
_CONVERTED_FILE = re.compile(r"([^/]+)/([^/]+)/\d+\.parquet")

#: Class numbers and values of labels that a source keeps to itself.
_HIDDEN = (-1, None)

_DESCRIBE = "say which is which in a dataset YAML (splits: ...; docs/datasets.md)"
_KEPT = "named.json"


def hub_named(name: str) -> DatasetSpec | None:
    """The dataset that ``ORG/NAME[:CONFIG][@REVISION]`` names; None for what is no such name.

    Nothing is looked for: whether there is one is known when it is read.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    repo, config, revision = match.groups()
    return DatasetSpec(repo, hub=repo, hub_config=config, hub_revision=revision, hub_named=True)


def pinned(name: str, commit: str) -> str:
    """The same dataset at a commit, as ``--dataset`` takes it; other names as they are."""
    match = _NAME.fullmatch(name)
    if match is None or not commit:
        return name
    return f"{name.partition('@')[0]}@{commit}"


def read_named(spec: DatasetSpec) -> tuple[DatasetSpec, dict[str, Rows]]:
    """The rows of a hub dataset by part, and its specification with commit and splits filled in.

    All parts are of one commit, the newest of the branch where none is named. A commit that was
    read before needs no network.

    Parts are splits of their names (train, validation, test, or what :data:`PART_NAMES` has). Where
    there is no test split, or one whose labels are kept secret, the validation split is tested on;
    where there is neither, train is split 80/10/10. A note says so.

    Raises:
        UserError: no such dataset, revision or configuration, several configurations and none
            named, no split train, columns that cannot be told, out of reach and never read before.
    """
    if hub.is_commit(spec.hub_revision) and (known := _known(spec)):
        return known
    if why := out_of_reach():
        if known := _known(spec):
            return known
        raise UserError(
            f"dataset {_called(spec)}: no file or folder of that name here; it may be a dataset of "
            f"the hub, but {why} and there is no copy of it on this machine; connect once, or give "
            "a folder with its files (train.parquet, test.parquet)"
        )
    commit, files = _looked_up(spec)
    at = replace(spec, hub_revision=commit)
    known = _known(at)
    if known is None:
        known = _read(at, files)
        copies.write_copies(*known)
        _keep(at, known[0])
    if spec != at:
        _keep(spec, known[0])
    return known


def _looked_up(spec: DatasetSpec) -> tuple[str, list[str]]:
    """The commit of the revision, and the names of all files there."""
    from huggingface_hub import HfApi

    with _said(spec):
        info = HfApi().dataset_info(str(spec.hub), revision=spec.hub_revision)
        return str(info.sha), [file.rfilename for file in info.siblings or ()]


def _read(spec: DatasetSpec, files: Sequence[str]) -> tuple[DatasetSpec, dict[str, Rows]]:
    import datasets

    if folders := _converted(files):
        config = _one_config(spec, list(folders))
        splits = folders[config]
        with _said(spec):
            found = hub.load_with_library(
                str(spec.hub),
                revision=spec.hub_revision,
                data_files={name: f"{config}/{name}/*.parquet" for name in splits},
            )
    else:
        with _said(spec):
            hub.be_quiet()
            names = datasets.get_dataset_config_names(str(spec.hub), revision=spec.hub_revision)
        config = _one_config(spec, names)
        with _said(spec):
            found = hub.load_with_library(str(spec.hub), name=config, revision=spec.hub_revision)
    spec = replace(spec, hub_config=config)
    rows = {name: hub.rows_of(spec, found, name) for name in found}
    spec = _with_parts(spec, rows)
    return spec, {part: rows[name] for part, name in spec.splits.items()}


def _converted(files: Sequence[str]) -> dict[str, list[str]]:
    """Configurations of the hub's own conversion with their splits, by its files' names.

    Empty where there are files of other names too, and what they are is the library's to know.
    """
    found: dict[str, list[str]] = {}
    for file in files:
        match = _CONVERTED_FILE.fullmatch(file)
        if match:
            splits = found.setdefault(match[1], [])
            splits += [match[2]] if match[2] not in splits else []
        elif not file.startswith("."):
            return {}
    return found


def _one_config(spec: DatasetSpec, names: Sequence[str]) -> str:
    called = f"dataset {_called(spec)}"
    if not names:
        raise UserError(f"{called}: holds no data files that are read (or code, which never runs)")
    if spec.hub_config is not None:
        if spec.hub_config not in names:
            raise UserError.unknown(f"configuration of {called}", spec.hub_config, names)
        return spec.hub_config
    if len(names) > 1 and "default" not in names:
        raise UserError(
            f"{called}: has several configurations ({listed(names)}); name one, as in "
            f"{spec.hub}:{names[0]}"
        )
    return "default" if "default" in names else names[0]


def _with_parts(spec: DatasetSpec, rows: Mapping[str, Rows]) -> DatasetSpec:
    """The specification with splits for parts, and a note where they are not what they are named.

    Raises UserError where there is no train split, or nothing tells its columns.
    """
    splits = {}
    for part, names in PART_NAMES.items():
        mine = [name for name in rows if name.lower() in names]
        if len(mine) > 1:
            raise UserError(
                f"dataset {_called(spec)}: several splits could be {part} ({listed(mine)}); "
                + _DESCRIBE
            )
        if mine:
            splits[part] = mine[0]
    if "train" not in splits:
        raise UserError(
            f"dataset {_called(spec)}: has no split train (splits: {listed(rows)}); {_DESCRIBE}"
        )
    secret = "test" in splits and _is_secret(spec, rows[splits["train"]], rows[splits["test"]])
    if "test" in splits and not secret:
        return replace(spec, splits=splits)
    why = "the labels of its test split are secret" if secret else "it has no test split"
    if "validation" in splits:
        parts = {"train": splits["train"], "test": splits["validation"]}
        note = f"{why}: its validation split is the test part"
        return replace(spec, splits=parts, note=note)
    note = f"{why}: its train split was split 80/10/10"
    return replace(spec, splits={"train": splits["train"]}, pool=True, note=note)


def _is_secret(spec: DatasetSpec, train: Rows, test: Rows) -> bool:
    """Whether no row of the test split has a label."""
    label = choose_columns(spec, train)[1]
    if label not in test.columns:
        return True
    return all(value in _HIDDEN for value in test.columns[label])


def _known(spec: DatasetSpec) -> tuple[DatasetSpec, dict[str, Rows]] | None:
    """What was read when the dataset was read last, if all of it is still here."""
    path = _kept_at(spec)
    try:
        held = parse_json(path.read_text(encoding="utf-8"))
        if held["asked"] != _asked(spec):
            return None
        known = replace(
            spec,
            hub_revision=str(held["commit"]),
            hub_config=str(held["config"]),
            splits={str(part): str(name) for part, name in held["splits"].items()},
            pool=bool(held["pool"]),
            note=str(held["note"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    rows = copies.read_copies(known)
    return (known, rows) if rows else None


def _keep(asked: DatasetSpec, found: DatasetSpec) -> None:
    """Note what the name that was asked for stands for; a cache that cannot be written does not."""
    held = {
        "asked": _asked(asked),
        "commit": found.hub_revision,
        "config": found.hub_config,
        "splits": found.splits,
        "pool": found.pool,
        "note": found.note,
    }
    with suppress(UserError):
        write_text(_kept_at(asked), json.dumps(held, ensure_ascii=False))


def _asked(spec: DatasetSpec) -> list[str | None]:
    """What was asked for, in full: names of folders may stand for several datasets."""
    return [spec.hub, spec.hub_revision, spec.hub_config]


def _kept_at(spec: DatasetSpec) -> Path:
    return copies.copies_folder(spec) / _KEPT


def _called(spec: DatasetSpec) -> str:
    """The dataset as it was named, for a message."""
    config = f":{spec.hub_config}" if spec.hub_config else ""
    return in_short(f"{spec.hub}{config}")


@contextmanager
def _said(spec: DatasetSpec) -> Iterator[None]:
    """What the hub's libraries raise, said in a line."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import errors

    called = f"dataset {_called(spec)}"
    try:
        yield
    except UserError:
        raise
    except errors.GatedRepoError:
        raise UserError(f"{called}: {hub.GATED}") from None
    except errors.RevisionNotFoundError:
        raise UserError(
            f"{called}: has no such branch, tag or commit: {in_short(str(spec.hub_revision))}"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{called}: there is no such folder here and no such dataset on the hub, or a private "
            f"one {hub.LOG_IN}"
        ) from None
    except DatasetNotFoundError as error:
        gated = "gated" in str(error)
        raise UserError(f"{called}: {hub.GATED if gated else 'cannot be read'}") from None
    except Exception as error:  # the libraries pass on what their own libraries raise
        raise UserError(f"{called}: cannot be read: {_reason(spec, error)}") from error


def _reason(spec: DatasetSpec, error: Exception) -> str:
    reason = hub.first_line(error)
    if "scripts" in reason:
        return (
            "it is a script, which is never run; take the hub's own conversion: "
            f"{spec.hub}@{hub.CONVERTED}"
        )
    if isinstance(error, json.JSONDecodeError | TypeError | KeyError | AttributeError):
        return f"{endpoint()} did not answer as the hub does; is there a login page in between?"
    return reason
