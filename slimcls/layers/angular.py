"""Angles between the residual stream at any two depths, for runs of neighbouring blocks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from slimcls.backbones.families import blocks_of
from slimcls.data.batches import Batch
from slimcls.layers.activations import at_last_token, check_finite, evaluating, run_blocks, watched
from slimcls.layers.profiles import Findings, Tally, intervals, stability
from slimcls.layers.samples import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.inference_mode()
def angular_blocks(model: PreTrainedModel, sample: Sample, seed: int = 0) -> Findings:
    """As the criterion ``angular`` says: for each n the n neighbours that turn the stream least."""
    depth = len(blocks_of(model))
    device = next(model.parameters()).device
    total = torch.zeros(depth + 1, depth + 1, dtype=torch.float64, device=device)
    each = np.zeros((len(sample), depth))
    with evaluating(model):
        for batch in sample.batches(device):
            found = angles(_last_states(model, batch, depth))
            check_finite(model, sample, batch, found)
            total += found.sum(0)
            each[batch.places.cpu().numpy()] = found.diagonal(1, 1, 2).cpu().numpy()
    tally = Tally(each, np.ones(len(sample)))
    return Findings(
        kept=best_blocks(total.cpu()),
        scores=tuple(map(float, tally.means())),
        intervals=intervals(tally, seed),
        tau=stability(tally),
    )


def _last_states(model: PreTrainedModel, batch: Batch, depth: int) -> Tensor:
    """The residual stream at each text's last token, (items, depth + 1, hidden), float64.

    Place i is what enters block i; the last is what leaves the last block.
    """
    states: list[Tensor] = []

    def look(layer: int, before: Tensor, after: Tensor) -> None:
        states.append(at_last_token(before, batch))
        if layer == depth - 1:
            states.append(at_last_token(after, batch))

    with watched(model, look):
        run_blocks(model, batch)
    return torch.stack(states, 1).double()


def angles(states: Tensor) -> Tensor:
    """Angles between all pairs of states (items, n, hidden), as shares of pi: (items, n, n).

    By the distance of the directions on the unit sphere: an arc cosine loses small angles.
    """
    directions = torch.nn.functional.normalize(states, dim=-1)
    apart = torch.cdist(directions, directions, compute_mode="donot_use_mm_for_euclid_dist")
    return (apart / 2).clamp(max=1).asin() * 2 / math.pi


def best_blocks(distances: Tensor) -> dict[int, tuple[int, ...]]:
    """What stays at each depth when the n neighbours between the nearest states go.

    ``distances`` is (depth + 1, depth + 1); of equally near pairs the higher one goes.
    """
    depth = len(distances) - 1
    kept = {}
    for gone in range(1, depth):
        near = distances.diagonal(gone).tolist()
        start = min(range(len(near)), key=lambda i: (near[i], -i))
        kept[depth - gone] = tuple(i for i in range(depth) if not start <= i < start + gone)
    return kept
