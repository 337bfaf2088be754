"""A model in memory as if it had some of its layers, or parts of them, only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, Literal

import torch
from torch import Tensor, nn

from slimcls.backbones.families import base_of, blocks_of, family_of, parts_of
from slimcls.backbones.truncate import cut_config

Part = Literal["attention", "mlp"]


@contextmanager
def only_layers(model: Any, layers: Sequence[int]) -> Iterator[None]:
    """Let ``model`` have the blocks ``layers`` alone, in their order, until the block ends.

    Blocks, their numbers in a cache of keys and values, and the configuration follow, as in a model
    that was opened with these layers; no weight is copied.
    """
    family = family_of(model.config)
    *path, name = family.blocks.split(".")
    owner: Any = attrgetter(".".join(path))(base_of(model)) if path else base_of(model)
    blocks, config = blocks_of(model), model.config.__dict__.copy()
    try:
        setattr(owner, name, nn.ModuleList([blocks[layer] for layer in layers]))
        _number(blocks_of(model))
        model.config.__dict__.update(cut_config(model.config, list(layers)).__dict__)
        yield
    finally:
        setattr(owner, name, blocks)
        model.config.__dict__.clear()
        model.config.__dict__.update(config)
        _number(blocks)


def _number(blocks: nn.ModuleList) -> None:
    """Each attention's place in the cache is its block's place in the model."""
    for place, block in enumerate(blocks):
        for module in block.modules():
            for name in ("layer_idx", "layer_id"):
                if hasattr(module, name):
                    setattr(module, name, place)


@contextmanager
def without_part(model: Any, layer: int, part: Part) -> Iterator[None]:
    """Let one block's attention or MLP add nothing to the residual stream.

    Its output projection gives zeros; norms behind it (post-norm blocks) act as ever.
    """
    family = family_of(model.config)
    names = {"attention": family.attention_out, "mlp": family.mlp_out}
    projections = parts_of(blocks_of(model)[layer], names[part])
    handles = [projection.register_forward_hook(_zeros) for projection in projections]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _zeros(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return torch.zeros_like(output)
