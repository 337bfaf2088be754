"""Removal of one block at a time, each time the one whose loss hurts least."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from slimcls.backbones.families import blocks_of
from slimcls.data.batches import Batch
from slimcls.layers.activations import check_finite, evaluating, run_blocks, watched
from slimcls.layers.losses import Stand, losses_after, passes_through, standing_in, text_losses
from slimcls.layers.profiles import (
    Array,
    Findings,
    Tally,
    after_removals,
    ascending,
    intervals,
    stability,
)
from slimcls.layers.samples import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    Bar = tqdm[NoReturn]


class Greedy:
    """One search: the blocks that are left, and how many block runs it has cost."""

    def __init__(self, model: PreTrainedModel, sample: Sample) -> None:
        self.model, self.sample = model, sample
        self.device = next(model.parameters()).device
        self.left = list(range(len(blocks_of(model))))
        self.removed: list[int] = []
        #: Blocks run on a batch, and what the whole model for each candidate would have run.
        self.runs = self.whole_runs = 0

    @torch.inference_mode()
    def search(self, keep: int, seed: int = 0) -> Findings:
        """Remove blocks until ``keep`` are left."""
        depth = len(self.left)
        with evaluating(self.model), self._bar(depth, keep) as bar:
            first = self._round(bar)
            self._remove(first)
            while len(self.left) > keep:
                self._remove(self._round(bar))
        return Findings(
            kept=after_removals(depth, self.removed),
            scores=tuple(map(float, first.means())),
            intervals=intervals(first, seed),
            removal_order=(*self.removed, *(self.left if len(self.left) == 1 else ())),
            tau=stability(first),
            notes=(self._saved(),),
        )

    def _bar(self, depth: int, keep: int) -> Bar:
        rounds = depth - max(keep, 1)
        total = rounds * len(self.sample)
        return tqdm(total=total, unit=" texts", disable=not sys.stderr.isatty(), leave=False)

    def _remove(self, rises: Tally) -> None:
        gone = self.left[ascending(rises.means())[0]]
        self.left.remove(gone)
        self.removed.append(gone)

    def _round(self, bar: Bar) -> Tally:
        """How much the loss of each text rises without each block that is left."""
        rises = np.zeros((len(self.sample), len(self.left)))
        for batch in self.sample.batches(self.device):
            rises[batch.places.cpu().numpy()] = self._rises(batch)
            bar.update(len(batch.lengths))
        return Tally(rises, np.array([len(ids) - 1.0 for ids in self.sample.ids]))

    def _rises(self, batch: Batch) -> Array:
        """(items, blocks left): loss without a block - loss with all that are left.

        What lies below a candidate is run once for all candidates: it stands in for the blocks up
        to the candidate, and only those above run again.
        """
        entering: dict[int, Tensor] = {}
        gone: dict[int, Stand] = dict.fromkeys(self.removed, passes_through)
        with standing_in(self.model, gone):
            with watched(self.model, lambda layer, before, _: entering.update({layer: before})):
                hidden = run_blocks(self.model, batch)
            before, _ = losses_after(self.model, batch, hidden)
        self.runs += len(self.left)
        losses = []
        for place, candidate in enumerate(self.left):
            below: dict[int, Stand] = dict.fromkeys(self.left[:place], passes_through)
            known = _gives(entering[candidate])
            with standing_in(self.model, gone | below | {candidate: known}):
                losses.append(text_losses(self.model, batch)[0] - before)
            self.runs += len(self.left) - place - 1
            self.whole_runs += len(self.left) - 1
        found = torch.stack(losses, 1)
        check_finite(self.model, self.sample, batch, found)
        return found.cpu().numpy()

    def _saved(self) -> str:
        share = 1 - self.runs / self.whole_runs if self.whole_runs else 0.0
        return (
            f"{self.runs:,} block runs instead of {self.whole_runs:,}: {share:.0%} saved by "
            "running what lies below a candidate once"
        )


def _gives(states: Tensor) -> Stand:
    return lambda _: states


def search(model: PreTrainedModel, sample: Sample, keep: int, seed: int = 0) -> Findings:
    """As the criterion ``greedy-loss`` says; ``model`` has a language-model head."""
    return Greedy(model, sample).search(keep, seed)
