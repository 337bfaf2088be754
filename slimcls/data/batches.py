"""Batches of token ids: grouped by length, in an order that is a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

#: Batches whose items are sorted together: enough that lengths match, few enough that epochs mix.
GROUP = 16


@dataclass
class Batch:
    """Items padded on the right to the longest of the batch."""

    input_ids: Tensor  # (items, tokens) int64
    lengths: Tensor  # (items,) int64, real tokens of each item, at least 1
    labels: Tensor  # (items,) int64, class numbers
    places: Tensor  # (items,) int64, where each item stands in its data set

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        parts = (self.input_ids, self.lengths, self.labels, self.places)
        return Batch(*(part.to(device) for part in parts))


@dataclass(frozen=True)
class Items(Dataset[tuple[int, list[int], int]]):
    """Encoded texts of one split: token ids and class numbers, in the split's order."""

    ids: list[list[int]]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int) -> tuple[int, list[int], int]:
        return place, self.ids[place], self.labels[place]


def collate(items: Sequence[tuple[int, list[int], int]], pad_id: int) -> Batch:
    """Pad on the right with ``pad_id``. Every item needs at least one token."""
    lengths = [len(ids) for _, ids, _ in items]
    padded = torch.full((len(items), max(lengths)), pad_id, dtype=torch.int64)
    for row, (_, ids, _) in enumerate(items):
        padded[row, : len(ids)] = torch.tensor(ids)
    return Batch(
        input_ids=padded,
        lengths=torch.tensor(lengths),
        labels=torch.tensor([label for _, _, label in items]),
        places=torch.tensor([place for place, _, _ in items]),
    )


class TrainingBatches(Sampler[list[int]]):
    """A batch sampler that shuffles, groups by length, and can start inside an epoch.

    Items are shuffled, cut into groups of ``GROUP`` batches, sorted by length inside a group, cut
    into batches, and the batches are shuffled: every epoch mixes anew, little is padded, and the
    order depends on nothing but (seed, epoch). With several processes each takes every
    ``world_size``-th batch of the same order; the first batches come again where they do not
    divide evenly.

    With ``tokens`` a batch holds as many items as that many tokens take, padding counted, and at
    least one. How many batches that makes differs from epoch to epoch: all ``epochs`` get as many
    as the one that needs most, and where it took fewer the fullest are halved.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int,
        *,
        tokens: int | None = None,
        epochs: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size, self.seed, self.tokens = batch_size, seed, tokens
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._skip = (-1, 0)
        self._count = -(-len(lengths) // batch_size)
        if tokens:
            self._count = max(len(self._cut(self._random(epoch))) for epoch in range(epochs))

    @property
    def sampler(self) -> TrainingBatches:
        """Lightning calls ``set_epoch`` on a batch sampler's ``sampler`` only."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def start_at(self, epoch: int, batches: int) -> None:
        """In that epoch leave out the first batches: an earlier process trained on them."""
        self._skip = (epoch, batches)

    def __len__(self) -> int:
        """Batches of a whole epoch for one process, whatever is skipped."""
        return -(-self._count // self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        batches = self.order(self.epoch)
        evenly = len(self) * self.world_size
        mine = list(islice(cycle(batches), evenly))[self.rank :: self.world_size]
        epoch, done = self._skip
        yield from mine[done if epoch == self.epoch else 0 :]

    def order(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch, before they are dealt to the processes."""
        random = self._random(epoch)
        batches = self._cut(random)
        while len(batches) < self._count:
            fullest = max(range(len(batches)), key=lambda place: len(batches[place]))
            whole = batches[fullest]
            half = len(whole) // 2
            batches[fullest : fullest + 1] = [whole[:half], whole[half:]]
        return [batches[i] for i in random.permutation(len(batches))]

    def _random(self, epoch: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, epoch]))

    def _cut(self, random: np.random.Generator) -> list[list[int]]:
        """Shuffled, sorted in groups and cut into batches."""
        places = random.permutation(len(self.lengths))
        group = GROUP * self._items(float(self.lengths.mean()))
        batches: list[list[int]] = []
        for start in range(0, len(places), group):
            part = places[start : start + group]
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            while len(part):
                items = self._items(self.lengths[part[0]])
                batches.append(part[:items].tolist())
                part = part[items:]
        return batches

    def _items(self, length: float) -> int:
        """Items of a batch whose longest has this length."""
        return max(1, int(self.tokens // length)) if self.tokens else self.batch_size


def mean_over_tokens(states: Tensor, batch: Batch) -> Tensor:
    """The mean (items, hidden) over each text's real tokens."""
    # Not a product: what stands at padding may be anything, NaN included.
    kept = states.where(real_tokens(batch)[..., None], 0.0)
    return kept.sum(1) / batch.lengths[:, None]


def real_tokens(batch: Batch) -> Tensor:
    """(items, tokens): whether a position is no padding."""
    places = torch.arange(batch.input_ids.shape[1], device=batch.input_ids.device)
    return places < batch.lengths[:, None]
