"""What every item of a run begins with, and how a batch attends to it without repeating it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from torch import Tensor, nn
from transformers import AttentionInterface, PretrainedConfig

#: What transformers calls :func:`attend` by.
ATTENTION = "slimcls-prefix"


class Attended(NamedTuple):
    """Keys or values that a batch attends to, in a block."""

    prefix: Tensor
    """The prefix's (1, heads, tokens, size)."""
    own: Tensor
    """The batch's (items, heads, tokens, size)."""
    read: Tensor | None = None
    """Places (items, n) of the tokens of each item whose outcome is read; None: all."""


@dataclass(frozen=True)
class Prefix:
    """The tokens that every item of a run begins with: ``ids`` (tokens,).

    Where ``layers`` are known, a pair of keys and values (1, heads, tokens, head size) a kept
    block, batches attend to those. Where there are none, every batch computes them once for all its
    items: in training, where gradients go through them.
    """

    ids: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...] = ()


@dataclass(frozen=True)
class Before:
    """A prefix with its keys and values, as a batch's cache: the batch alone is computed."""

    prefix: Prefix
    read: Tensor | None = None
    """As :class:`Attended` have it, in the last block."""

    def get_seq_length(self, layer: int = 0) -> int:
        """How many tokens; transformers asks its caches so."""
        return len(self.prefix.ids)

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: object
    ) -> tuple[Attended, Attended]:
        """Give a block's own keys and values together with the prefix's; nothing is kept."""
        before = self.prefix.layers
        read = self.read if layer == len(before) - 1 else None
        return Attended(before[layer][0], keys, read), Attended(before[layer][1], values, read)


@dataclass(frozen=True)
class Together:
    """Prefix and batch as one sequence: the prefix's tokens, then those of each item in turn.

    Everything but attention is then one product for both.
    """

    prefix: Tensor
    """Its token ids (tokens,)."""
    items: Tensor
    """Token ids (items, tokens)."""
    blocks: int
    """How many there are."""
    read: Tensor | None = None
    """As :class:`Attended` have it, in the last block."""

    def ids(self) -> Tensor:
        """The one sequence (1, tokens)."""
        return torch.cat([self.prefix, self.items.flatten()])[None]

    def places(self) -> Tensor:
        """Positions of its tokens (1, tokens): every item goes on where the prefix ends."""
        count, device = len(self.prefix), self.prefix.device
        own = count + torch.arange(self.items.shape[1], device=device)
        return torch.cat([torch.arange(count, device=device), own.repeat(len(self.items))])[None]

    def get_seq_length(self, layer: int = 0) -> int:
        """Nothing was computed before; transformers asks its caches so."""
        return 0

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: object
    ) -> tuple[Attended, Attended]:
        """Part a block's keys and values."""
        read = self.read if layer == self.blocks - 1 else None
        return self.part(keys, read), self.part(values, read)

    def part(self, vectors: Tensor, read: Tensor | None) -> Attended:
        """Part (1, heads, tokens, size)."""
        prefix, own = vectors.split([len(self.prefix), self.items.numel()], 2)
        return Attended(prefix, own[0].unflatten(1, self.items.shape).transpose(0, 1), read)


@contextmanager
def attending(config: PretrainedConfig, attention: str = ATTENTION) -> Iterator[None]:
    """Inside, a model with this config attends so.

    By itself it takes a Before or Together in the place of its cache.
    """
    before = config._attn_implementation
    config._attn_implementation = attention
    try:
        yield
    finally:
        config._attn_implementation = before


