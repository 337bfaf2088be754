"""Models on the hub: the files that are needed, with or without a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path

from slimcls.backbones.announced import delete, intact
from slimcls.backbones.layout import TOKENIZER_FILES, has_tokenizer, weight_files
from slimcls.errors import UserError
from slimcls.storage.network import endpoint, out_of_reach

_COMMIT = re.compile(r"[0-9a-f]{40}")

#: What is read beside the weights, where it is there.
_BESIDE = ("config.json", *TOKENIZER_FILES, "generation_config.json")


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
    frameworks) are left alone. Each file is held against the hash that the hub announces, and is
    fetched again, once, if it is another. What ``check`` raises is passed on; no weight is fetched
    then.

    Raises:
        UserError: out of reach and not cached, no access, no such model or revision, no
            weights, files that arrive damaged, disk full.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        cached = whole_copy(repo, revision)
        if isinstance(cached, Fetched):
            check(cached.folder)
            return cached
    if why := out_of_reach():
        cached = whole_copy(repo, revision)
        if isinstance(cached, Lacking):
            at = f" at {revision}" if revision else ""
            raise UserError(
                f"--model {repo}{at}: {cached.what}, and {why}; connect once, "
                "or use smollm2-135m, a tiny model, or a local folder"
            )
        check(cached.folder)
        return cached
    return _fetch(repo, revision, check)


@dataclass(frozen=True)
class Lacking:
    """There is no whole copy in the hub's cache, and why."""

    what: str


def whole_copy(repo: str, revision: str | None) -> Fetched | Lacking:
    """A whole copy in the hub's cache; damaged files in it are deleted."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    lacking = Lacking("not cached whole on this machine")
    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return lacking
    names = [file.name for file in folder.iterdir()]
    if "config.json" not in names or not has_tokenizer(names):
        return lacking
    read = [name for name in names if name in _BESIDE or name.endswith(".index.json")]
    damaged = _drop_damaged(folder, read)
    try:
        weights = weight_files(names, repo, lambda name: folder / name) if not damaged else []
    except UserError:
        return lacking
    if damaged := damaged or _drop_damaged(folder, weights):
        return Lacking(f"{damaged[0]} in the hub's cache was damaged and is deleted")
    return Fetched(folder, folder.name, tuple(weights))


def _drop_damaged(folder: Path, names: Sequence[str]) -> list[str]:
    """Delete those of a folder's files that are not what the hub announced; their names."""
    damaged = [name for name in names if not intact(folder / name)]
    for name in damaged:
        delete(folder / name)
    return damaged


def _fetch(repo: str, revision: str | None, check: Check) -> Fetched:
    commit, names = _described(repo, revision)
    if "config.json" not in names:
        raise UserError(f"--model {repo}: has no config.json, so it is not a whole model")

    def get(name: str) -> Path:
        return _arrived(repo, name, commit)

    folder = get("config.json").parent
    check(folder)
    weights = weight_files(names, repo, get)
    for name in (*(name for name in _BESIDE if name in names), *weights):
        get(name)
    with _said(repo, revision):
        _note_branch(folder, revision, commit)
    return Fetched(folder, commit, tuple(weights))


def _described(repo: str, revision: str | None) -> tuple[str, list[str]]:
    """The commit of a model's revision, and the names of the files there."""
    from huggingface_hub import HfApi

    with _said(repo, revision):
        try:
            info = HfApi().model_info(repo, revision=revision)
            return str(info.sha), [sibling.rfilename for sibling in info.siblings or ()]
        except (JSONDecodeError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"--model {repo}: {endpoint()} did not answer as the hub does; is there a login "
                "page, or a proxy, between it and this machine?"
            ) from error


def _arrived(repo: str, name: str, commit: str) -> Path:
    """A file in the hub's cache, as the hub announced it."""
    from huggingface_hub import hf_hub_download

    for _ in range(2):
        with _said(repo, commit):
            file = Path(hf_hub_download(repo, name, revision=commit))
            if intact(file):
                return file
        delete(file)
    raise UserError(
        f"--model {repo}: {name} arrived damaged twice: it is not what the hub announces; try "
        "again later, or from another network"
    )


@contextmanager
def _said(repo: str, revision: str | None) -> Iterator[None]:
    """What the hub's library raises, said in a line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the library passes on what its own libraries raise
        raise UserError(_in_words(error, repo, revision)) from error


def _in_words(error: Exception, repo: str, revision: str | None) -> str:
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):
        return (
            f"--model {repo}: its authors give access by request; accept their terms at "
            f"{endpoint()}/{repo} and log in with `hf auth login` or set HF_TOKEN"
        )
    if isinstance(error, hub.RevisionNotFoundError):
        if revision is None:
            return f"--model {repo}: has no branch main; name another with --revision"
        return f"--revision {revision}: {repo} has no such branch, tag or commit"
    if isinstance(error, hub.RepositoryNotFoundError):
        return (
            f"--model {repo}: no such model on the hub, or a private one "
            "(then log in with `hf auth login` or set HF_TOKEN)"
        )
    at = f" at {revision}" if revision else ""
    reason = getattr(error, "strerror", None) or _first_line(error)
    return f"--model {repo}{at}: cannot be fetched: {reason}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _note_branch(folder: Path, revision: str | None, commit: str) -> None:
    """Tell the cache which commit the branch is at, so that its name works offline too."""
    branch = revision or "main"
    if branch == commit:
        return
    note = folder.parent.parent / "refs" / branch
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(commit)
