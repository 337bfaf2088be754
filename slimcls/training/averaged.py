"""A classifier of the mean over tokens becomes a plain model, as it is tested and handed over."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slimcls.backbones.averaging import Linear, append_average
from slimcls.backbones.families import blocks_of, final_norm_of
from slimcls.classifier.trunk import decoder_of, hidden_states
from slimcls.data.batches import collate, mean_over_tokens
from slimcls.layers.activations import at_last_token, evaluating, watched

#: Training texts that are looked at, and those of a batch.
LOOKED_AT, BATCH = 256, 16


def make_plain(
    model: PreTrainedModel, linear: Linear, items: Sequence[list[int]], pad_id: int
) -> None:
    """Put a layer behind a model's own that averages, and in its head what ``linear`` says.

    Some of the items (token ids) are read to see what states look like, evenly from the shortest
    to the longest.
    """
    ordered = sorted(items, key=len)
    count = min(LOOKED_AT, len(ordered))
    some = [ordered[place * (len(ordered) - 1) // max(1, count - 1)] for place in range(count)]
    means, last = _states(model, some, pad_id)
    # transformers wraps this method in a way that hides its types.
    nn.Module.to(model, "cpu")
    append_average(model, linear, means, last)


@torch.no_grad()
def _states(
    model: PreTrainedModel, items: Sequence[list[int]], pad_id: int
) -> tuple[Tensor, Tensor]:
    """Means over tokens after the final norm, last tokens' states before it: (items, hidden)."""
    base = decoder_of(model)
    norm, end = final_norm_of(base), len(blocks_of(base)) - 1
    assert norm is not None
    means, last, left = [], [], []

    def look(layer: int, before: Tensor, after: Tensor) -> None:
        if layer == end:
            left.append(after)

    with watched(base, look), evaluating(base):
        for start in range(0, len(items), BATCH):
            part = items[start : start + BATCH]
            batch = collate([(place, ids, 0) for place, ids in enumerate(part)], pad_id)
            batch = batch.to(model.device)
            hidden_states(base, batch)
            states = left.pop()
            means.append(mean_over_tokens(norm(states), batch))
            last.append(at_last_token(states, batch))
    return torch.cat(means).cpu(), torch.cat(last).cpu()
