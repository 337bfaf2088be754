"""Blocks with weights drawn anew: what is left of a model without its pretraining."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel, PretrainedConfig

from slimcls.backbones.families import family_of

#: Keeps the blocks' random numbers apart from those of the head, which has the run's seed too.
STREAM = 1


def drawn_blocks(config: PretrainedConfig, seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """The blocks of ``config``'s model as its class initialises them, by name in the base model.

    They depend on ``seed`` and the blocks' shapes alone, not on vocabulary, head or what was drawn
    before; norms get ones and biases zeros where the class does so.
    """
    small = copy.deepcopy(config)
    # Embeddings are drawn before the blocks, and as many numbers as they have rows.
    small.vocab_size = 2
    # Some configurations have no None here; a row of zeros draws nothing either.
    small.pad_token_id = 0
    stream = int(np.random.SeedSequence((seed, STREAM)).generate_state(1)[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream)
        model = AutoModel.from_config(small, dtype=dtype)
    prefix = f"{family_of(config).blocks}."
    tensors: dict[str, Tensor] = model.state_dict()
    return {name: value for name, value in tensors.items() if name.startswith(prefix)}