def attend(
    module: nn.Module,
    query: Tensor,
    keys: Attended,
    values: Attended,
    attention_mask: None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Causal attention (items, tokens, heads, size) of a batch to the prefix and to itself.

    ``query`` is (items, heads, tokens, size), or one sequence as :class:`Together` makes it; keys
    and values may have fewer heads, each for a group of query heads. Padding stands on the right,
    where nothing sees it.
    """
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    how = (scaling, dropout, sliding_window)
    if len(query) == len(keys.own) and query.shape[2] == keys.own.shape[2]:
        return _to_both(query, keys, values, *how), None
    prefix, (items, _heads, tokens, _size) = keys.prefix.shape[2], keys.own.shape
    first, rest = query.split([prefix, items * tokens], 2)
    rest = rest[0].unflatten(1, (items, tokens)).transpose(0, 1)
    own = _to_both(rest, keys, values, *how).flatten(0, 1)[None]
    if keys.read is None:
        alone = _whole(first, keys.prefix, values.prefix, *how)
    else:
        alone = own.new_zeros(1, prefix, *own.shape[2:])
    return torch.cat([alone, own], 1), None


def _to_both(
    query: Tensor,
    keys: Attended,
    values: Attended,
    scaling: float,
    dropout: float,
    window: int | None,
) -> Tensor:
    items, _heads, tokens, size = query.shape
    if keys.read is not None:
        places = keys.read[:, None, :, None]
        read = _in_parts(query.take_along_dim(places, 2) * scaling, keys, values, dropout, window)
        all_ = read.new_zeros(items, tokens, *read.shape[2:])
        return all_.scatter(1, keys.read[..., None, None].expand_as(read), read)
    # Keys and values repeated for every item would be more numbers than the scores are.
    if tokens <= 2 * size:
        return _in_parts(query * scaling, keys, values, dropout, window)
    all_keys, all_values = (
        torch.cat([part.prefix.expand(items, -1, -1, -1), part.own], 2) for part in (keys, values)
    )
    return _whole(query, all_keys, all_values, scaling, dropout, window)


def _whole(
    query: Tensor, keys: Tensor, values: Tensor, scaling: float, dropout: float, window: int | None
) -> Tensor:
    """Attention of the last tokens of a sequence to all of it."""
    places = torch.arange(keys.shape[2], device=query.device)
    seen = visible(places[-query.shape[2] :], places, window)
    grouped = keys.shape[1] != query.shape[1]
    out = F.scaled_dot_product_attention(
        query, keys, values, attn_mask=seen, dropout_p=dropout, scale=scaling, enable_gqa=grouped
    )
    return out.transpose(1, 2)


def visible(places: Tensor, others: Tensor, window: int | None) -> Tensor:
    """Which other tokens (n,) tokens at places (..., m) see: (..., m, n)."""
    back = places[..., None] - others
    return (back >= 0) if window is None else (back >= 0) & (back < window)


def _in_parts(
    query: Tensor, keys: Attended, values: Attended, dropout: float, window: int | None
) -> Tensor:
    """All items' queries meet the prefix in one product; each item's meet its own tokens."""
    items, heads, tokens, size = query.shape
    groups, prefix = keys.prefix.shape[1:3]
    split = (groups, heads // groups, tokens)
    rows = (groups, items, heads // groups * tokens)
    query = query.unflatten(1, split[:2]).transpose(0, 1).reshape(*rows, size)
    own_keys, own_values = keys.own.transpose(0, 1), values.own.transpose(0, 1)
    before = (query.flatten(1, 2) @ keys.prefix[0].transpose(1, 2)).view(*rows, prefix)
    own = query @ own_keys.transpose(2, 3)
    places = torch.arange(prefix + own.shape[-1], device=query.device)
    at = places[prefix:][None] if keys.read is None else prefix + keys.read
    seen = visible(at, places, window).repeat(1, split[1], 1)
    lowest = torch.finfo(own.dtype).min
    if window is not None:
        before = before.masked_fill(~seen[..., :prefix], lowest)
    own = own.masked_fill(~seen[..., prefix:], lowest)
    exact = torch.promote_types(own.dtype, torch.float32)
    weights = F.softmax(torch.cat([before, own], -1), -1, dtype=exact).to(values.prefix.dtype)
    weights = F.dropout(weights, dropout) if dropout else weights
    to_prefix, to_own = weights.split([prefix, own.shape[-1]], -1)
    out = (to_prefix.flatten(1, 2) @ values.prefix[0]).view(*rows, size) + to_own @ own_values
    out = out.unflatten(2, split[1:])
    return out.permute(1, 3, 0, 2, 4).reshape(items, tokens, heads, size)


AttentionInterface.register(ATTENTION, attend)
