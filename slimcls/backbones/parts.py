"""Weights of a hub model by part, a layer each: only those that stay are fetched."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from slimcls.backbones import hub
from slimcls.backbones.families import COMPUTED, SCORE, block_pattern, family_of
from slimcls.backbones.layout import shards_of_tensors
from slimcls.backbones.parted_file import PartedFile
from slimcls.backbones.ranges import NotInParts
from slimcls.errors import UserError
from slimcls.storage.network import out_of_reach

#: Parts of a checkpoint that are no layer.
HEAD_PART, REST_PART = "head", "rest"


@dataclass(frozen=True)
class Stored:
    """Weight files on this machine, and what the model has besides."""

    files: tuple[Path, ...]
    elsewhere: frozenset[str] = frozenset()
    """Names of tensors that are in none of ``files``."""


@dataclass(frozen=True)
class Parts:
    """Weights of one commit, which are not in the hub's cache, or not whole.

    Parts are kept in the user's cache. A whole copy in the hub's cache goes first; one is made
    where all layers are wanted and none is here, because the hash of a whole file can be checked,
    and where the hub gives no parts.
    """

    repo: str
    commit: str
    folder: Path
    """In the hub's cache; holds config.json, and the index of a sharded model."""

    def stored(self, config: Any, layers: Sequence[int], *, lm_head: bool) -> Stored:
        """See :meth:`slimcls.backbones.sources.Source.stored`."""
        if whole := self._whole():
            return Stored(whole)
        wanted = _wanted(layers, lm_head=lm_head)
        try:
            files, elsewhere = self._files_with(wanted, config)
            if not self._takes_all(files, config, layers):
                found = _fetched(self.repo, files, wanted)
                return Stored(found, elsewhere | _names_of_others(files, wanted))
        except NotInParts as why:
            print(f"note: {self.repo} is fetched whole: {why}", file=sys.stderr)
        return Stored(self._fetch_whole())

    def missing(self, config: Any, layers: Sequence[int], *, lm_head: bool) -> dict[str, int]:
        """See :meth:`slimcls.backbones.sources.Source.missing`."""
        if self._whole():
            return {}
        wanted = _wanted(layers, lm_head=lm_head)
        try:
            files, _ = self._files_with(wanted, config)
            found = {
                f"{self.commit} {file.name} {part}": file.size(part)
                for file in files
                for part in file.parts()
                if part in wanted and not file.is_here(part)
            }
            if self._takes_all(files, config, layers):
                for file in files:
                    used = sum(map(file.size, file.parts()))
                    found[f"{self.commit} {file.name}"] = file.whole_size - used
            return found
        except NotInParts:
            names = hub.weight_names(self.repo, self.commit)
            return {f"{self.commit} {name}": self._file(name, config).whole_size for name in names}

    def _whole(self) -> tuple[Path, ...]:
        copy = hub.whole_copy(self.repo, self.commit)
        return tuple(copy.folder / n for n in copy.weights) if isinstance(copy, hub.Fetched) else ()

    def _fetch_whole(self) -> tuple[Path, ...]:
        if why := out_of_reach():
            raise UserError(f"--model {self.repo}: not all of it is here, and {why}; connect once")
        names = hub.weight_names(self.repo, self.commit)
        return tuple(hub.arrived(self.repo, name, self.commit) for name in names)

    def _file(self, name: str, config: Any) -> PartedFile:
        return PartedFile(self.repo, self.commit, name, partial(part_of, config=config))

    def _files_with(
        self, wanted: frozenset[str], config: Any
    ) -> tuple[list[PartedFile], frozenset[str]]:
        """The files that hold some of the ``wanted`` parts, and what the others hold."""
        names = hub.weight_names(self.repo, self.commit)
        shards = shards_of_tensors(self.folder, names)
        if not shards:
            return [self._file(name, config) for name in names], frozenset()
        used = {file for tensor, file in shards.items() if part_of(tensor, config) in wanted}
        others = frozenset(tensor for tensor, file in shards.items() if file not in used)
        return [self._file(name, config) for name in names if name in used], others

    def _takes_all(self, files: Iterable[PartedFile], config: Any, layers: Sequence[int]) -> bool:
        depth = getattr(config, family_of(config).depth_key)
        return len(layers) == depth and not any(file.here() for file in files)


def part_of(name: str, config: Any) -> str | None:
    """Which part of a checkpoint the tensor ``name`` belongs to, in a model with this ``config``.

    ``layer-000`` and so on, ``head`` for a language-model head of its own, ``rest`` for what is
    around the blocks, None for what no cut model takes from a checkpoint.
    """
    family = family_of(config)
    found = re.search(rf"(?:^|\.){block_pattern(family).pattern}", name)
    if COMPUTED.search(name) or name == SCORE:
        return None
    if found:
        return layer_part(int(found[1]))
    heads = (family.lm_head, *family.lm_head_aliases)
    if name.removesuffix(".weight").removesuffix(".bias") in heads:
        tied = config.tie_word_embeddings and name.endswith(".weight")
        return None if tied else HEAD_PART
    return REST_PART


def layer_part(layer: int) -> str:
    """What :func:`part_of` calls the part of a layer."""
    return f"layer-{layer:03d}"


def amount(size: int) -> str:
    """Bytes in words."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _wanted(layers: Sequence[int], *, lm_head: bool) -> frozenset[str]:
    heads = [HEAD_PART] if lm_head else []
    return frozenset([*map(layer_part, layers), REST_PART, *heads])


def _names_of_others(files: Iterable[PartedFile], wanted: frozenset[str]) -> frozenset[str]:
    """Tensors in the parts of ``files`` that nobody asked for."""
    return frozenset(
        name
        for file in files
        for name in file.directory.tensors
        if file.part_of(name) not in wanted
    )


def _fetched(repo: str, files: Sequence[PartedFile], wanted: frozenset[str]) -> tuple[Path, ...]:
    """The wanted parts on this machine, under a bar that counts bytes."""
    from tqdm import tqdm

    parts = [(file, part) for file in files for part in file.parts() if part in wanted]
    lacking = sum(file.size(part) for file, part in parts if not file.is_here(part))
    with tqdm(
        total=lacking, unit="B", unit_scale=True, desc=repo, leave=False,
        disable=not (lacking and sys.stderr.isatty()),
    ) as bar:  # fmt: skip
        return tuple(file.bring(part, bar.update) for file, part in parts)
