"""Models on the hub: the files that are needed, with or without a network."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimcls.backbones.layout import TOKENIZER_FILES, has_tokenizer, weight_files
from slimcls.errors import UserError
from slimcls.storage.network import endpoint, out_of_reach

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Fetched:
    """A model's files in the hub's local cache."""

    folder: Path
    commit: str
    weights: tuple[str, ...]


#: Told the folder that holds config.json, before any weight is fetched; raises to refuse.
Check = Callable[[Path], None]


def fetch(repo: str, revision: str | None, check: Check) -> Fetched:
    """Config, tokenizer and weights of a hub model; what is cached is not fetched again.

    A commit that is cached needs no network at all. Files in other formats (or of other
    frameworks) are left alone. What ``check`` raises is passed on; no weight is fetched then.

    Raises:
        UserError: out of reach and not cached, no access, no such model or revision, no
            weights, disk full.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        cached = whole_copy(repo, revision)
        if cached is not None:
            check(cached.folder)
            return cached
    why = out_of_reach()
    if why:
        cached = whole_copy(repo, revision)
        if cached is None:
            at = f" at {revision}" if revision else ""
            raise UserError(
                f"--model {repo}{at}: not cached whole on this machine, and {why}; connect once, "
                "or use smollm2-135m, a tiny model, or a local folder"
            )
        check(cached.folder)
        return cached
    return _translated(repo, revision, check)


def whole_copy(repo: str, revision: str | None) -> Fetched | None:
    """A whole copy in the hub's cache, or None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    names = [file.name for file in folder.iterdir()]
    if "config.json" not in names or not has_tokenizer(names):
        return None
    try:
        weights = weight_files(names, repo, lambda name: folder / name)
    except UserError:
        return None
    return Fetched(folder, folder.name, tuple(weights))


def _translated(repo: str, revision: str | None, check: Check) -> Fetched:
    """:func:`_fetch`, with the hub's many errors said in a line."""
    from huggingface_hub import errors as hub

    at = f" at {revision}" if revision else ""
    try:
        return _fetch(repo, revision, check)
    except hub.GatedRepoError as error:
        raise UserError(
            f"--model {repo}: its authors give access by request; accept their terms at "
            f"{endpoint()}/{repo} and log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except hub.RevisionNotFoundError as error:
        raise UserError(
            f"--revision {revision}: {repo} has no such branch, tag or commit"
        ) from error
    except hub.RepositoryNotFoundError as error:
        raise UserError(
            f"--model {repo}: no such model on the hub, or a private one "
            "(then log in with `hf auth login` or set HF_TOKEN)"
        ) from error
    except OSError as error:  # the hub's other errors and the disk's
        reason = error.strerror or (str(error).strip().splitlines() or ["no reason given"])[0]
        raise UserError(f"--model {repo}{at}: cannot be fetched: {reason}") from error


def _fetch(repo: str, revision: str | None, check: Check) -> Fetched:
    from huggingface_hub import HfApi, hf_hub_download

    info: Any = HfApi().model_info(repo, revision=revision)
    names = [sibling.rfilename for sibling in info.siblings or ()]
    if "config.json" not in names:
        raise UserError(f"--model {repo}: has no config.json, so it is not a whole model")

    def get(name: str) -> Path:
        return Path(hf_hub_download(repo, name, revision=info.sha))

    folder = get("config.json").parent
    check(folder)
    weights = weight_files(names, repo, get)
    small = [name for name in (*TOKENIZER_FILES, "generation_config.json") if name in names]
    for name in (*small, *weights):
        get(name)
    _note_branch(folder, revision, info.sha)
    return Fetched(folder, info.sha, tuple(weights))


def _note_branch(folder: Path, revision: str | None, commit: str) -> None:
    """Tell the cache which commit the branch is at, so that its name works offline too."""
    branch = revision or "main"
    if branch == commit:
        return
    note = folder.parent.parent / "refs" / branch
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(commit)
