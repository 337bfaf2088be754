"""How much the loss would change, to first order, without a block's weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from slimcls.backbones.families import blocks_of
from slimcls.layers.activations import check_finite, evaluating
from slimcls.layers.losses import text_losses
from slimcls.layers.profiles import Tally
from slimcls.layers.samples import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def weight_times_gradient(model: PreTrainedModel, sample: Sample) -> Tally:
    """Sum of |weight x gradient| over each block's weights, text by text.

    Gradients are used up as they come: no two weights' are in memory together. Only the blocks'
    weights have one; ``requires_grad`` is as before afterwards.
    """
    found = np.zeros((len(sample), len(blocks_of(model))))
    device = next(model.parameters()).device
    sums = torch.zeros(found.shape[1], dtype=torch.float64, device=device)
    with evaluating(model), _summed_into(sums, model), torch.enable_grad():
        for place in tqdm(range(len(sample)), disable=not sys.stderr.isatty(), leave=False):
            sums.zero_()
            batch = next(sample.only(place).batches(device))
            batch.places += place
            losses, tokens = text_losses(model, batch)
            (losses / tokens).sum().backward()
            check_finite(model, sample, batch, sums)
            found[place] = sums.cpu().numpy()
    return Tally(found, np.ones(len(sample)))


@contextmanager
def _summed_into(sums: Tensor, model: nn.Module) -> Iterator[None]:
    """Have every gradient of a block's weight added to the block's sum and dropped."""
    asked = {p: p.requires_grad for p in model.parameters()}
    model.requires_grad_(False)
    handles = []
    for layer, block in enumerate(blocks_of(model)):
        for parameter in block.parameters():
            parameter.requires_grad_(True)
            handles.append(parameter.register_post_accumulate_grad_hook(_adder(sums, layer)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter, wanted in asked.items():
            parameter.requires_grad_(wanted)
            parameter.grad = None


def _adder(sums: Tensor, layer: int) -> Callable[[Tensor], None]:
    def add(parameter: Tensor) -> None:
        assert parameter.grad is not None
        sums[layer] += (parameter.detach() * parameter.grad).abs().sum(dtype=torch.float64)
        parameter.grad = None

    return add
