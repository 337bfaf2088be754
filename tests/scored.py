"""Models and texts that the tests of layer scores share."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import numpy as np
import torch

from slimcls.backbones import sources
from slimcls.backbones.families import base_of, blocks_of, final_norm_of
from slimcls.backbones.truncate import depth_of, open_cut, read_config
from slimcls.layers.samples import Sample

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


def stream(whole: Any, ids: tuple[int, ...]) -> np.ndarray:
    """The residual stream (blocks + 1, tokens, hidden) of one text, no padding.

    All but the last come from transformers' own hidden states; what leaves the last block is what
    enters the final norm, or where there is none what the last block returned.
    """
    last: list[torch.Tensor] = []
    norm = final_norm_of(whole)
    if norm is not None:
        handle = norm.register_forward_pre_hook(lambda _, args: last.append(args[0]))
    else:
        handle = blocks_of(whole)[-1].register_forward_hook(lambda *given: last.append(given[2]))
    with torch.no_grad():
        out = base_of(whole)(input_ids=torch.tensor([ids]), output_hidden_states=True)
    handle.remove()
    states = [*out.hidden_states[: len(blocks_of(whole))], last[0]]
    return np.stack([state[0].double().numpy() for state in states])
