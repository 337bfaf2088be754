"""The loss of a language model on texts, and the model with some of its blocks left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from slimcls.backbones.families import blocks_of
from slimcls.backbones.lm_head import vocabulary_logits
from slimcls.data.batches import Batch
from slimcls.layers.activations import run_blocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Positions whose logits over the whole vocabulary are held at once.
POSITIONS = 1024

#: What stands in for a block: residual stream in, residual stream out.
Stand = Callable[[Tensor], Tensor]


def text_losses(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Loss of each text, summed over its predicted tokens, and how many those are.

    Cross-entropy in nats of each token given those before it; the first token is given. Both
    (items,), float64, on the model's device; gradients flow if they are on.
    """
    return losses_after(model, batch, run_blocks(model, batch))


def losses_after(model: PreTrainedModel, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`text_losses`, from the hidden states after the final norm."""
    places = torch.arange(batch.input_ids.shape[1] - 1, device=hidden.device)
    predicting = places < (batch.lengths - 1)[:, None]
    targets = batch.input_ids[:, 1:][predicting]
    owners = predicting.nonzero()[:, 0]
    states = hidden[:, :-1][predicting]
    sums = torch.zeros(len(batch.lengths), dtype=torch.float64, device=hidden.device)
    for start in range(0, len(targets), POSITIONS):
        part = slice(start, start + POSITIONS)
        logits = vocabulary_logits(model, states[part]).float()
        losses = functional.cross_entropy(logits, targets[part], reduction="none")
        sums = sums.index_add(0, owners[part], losses.double())
    return sums, (batch.lengths - 1).double()


@contextmanager
def standing_in(model: nn.Module, stands: Mapping[int, Stand]) -> Iterator[None]:
    """Run ``stands`` in place of the blocks of these numbers; the blocks are not computed.

    Everything around the blocks (positions, masks, final norm, head) is the model's own. Nothing
    is moved or renumbered, so it is for measuring without a cache of keys and values.
    """
    blocks = blocks_of(model)

    def forward(stand: Stand) -> Callable[..., Tensor]:
        return lambda hidden_states, *_, **__: stand(hidden_states)

    for layer, stand in stands.items():
        blocks[layer].forward = forward(stand)
    try:
        yield
    finally:
        for layer in stands:
            del blocks[layer].forward


def passes_through(hidden_states: Tensor) -> Tensor:
    """Stands in for a block that was removed."""
    return hidden_states
