"""From a model's name to its files on this machine, and to what identifies them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from slimcls.backbones import hub
from slimcls.backbones.families import check_architecture
from slimcls.backbones.layout import TOKENIZER_FILES, read_json, weight_files
from slimcls.backbones.packaged import PACKAGED, folder_of
from slimcls.backbones.parts import Parts, Stored
from slimcls.errors import UserError
from slimcls.storage.cache import content_hash
from slimcls.storage.paths import user_path

__all__ = ["KNOWN", "Source", "check_name", "find", "look"]


@dataclass(frozen=True)
class Source:
    """A model's files."""

    name: str
    """As the user gave it."""

    folder: Path
    """Holds config.json, the tokenizer, and the weights."""

    fingerprint: str
    """``hub:COMMIT``, or ``sha256:HEX`` of the contents of the files that matter."""

    weights: tuple[Path, ...]
    """Weight files: one, or the shards; none where they are at the hub."""

    note: str = ""
    """What has to be said wherever results of this model are shown."""

    parts: Parts | None = None
    """Weights at the hub, which are fetched when it is known which layers stay."""

    only_config: bool = False
    """Whether nothing but config.json has been looked at: the tokenizer may not be here."""

    def stored(self, config: Any, layers: Sequence[int], *, lm_head: bool) -> Stored:
        """The files that hold ``layers`` and what is around them, fetched where they are not here.

        Args:
            config: The model's transformers configuration, full depth.
            layers: Ids of layers.
            lm_head: Whether a language-model head that is not the embedding is wanted too.

        Raises:
            UserError: they cannot be had.
        """
        if self.parts is None:
            return Stored(self.weights)
        return self.parts.stored(config, layers, lm_head=lm_head)

    def missing(self, config: Any, layers: Sequence[int], *, lm_head: bool) -> dict[str, int]:
        """What :meth:`stored` would fetch: bytes by part, whatever a part is called.

        Equal parts of equal models have equal names. Raises UserError as :meth:`stored` does.
        """
        if self.parts is None:
            return {}
        return self.parts.missing(config, layers, lm_head=lm_head)


@dataclass(frozen=True)
class Built:
    """A model that slimcls builds itself, once, into the cache."""

    build: Callable[[], Path]
    note: str = ""
    #: Id at the hub of the model that it is a form of, where it is one.
    upstream: str = ""


def _tiny(name: str) -> Built:
    def build() -> Path:
        from slimcls.backbones import tiny

        return tiny.build(name)

    return Built(build, "random weights")


#: Short names: hub ids, and models that need no network.
KNOWN: dict[str, str | Built] = {
    **{name: f"openai-community/{name}" for name in ("gpt2", "gpt2-medium", "gpt2-large")},
    "gpt2-xl": "openai-community/gpt2-xl",
    **{f"opt-{size}": f"facebook/opt-{size}" for size in ("125m", "350m", "1.3b")},
    **{
        name: Built(partial(folder_of, name), row.note, upstream=row.upstream)
        for name, row in PACKAGED.items()
    },
    **{
        name: _tiny(name)
        for name in ("tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox")
    },
}

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_name(name: str, revision: str | None) -> None:
    """Whether ``name`` can be a model at all; no network, nothing heavy imported.

    Raises:
        UserError: an unknown short name (with the nearest known one), a folder that is not
            there or has no config.json, a revision for what has none.
    """
    kind = _kind(name)
    if revision is not None and kind != "hub":
        raise UserError(f"--revision {revision}: only hub models have one, {name!r} is not one")
    if kind == "folder" and not (user_path(name, "--model") / "config.json").is_file():
        raise UserError(f"{name}: no config.json there; --model takes a folder with a whole model")


