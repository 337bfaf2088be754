"""Which files make up a model's folder, here or on the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from slimcls.errors import UserError
from slimcls.storage.json_files import parse_json

#: Files beside the weights that change what a model does, and so belong to its fingerprint.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)

#: Weight files in the order in which they are preferred: safetensors needs no pickle.
SINGLE_OR_INDEX: tuple[tuple[str, str], ...] = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a config.json. Raises UserError where there is none."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable model configuration ({error})") from error
    return content


def weight_files(names: Iterable[str], where: str, fetch: Callable[[str], Path]) -> list[str]:
    """Which files of a model hold its weights, the index of a sharded one left out.

    ``names`` are the files there are, ``where`` is what errors call the place, and ``fetch``
    gives the local path of one of them (only an index is asked for).

    Raises:
        UserError: no weights in a format that can be read, or an index that cannot be.
    """
    present = set(names)
    for single, index in SINGLE_OR_INDEX:
        if single in present:
            return [single]
        if index in present:
            shards = _shards(fetch(index))
            lacking = [shard for shard in shards if shard not in present]
            if lacking:
                raise UserError(f"{where}: {index} names {lacking[0]}, which is not there")
            return shards
    wanted = " or ".join(single for single, _ in SINGLE_OR_INDEX)
    raise UserError(f"{where}: no weights ({wanted}, or their shards with an index.json)")


def shards_of_tensors(folder: Path, weights: Sequence[str]) -> dict[str, str]:
    """Which of the ``weights`` holds each tensor, as the index in ``folder`` says.

    Empty where no index there is of these files. Raises UserError where it cannot be read.
    """
    for _, index in SINGLE_OR_INDEX:
        if (folder / index).exists() and set(weights) == set(_shards(folder / index)):
            return _weight_map(folder / index)
    return {}


def _shards(index: Path) -> list[str]:
    """File names in an index. Only plain names: an index must not reach outside its folder."""
    return sorted(set(_weight_map(index).values()))


def _weight_map(index: Path) -> dict[str, str]:
    try:
        shards = dict(parse_json(index.read_text(encoding="utf-8"))["weight_map"])
        if not shards or any(Path(shard).name != shard for shard in shards.values()):
            raise ValueError("it must name files beside it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index}: not a readable index of weight files ({error})") from error
    return shards


def has_tokenizer(names: Iterable[str]) -> bool:
    """Whether the files of a folder hold a tokenizer."""
    present = set(names)
    alone = present & {"tokenizer.json", "tokenizer.model"}
    return bool(alone) or {"vocab.json", "merges.txt"} <= present
