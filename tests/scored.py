"""Models and texts that the tests of layer scores share."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import torch

from slimcls.backbones import sources
from slimcls.backbones.families import blocks_of
from slimcls.backbones.truncate import depth_of, open_cut, read_config
from slimcls.calibration import Sample

FAMILIES = ("tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox")

#: What a block adds to the stream through, by the model's name.
OUTPUTS = {
    "tiny-gpt2": ("attn.c_proj", "mlp.c_proj"),
    "tiny-opt": ("self_attn.out_proj", "fc2"),
    "tiny-opt-post": ("self_attn.out_proj", "fc2"),
    "tiny-llama": ("self_attn.o_proj", "mlp.down_proj"),
    "tiny-neox": ("attention.dense", "mlp.dense_4h_to_h"),
}


@cache
def source(name: str) -> sources.Source:
    return sources.find(name)


def model(name: str, layers: tuple[int, ...] | None = None) -> Any:
    """A fresh copy with all layers, or with some."""
    found = source(name)
    depth = depth_of(read_config(found))
    return open_cut(found, layers if layers is not None else range(depth), head="lm")


def sample(lengths: tuple[int, ...] = (9, 2, 30, 17, 5, 12), batch_size: int = 4) -> Sample:
    """Texts of these many random tokens."""
    chance = random.Random(len(lengths))
    ids = tuple(tuple(chance.randrange(3, 1000) for _ in range(n)) for n in lengths)
    return Sample(ids, tuple(f"text {i}" for i in range(len(ids))), "made up", batch_size)


def silence_block(model: Any, name: str, layer: int) -> None:
    """Let a block add nothing to the stream."""
    with torch.no_grad():
        for path in OUTPUTS[name]:
            for parameter in blocks_of(model)[layer].get_submodule(path).parameters():
                parameter.zero_()
