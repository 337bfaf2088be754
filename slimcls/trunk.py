"""Hidden states of a batch: through the blocks once, with the shared prefix once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from slimcls.data.batches import Batch

# Padding stands on the right, where causal attention cannot see it: no mask is needed.
logging.getLogger("transformers.modeling_utils").addFilter(
    lambda record: "passing in an `attention_mask`" not in record.getMessage()
)


@dataclass(frozen=True)
class Prefix:
    """Keys and values of the tokens that every item of a run begins with.

    ``layers`` holds one pair a kept block, each (1, heads, tokens, head size).
    """

    layers: tuple[tuple[Tensor, Tensor], ...]

    def cache(self, items: int) -> DynamicCache:
        """A fresh cache for a batch: transformers appends to a cache in place."""
        cache = DynamicCache()
        for place, (keys, values) in enumerate(self.layers):
            shape = (items, -1, -1, -1)
            cache.update(keys.expand(shape), values.expand(shape), place)
        return cache


def read_prefix(base: Any, prefix_ids: Tensor) -> Prefix:
    """Run the prefix (tokens,) through the backbone; gradients flow if they are on.

    A prefix read without gradients must not be used in training: the blocks would silently learn
    from the queries alone.
    """
    cache = base(input_ids=prefix_ids[None], use_cache=True).past_key_values
    return Prefix(tuple((layer.keys, layer.values) for layer in cache.layers))


def hidden_states(base: Any, batch: Batch, prefix: Prefix | None = None) -> Tensor:
    """Hidden states (items, tokens, hidden) after the final norm, without the prefix's own.

    Padding stands on the right, so causal attention never sees it and no mask is needed.
    """
    if prefix is None:
        return base(input_ids=batch.input_ids, use_cache=False).last_hidden_state
    cache = prefix.cache(len(batch.lengths))
    out = base(input_ids=batch.input_ids, past_key_values=cache, use_cache=True)
    return out.last_hidden_state


def last_tokens(hidden: Tensor, batch: Batch) -> Tensor:
    """The hidden state (items, hidden) of each item's last real token."""
    items = torch.arange(len(batch.lengths), device=hidden.device)
    return hidden[items, batch.lengths - 1]
