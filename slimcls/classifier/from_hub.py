"""A classifier that was pushed to the hub: ``ORG/NAME`` in place of a folder."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

from slimcls.backbones import hub
from slimcls.errors import UserError, in_short
from slimcls.storage.network import endpoint, out_of_reach

#: Names of the files that a classifier is made of, as patterns; there is no code and no pickle.
FILES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model*.safetensors.index.json",
    "exits.safetensors",
    "model.onnx",
    "pipeline.skops",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "parity.json",
    "README.md",
    "NOTICE",
    "slimcls.json",
)
#: Stands for the whole: it is fetched last.
_LAST = "slimcls.json"

_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([^@\s]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch_artefact(name: str) -> Path:
    """The folder of a classifier that ``ORG/NAME[@REVISION]`` names, in the hub's cache.

    Each file is held against the hash that the hub announces. A commit that is here needs no
    network; without one, a branch is what it was when it was last asked for.

    Raises:
        UserError: no such name, no classifier of slimcls there, no access, out of reach and not
            here, files that arrive damaged.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(f"{in_short(name)}: no such run directory")
    repo, revision = match.groups()
    if revision and _COMMIT.fullmatch(revision) and (here := _cached(repo, revision)):
        return here
    if why := out_of_reach():
        if here := _cached(repo, revision):
            return here
        raise UserError(
            f"{name}: no such run directory here; it may be a classifier on the hub, but {why} and "
            "it is not on this machine"
        )
    return _fetched(repo, revision)


def _fetched(repo: str, revision: str | None) -> Path:
    commit, names = _described(repo, revision)
    if _LAST not in names:
        raise UserError(
            f"{repo}: no such run directory here, and no classifier of slimcls at "
            f"{endpoint()}/{repo} (it has no {_LAST})"
        )
    wanted = [name for name in names if is_part(name) and name != _LAST]
    for name in (*wanted, _LAST):
        file = hub.arrived(repo, name, commit, what="")
    with hub.said(repo, revision, what=""):
        hub.note_branch(file.parent, revision, commit)
    return file.parent


def is_part(name: str) -> bool:
    """Whether a file of this name can be part of a classifier."""
    return any(fnmatch(name, pattern) for pattern in FILES)


def _described(repo: str, revision: str | None) -> tuple[str, list[str]]:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return hub.described(repo, revision, what="")
    except UserError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError):
            raise UserError(
                f"{repo}: no such run directory here, and no such model on the hub, or a private "
                "one (then log in with `hf auth login` or set HF_TOKEN)"
            ) from None
        raise


def _cached(repo: str, revision: str | None) -> Path | None:
    """The folder in the hub's cache, where all of it is there and undamaged."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    whole = (folder / _LAST).exists() and not hub.drop_damaged(
        folder, [file.name for file in folder.iterdir() if is_part(file.name)]
    )
    return folder if whole else None
