"""Models on the hub: the files that are needed, with or without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path

from slimcls.backbones.announced import delete, intact
from slimcls.backbones.layout import TOKENIZER_FILES, has_tokenizer, weight_files
from slimcls.errors import UserError
from slimcls.storage.cache import cache_dir
from slimcls.storage.files import write_text
from slimcls.storage.network import endpoint, out_of_reach

_COMMIT = re.compile(r"[0-9a-f]{40}")

#: What is read beside the weights, where it is there.
_BESIDE = ("config.json", *TOKENIZER_FILES, "generation_config.json")


@dataclass(frozen=True)
class Fetched:
    """A model's files in the hub's local cache."""

    folder: Path
    commit: str
    weights: tuple[str, ...] = ()
    """Names of the weight files; none where they are not here whole."""


#: Told the folder that holds config.json, before any weight is fetched; raises to refuse.
Check = Callable[[Path], None]


def fetch(repo: str, revision: str | None, check: Check) -> Fetched:
    """Config and tokenizer of a hub model, and its weights where they are cached whole.

    A commit that is cached needs no network at all. No weight is fetched: which ones it takes is
    known later, see parts.py. Each file is held against the hash that the hub announces, and is
    fetched again, once, if it is another. What ``check`` raises is passed on.

    Raises:
        UserError: out of reach and not cached, no access, no such model or revision, no
            weights, files that arrive damaged, disk full.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        cached = cached_copy(repo, revision)
        if isinstance(cached, Fetched):
            check(cached.folder)
            return cached
    if why := out_of_reach():
        cached = cached_copy(repo, revision)
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
    """There is no copy in the hub's cache that would do, and why."""

    what: str


_NOT_WHOLE = "not cached whole on this machine"
_DELETED = "{} in the hub's cache was damaged and is deleted"


def cached_copy(repo: str, revision: str | None) -> Fetched | Lacking:
    """What there is in the hub's cache: all, or all but weights of which the user's has parts.

    Damaged files in the hub's are deleted.
    """
    whole = whole_copy(repo, revision)
    if isinstance(whole, Fetched):
        return whole
    folder = _copy_without_weights(repo, revision)
    if isinstance(folder, Lacking) or not _has_parts(folder.name):
        return whole
    return Fetched(folder, folder.name)


def whole_copy(repo: str, revision: str | None) -> Fetched | Lacking:
    """A whole copy in the hub's cache; damaged files in it are deleted."""
    folder = _copy_without_weights(repo, revision)
    if isinstance(folder, Lacking):
        return folder
    try:
        names = [file.name for file in folder.iterdir()]
        weights = weight_files(names, repo, lambda name: folder / name)
    except UserError:
        return Lacking(_NOT_WHOLE)
    if damaged := drop_damaged(folder, weights):
        return Lacking(_DELETED.format(damaged[0]))
    return Fetched(folder, folder.name, tuple(weights))


def _copy_without_weights(repo: str, revision: str | None) -> Path | Lacking:
    """The folder in the hub's cache that has config, tokenizer and index, if any."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return Lacking(_NOT_WHOLE)
    names = [file.name for file in folder.iterdir()]
    if "config.json" not in names or not has_tokenizer(names):
        return Lacking(_NOT_WHOLE)
    read = [name for name in names if name in _BESIDE or name.endswith(".index.json")]
    damaged = drop_damaged(folder, read)
    return Lacking(_DELETED.format(damaged[0])) if damaged else folder


def drop_damaged(folder: Path, names: Sequence[str]) -> list[str]:
    """Delete those of a folder's files that are not what the hub announced; their names."""
    damaged = [name for name in names if not intact(folder / name)]
    for name in damaged:
        delete(folder / name)
    return damaged


def _fetch(repo: str, revision: str | None, check: Check) -> Fetched:
    commit, names = described(repo, revision)
    if "config.json" not in names:
        raise UserError(f"--model {repo}: has no config.json, so it is not a whole model")

    def get(name: str) -> Path:
        return arrived(repo, name, commit)

    folder = get("config.json").parent
    check(folder)
    weights = weight_files(names, repo, get)
    for name in (name for name in _BESIDE if name in names):
        get(name)
    with said(repo, revision):
        note_branch(folder, revision, commit)
    _note(commit, weights)
    return Fetched(folder, commit, _here(folder, weights))


