"""Rows of token matrices that stay in a model's files: no text of a run has their tokens.

A model that is opened with some rows only trains, tests and is saved as the whole one would be: the
other rows are read again when it is written, some at a time, with the decay that training gives
them. So no token matrix is ever whole in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from slimcls.backbones.families import base_of, family_of
from slimcls.backbones.streamed import Streamed, write_streamed
from slimcls.backbones.vocabulary import decay, matrices, put, set_places
from slimcls.backbones.weights import Weights, check_finite_weights
from slimcls.errors import UserError

#: The attribute of a model that holds some rows only.
_LEFT = "left_rows"


@dataclass
class LeftRows:
    """Where the other rows of a model are, and what became of them."""

    ids: Tensor
    """Tokens whose rows the model holds, ascending."""

    names: dict[str, str]
    """What the files call its token matrices, by the place of these in a model."""

    files: tuple[Path, ...]
    whose: str
    """What errors call the model that the files are of."""

    decays: list[tuple[tuple[float, ...], float, str]] = field(default_factory=list)
    """What training did to the other rows: a rate a step, weight decay, device."""

    seen: list[tuple[int, int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.seen = self._state()

    def _state(self) -> list[tuple[int, int, int]]:
        """What tells whether a file was written since. Raises UserError where one is not there."""
        try:
            states = [path.stat() for path in self.files]
        except OSError as error:
            raise UserError(f"{error.filename}: {error.strerror}") from error
        return [(one.st_size, one.st_mtime_ns, one.st_ino) for one in states]

    def missing(self, matrix: Streamed, vocabulary: int) -> int:
        """Bytes of a whole token matrix that the model does not hold."""
        return matrix.nbytes // vocabulary * (vocabulary - len(self.ids))

    def whole(self, place: str, held: Tensor) -> Iterator[Tensor]:
        """A token matrix in the type of ``held``, its rows that the model has, piece by piece.

        Raises UserError where the files have changed, or a number is beyond the type's range.
        """
        if self._state() != self.seen:
            raise UserError(f"{self.whose}: its files have changed since it was opened")
        with Weights(self.files) as weights:
            for start, piece in weights.pieces(self.names[place], torch.float32):
                for rates, weight_decay, device in self.decays:
                    decay(piece, rates, weight_decay, device)
                rows = piece.to(held.dtype)
                if not rows.isfinite().all():
                    kind = str(held.dtype).removeprefix("torch.")
                    raise UserError(
                        f"{self.whose}: {self.names[place]} holds numbers beyond the range of "
                        f"{kind}; use bfloat16"
                    )
                first, last = torch.searchsorted(
                    self.ids, torch.tensor([start, start + len(rows)])
                ).tolist()
                rows[self.ids[first:last] - start] = held[first:last]
                yield rows


def left_rows_of(model: Any) -> LeftRows | None:
    """What a model that holds some rows only has left in its files; None of one that holds all."""
    found: LeftRows | None = getattr(model, _LEFT, None)
    return found


def left_out(model: Any) -> int:
    """Parameters of a model that are in its files only."""
    if left_rows_of(model) is None:
        return 0
    return sum(
        (model.config.vocab_size - len(matrix)) * matrix.shape[1] for matrix in matrices(model)
    )


def token_places(model: Any) -> dict[str, str]:
    """Places of token matrices -> what a model of this class calls them."""
    family = family_of(model.config)
    prefix = "" if base_of(model) is model else f"{model.base_model_prefix}."
    embedding = f"{prefix}{family.embeddings}.weight"
    return {"embedding": embedding, "head": f"{family.lm_head}.weight"}


def read_held(
    weights: Weights, name: str, ids: Sequence[int], dtype: torch.dtype, whose: str
) -> Tensor:
    """Rows ``ids`` of a matrix, (len(ids), width); all of it is looked at.

    Raises UserError for numbers that are not finite, wherever in it.
    """
    wanted = torch.tensor(ids)
    held = torch.empty(len(ids), weights.shapes[name][1], dtype=dtype)
    for start, piece in weights.pieces(name, dtype):
        check_finite_weights({name: piece}, whose)
        inside = (wanted >= start) & (wanted < start + len(piece))
        held[inside] = piece[wanted[inside] - start]
    return held


def fill_with_rows(
    build: Callable[[dict[str, Tensor]], Any],
    tensors: Mapping[str, Tensor],
    left: LeftRows,
    config: Any,
) -> Any:
    """A model that :func:`build` makes of whole tensors, over matrices with some rows only.

    ``tensors`` hold the rows of ``left.ids`` where a whole matrix would be.
    """
    vocabulary = int(config.vocab_size)
    # Of this shape without taking its memory: no number of it is ever read.
    widened = {
        name: value[:1, :1].expand(vocabulary, value.shape[1]) if _is_held(name, config) else value
        for name, value in tensors.items()
    }
    model = build(widened)
    held = {name: value for name, value in tensors.items() if _is_held(name, config)}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    new = {id(parameters[name]): nn.Parameter(value) for name, value in held.items()}
    put(model, [new[id(matrix)] for matrix in matrices(model)])
    embedding = model.get_input_embeddings()
    places = torch.full((vocabulary,), -1)
    places[left.ids] = torch.arange(len(left.ids))
    if embedding.padding_idx is not None:
        place = int(places[embedding.padding_idx])
        embedding.padding_idx = None if place < 0 else place
    set_places(embedding, places)
    setattr(model, _LEFT, left)
    return model


def _is_held(name: str, config: Any) -> bool:
    """Whether this is the name of a token matrix in a model with this configuration."""
    family = family_of(config)
    return name == f"{family.lm_head}.weight" or name.endswith(f"{family.embeddings}.weight")


def widen(model: Any, folder: Path) -> None:
    """Put the rows that were left into the files of ``folder``, where the model was just written.

    Raises UserError as :meth:`LeftRows.whole` does.
    """
    left = left_rows_of(model)
    if left is None:
        return
    family, more = family_of(model.config), 0
    heads = {f"{name}.weight" for name in (family.lm_head, *family.lm_head_aliases)}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt", backend="pread") as file:
            places = {
                name: "head" if name in heads else "embedding"
                for name in file.offset_keys()
                if name in heads or name.endswith(f"{family.embeddings}.weight")
            }
            if places:
                tensors = {
                    name: _streamed(file, name, places.get(name), left, model.config.vocab_size)
                    for name in file.offset_keys()
                }
                more += sum(left.missing(tensors[name], model.config.vocab_size) for name in places)
                write_streamed(path.with_suffix(".whole"), tensors)
        if places:
            path.with_suffix(".whole").replace(path)
    for index in folder.glob("*.safetensors.index.json"):
        content = json.loads(index.read_text("utf-8"))
        content["metadata"]["total_size"] += more
        content["metadata"]["total_parameters"] = model.num_parameters() + left_out(model)
        index.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _streamed(file: Any, name: str, place: str | None, left: LeftRows, vocabulary: int) -> Streamed:
    """A tensor of a file as it is, or widened to all rows where it has a ``place``."""
    entry = file.get_slice(name)
    shape = tuple(entry.get_shape())
    if place:
        shape = (vocabulary, *shape[1:])
    size = torch.Size(shape).numel() * _BYTES[entry.get_dtype()]

    def pieces() -> Iterator[Any]:
        held = file.get_tensor(name)
        for part in left.whole(place, held) if place else [held]:
            yield part.contiguous().view(-1).view(torch.uint8).numpy().data

    return Streamed(entry.get_dtype(), shape, size, pieces)


#: Bytes of a number, by what safetensors calls its type.
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