def _kind(name: str) -> str:
    """``built``, ``hub`` or ``folder``."""
    known = KNOWN.get(name)
    if known is not None:
        return "hub" if isinstance(known, str) else "built"
    if name and user_path(name, "--model").is_dir():
        return "folder"
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"--model {name}: there is no such folder")
    if _HUB_ID.fullmatch(name):
        return "hub"
    raise UserError.unknown(
        "model", name, KNOWN, "or a hub id such as HuggingFaceTB/SmolLM2-135M, or a local folder"
    )


def hub_id(name: str, fingerprint: str) -> str:
    """Id at the hub of the model that a run was made from; empty where it has none.

    ``fingerprint`` is the source's: a folder may be called as a model on the hub is.
    """
    known = KNOWN.get(name, name)
    if isinstance(known, Built):
        return known.upstream
    return known if fingerprint.startswith("hub:") else ""


def on_hub(name: str) -> bool:
    """Whether a model that :func:`check_name` lets through is fetched from the hub."""
    return _kind(name) == "hub"


def find(
    name: str, revision: str | None = None, check: Callable[[Path], None] | None = None
) -> Source:
    """The files of a model: built, downloaded, or where they lie.

    Of a hub model that is not cached whole, no weights are fetched yet: see :meth:`Source.stored`.

    Args:
        name: A short name, a hub id, or a local folder.
        revision: Branch, tag or commit of a hub model.
        check: Called with the model's folder when config.json is in it, before anything else is
            fetched and any weight is read; what it raises is passed on.

    Raises:
        UserError: what :func:`check_name` refuses; a hub model whose config.json names an
            architecture without a row in FAMILIES or quantised weights, or that cannot be had (no
            network and no cached copy, no access, no such model or revision); no weights.
    """
    check_name(name, revision)
    known = KNOWN.get(name, name)
    if isinstance(known, Built):
        return _local(name, known.build(), known.note, check)
    if _kind(name) == "folder":
        return _local(name, user_path(name, "--model"), "", check)

    def checked(folder: Path) -> None:
        check_architecture(read_json(folder / "config.json"), name)
        if check:
            check(folder)

    return _of_hub(name, hub.fetch(known, revision, checked))


class _Seen(Exception):
    """Says where config.json lies, in time to fetch nothing else."""


def look(
    name: str, revision: str | None = None, check: Callable[[Path], None] | None = None
) -> Source:
    """As :func:`find`, but of a hub model that is not cached config.json alone is fetched.

    Raises UserError as :func:`find` does.
    """

    def seen(folder: Path) -> None:
        raise _Seen(folder)

    check_name(name, revision)
    if _kind(name) != "hub":
        return find(name, revision, check)
    try:
        return find(name, revision, seen)
    except _Seen as stop:
        folder: Path = stop.args[0]
    if check:
        check(folder)
    # The hub's cache names a snapshot's folder by its commit.
    commit = folder.name
    cached = hub.cached_copy(str(KNOWN.get(name, name)), commit)
    if isinstance(cached, hub.Fetched):
        return _of_hub(name, cached)
    return replace(_of_hub(name, hub.Fetched(folder, commit)), only_config=True)


def _of_hub(name: str, fetched: hub.Fetched) -> Source:
    folder, commit = fetched.folder, fetched.commit
    weights = tuple(folder / file for file in fetched.weights)
    parts = None if weights else Parts(str(KNOWN.get(name, name)), commit, folder)
    return Source(name, folder, f"hub:{commit}", weights, parts=parts)


def _local(name: str, folder: Path, note: str, check: Callable[[Path], None] | None) -> Source:
    folder = folder.resolve()
    if check:
        check(folder)
    try:
        present = [file.name for file in folder.iterdir() if file.is_file()]
        files = weight_files(present, name, lambda file: folder / file)
        weights = tuple(folder / file for file in files)
        beside = [folder / file for file in TOKENIZER_FILES if file in present]
        fingerprint = content_hash([folder / "config.json", *beside, *weights])
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror}") from error
    return Source(name, folder, fingerprint, weights, note)