def _here(folder: Path, weights: list[str]) -> tuple[str, ...]:
    """The weight files, where all of them are in the folder as the hub announced them."""
    found = all((folder / name).exists() for name in weights)
    return tuple(weights) if found and not drop_damaged(folder, weights) else ()


def weight_names(repo: str, commit: str) -> list[str]:
    """Names of the files at the hub that hold a model's weights, its index left out.

    Raises UserError as :func:`fetch` does.
    """
    if known := _noted(commit):
        return known
    names = described(repo, commit)[1]
    return weight_files(names, repo, lambda name: arrived(repo, name, commit))


def parts_folder(commit: str) -> Path:
    """Where the user's cache has what is known and fetched of a commit's weights."""
    return cache_dir() / "parts" / commit


def _has_parts(commit: str) -> bool:
    here = parts_folder(commit).glob("*/*/*.safetensors")
    return bool(_noted(commit)) and any(here)


def _note(commit: str, weights: list[str]) -> None:
    """Keep the names of the weight files: where they are, all that lies beside them is here."""
    with suppress(UserError):  # a cache that cannot be written is said where weights come
        write_text(parts_folder(commit) / "files.json", json.dumps(weights))


def _noted(commit: str) -> list[str]:
    try:
        names = json.loads((parts_folder(commit) / "files.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def described(repo: str, revision: str | None, what: str = "--model ") -> tuple[str, list[str]]:
    """The commit of a model's revision, and the names of the files there.

    Raises UserError, which begins with ``what`` and the model's name.
    """
    from huggingface_hub import HfApi

    with said(repo, revision, what):
        try:
            info = HfApi().model_info(repo, revision=revision)
            return str(info.sha), [sibling.rfilename for sibling in info.siblings or ()]
        except (JSONDecodeError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"{what}{repo}: {endpoint()} did not answer as the hub does; is there a login "
                "page, or a proxy, between it and this machine?"
            ) from error


def arrived(repo: str, name: str, commit: str, what: str = "--model ") -> Path:
    """A file in the hub's cache, as the hub announced it. Raises UserError as above."""
    from huggingface_hub import hf_hub_download

    for _ in range(2):
        with said(repo, commit, what):
            file = Path(hf_hub_download(repo, name, revision=commit))
            if intact(file):
                return file
        delete(file)
    raise UserError(
        f"{what}{repo}: {name} arrived damaged twice: it is not what the hub announces; try "
        "again later, or from another network"
    )


@contextmanager
def said(repo: str, revision: str | None, what: str = "--model ") -> Iterator[None]:
    """What the hub's library raises, said in a line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the library passes on what its own libraries raise
        raise UserError(_in_words(error, repo, revision, what)) from error


def _in_words(error: Exception, repo: str, revision: str | None, what: str) -> str:
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):
        return (
            f"{what}{repo}: its authors give access by request; accept their terms at "
            f"{endpoint()}/{repo} and log in with `hf auth login` or set HF_TOKEN"
        )
    if isinstance(error, hub.RevisionNotFoundError):
        if revision is None:
            return f"{what}{repo}: has no branch main; name another with --revision"
        return f"--revision {revision}: {repo} has no such branch, tag or commit"
    if isinstance(error, hub.RepositoryNotFoundError):
        return (
            f"{what}{repo}: no such model on the hub, or a private one "
            "(then log in with `hf auth login` or set HF_TOKEN)"
        )
    at = f" at {revision}" if revision else ""
    reason = getattr(error, "strerror", None) or _first_line(error)
    return f"{what}{repo}{at}: cannot be fetched: {reason}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def note_branch(folder: Path, revision: str | None, commit: str) -> None:
    """Tell the cache which commit the branch is at, so that its name works offline too."""
    branch = revision or "main"
    if branch == commit:
        return
    note = folder.parent.parent / "refs" / branch
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(commit)
