"""The residual stream at the blocks, streamed: a batch passes, a few numbers a text are left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from slimcls.backbones.families import base_of, blocks_of
from slimcls.data.batches import Batch, real_tokens
from slimcls.errors import UserError
from slimcls.layers.profiles import Tally
from slimcls.layers.samples import Sample

#: Told the number of a block and the residual stream (items, tokens, hidden) before and after it.
Watcher = Callable[[int, Tensor, Tensor], None]

#: Tensors by place, as a module takes or returns them.
Given = tuple[Tensor, ...]


@dataclass(frozen=True)
class Passage:
    """What one block did to the residual stream of some tokens.

    ``before`` and ``after`` have shape (items, tokens, hidden), in the model's dtype but at least
    float32; everything else has shape (items, tokens).
    """

    before: Tensor
    after: Tensor

    @cached_property
    def size_after(self) -> Tensor:
        """Norm of what leaves the block."""
        return torch.linalg.vector_norm(self.after, dim=-1)

    @cached_property
    def added(self) -> Tensor:
        """Norm of what the block adds: output - input, whatever happens inside."""
        return torch.linalg.vector_norm(self.after - self.before, dim=-1)

    @cached_property
    def turned(self) -> Tensor:
        """Distance of the two directions on the unit sphere, 0 to 2: 2 sin(angle / 2).

        1 - cos(angle) is turned^2 / 2. Taken as 1 minus a rounded cosine, nothing but rounding
        would be left of it for a block that turns the stream little.
        """
        length = torch.linalg.vector_norm(self.before, dim=-1, keepdim=True)
        directions = self.after / _not_zero(self.size_after[..., None])
        directions -= self.before / _not_zero(length)
        return torch.linalg.vector_norm(directions, dim=-1)


def _not_zero(norms: Tensor) -> Tensor:
    return norms.clamp_min(torch.finfo(norms.dtype).tiny)


@dataclass(frozen=True)
class Column:
    """One number to take from each token a block has worked on."""

    value: Callable[[Passage], Tensor]
    last_only: bool = False
    """Of each text's last token alone."""


@contextmanager
def watched(model: nn.Module, watcher: Watcher) -> Iterator[None]:
    """Show the residual stream at every block of a model while it runs, before the final norm.

    Hooks sit on the blocks themselves: transformers' last hidden state is after the final norm.
    """

    def hook(layer: int) -> Callable[..., None]:
        def show(
            block: nn.Module, args: Given, kwargs: dict[str, Tensor], output: Tensor | Given
        ) -> None:
            before = args[0] if args else kwargs["hidden_states"]
            watcher(layer, before, output[0] if isinstance(output, tuple) else output)

        return show

    handles = [
        block.register_forward_hook(hook(layer), with_kwargs=True)
        for layer, block in enumerate(blocks_of(model))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout; the model goes back to training if it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def run_blocks(model: nn.Module, batch: Batch) -> Tensor:
    """Hidden states (items, tokens, hidden) after the final norm; the head is not run.

    Padding stands on the right, where causal attention cannot see it: no mask is needed.
    """
    hidden: Tensor = base_of(model)(input_ids=batch.input_ids, use_cache=False).last_hidden_state
    return hidden


@torch.inference_mode()
def tally(model: nn.Module, sample: Sample, columns: Mapping[str, Column]) -> dict[str, Tally]:
    """Sums over each text's tokens of several numbers, for all blocks, in one pass.

    Args:
        model: With or without a head, on the device where it shall run.
        sample: The texts; memory beyond a batch is one number for each text, block and column.
        columns: What to take, by name.

    Raises:
        UserError: activations that are NaN or infinite; names the layer and the text.
    """
    shape = (len(sample), len(blocks_of(model)))
    sums = {name: np.zeros(shape) for name in columns}
    with evaluating(model):
        for batch in sample.batches(_device(model)):
            found = _sums(model, batch, columns)
            check_finite(model, sample, batch, torch.stack(list(found.values())))
            for name, values in found.items():
                sums[name][batch.places.cpu().numpy()] = values.cpu().numpy()
    lengths = np.array([len(ids) for ids in sample.ids], dtype=np.float64)
    return {
        name: Tally(sums[name], np.ones_like(lengths) if column.last_only else lengths)
        for name, column in columns.items()
    }


def _sums(model: nn.Module, batch: Batch, columns: Mapping[str, Column]) -> dict[str, Tensor]:
    """Each column's (items, blocks) of one batch, float64."""
    real = real_tokens(batch)
    found: dict[str, list[Tensor]] = {name: [] for name in columns}
    passes = {column.last_only for column in columns.values()}

    def look(layer: int, before: Tensor, after: Tensor) -> None:
        before, after = _at_least_float32(before), _at_least_float32(after)
        passages = {last: _passage(before, after, batch, last) for last in passes}
        for name, column in columns.items():
            values = column.value(passages[column.last_only]).double()
            # Not a product: what stands at padding may be anything, NaN included.
            counted = values if column.last_only else values.where(real, 0.0)
            found[name].append(counted.sum(1))

    with watched(model, look):
        run_blocks(model, batch)
    return {name: torch.stack(values, 1) for name, values in found.items()}


def _passage(before: Tensor, after: Tensor, batch: Batch, last_only: bool) -> Passage:
    if not last_only:
        return Passage(before, after)
    return Passage(at_last_token(before, batch)[:, None], at_last_token(after, batch)[:, None])


def at_last_token(states: Tensor, batch: Batch) -> Tensor:
    """The state (items, hidden) of each text's last real token."""
    items = torch.arange(len(batch.lengths), device=states.device)
    return states[items, batch.lengths - 1]


def _at_least_float32(states: Tensor) -> Tensor:
    return states if states.dtype == torch.float64 else states.float()


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def check_finite(model: nn.Module, sample: Sample, batch: Batch, values: Tensor) -> None:
    """Raise UserError where a number of a batch is NaN or infinite, with the layer it began at.

    ``values`` is what was measured, whatever its shape; only where something is wrong with it is
    the batch run again, text by text, to find out where.
    """
    if values.isfinite().all():
        return
    for place in batch.places.tolist():
        begins = _first_broken(model, sample, place)
        if begins:
            raise UserError(
                f"activations are NaN or infinite {begins}, for {sample.places[place]}: "
                "the model's weights are damaged, or too large for this arithmetic"
            )
    raise UserError(
        f"a score is NaN or infinite for a text near {sample.places[int(batch.places[0])]}, "
        "with finite activations: the model's weights are damaged"
    )


@torch.inference_mode()
def _first_broken(model: nn.Module, sample: Sample, place: int) -> str:
    """Where NaN or infinity first appears when a text runs alone, in words; empty for nowhere."""
    broken: list[str] = []

    def look(layer: int, before: Tensor, after: Tensor) -> None:
        for states, where in (
            (before, f"in what enters layer {layer}"),
            (after, f"from layer {layer} on"),
        ):
            if not states.isfinite().all():
                broken.append(where)

    with watched(model, look):
        run_blocks(model, next(sample.only(place).batches(_device(model))))
    return broken[0] if broken else ""
