"""One pass in which items leave at the first exit that is sure; the batch shrinks as they do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slimcls.backbones.families import blocks_of
from slimcls.classifier.exits import Exit, exits_of, seen_by
from slimcls.classifier.modes import Mode
from slimcls.classifier.prefix import Before, Prefix
from slimcls.classifier.trunk import decoder_of, hidden_states, reading
from slimcls.data.batches import Batch

#: Inputs of a block that may have rows for each item. As padding stands on the right, where nothing
#: has to be masked, they say the same of every item: the first rows will do for those that go on.
PER_ITEM = ("attention_mask", "position_ids", "position_embeddings", "alibi")

#: Told the number of an exit and its logits (items, classes): which items (items,) leave there.
Sure = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class Left:
    """What a batch's items were told, and where."""

    logits: Tensor
    """(items, classes), of the end at which each item left."""
    ends: Tensor
    """The number of that end (items,): exits from 0 on, then the model's own end."""


def leave_early(
    model: PreTrainedModel, mode: Mode, batch: Batch, prefix: Prefix | None, sure: Sure
) -> Left:
    """Run a batch up the layers, each item as far as the first exit that is sure of it.

    Every item gets what the cut to its exit's depth would give it. What a prefix has computed is
    the same for all items, so that nothing of it changes as they leave.
    """
    base, passing = decoder_of(model), _Passing(model, mode, batch, sure)
    with passing.watching(), suppress(_AllLeft):
        passing.end(hidden_states(base, batch, prefix))
    return Left(passing.logits, passing.ends)


class _AllLeft(Exception):
    """Ends a pass: what is above has nothing to do."""


class _Passing:
    """Those of a batch's items that are still on their way up."""

    def __init__(self, model: PreTrainedModel, mode: Mode, batch: Batch, sure: Sure) -> None:
        self._model, self._mode, self._sure = model, mode, sure
        self._base, self._exits = decoder_of(model), exits_of(model)
        self._items, self._tokens = batch.input_ids.shape
        self._there = torch.arange(self._items, device=batch.lengths.device)
        self._lengths = batch.lengths
        self._end = ExitStack()
        self.logits = torch.empty(0)
        self.ends = torch.full_like(self._there, len(self._exits))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hooks at the exits, and at what is above the first."""
        blocks = blocks_of(self._model)
        with self._end:
            for number, end in enumerate(self._exits):
                hook = blocks[end.depth - 1].register_forward_hook(self._at_exit(number, end))
                self._end.callback(hook.remove)
            for block in [*blocks][self._exits[0].depth :]:
                hook = block.register_forward_pre_hook(self._before_block, with_kwargs=True)
                self._end.callback(hook.remove)
            hook = blocks[-1].register_forward_pre_hook(self._before_last, with_kwargs=True)
            self._end.callback(hook.remove)
            yield

    def end(self, hidden: Tensor) -> None:
        """The model's own end, for whoever has come so far."""
        states = hidden.flatten(0, 1).index_select(0, self._places(hidden.shape[1]))
        logits = self._mode.logits_at(self._model, self._model, states)
        self._keep(logits, self._there)

    def _at_exit(self, number: int, end: Exit) -> Callable[..., object]:
        def ask(block: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> object:
            states = output if isinstance(output, Tensor) else output[0]
            last = states.flatten(0, 1).index_select(0, self._places(states.shape[1]))
            logits = self._mode.logits_at(end, self._model, seen_by(end, self._base, last))
            leaves = self._sure(number, logits)
            gone = leaves.nonzero()[:, 0]
            if not len(gone):
                return None
            self._keep(logits[gone], self._there[gone])
            self.ends[self._there[gone]] = number
            if len(gone) == len(leaves):
                raise _AllLeft
            go_on = (~leaves).nonzero()[:, 0]
            self._there, self._lengths = self._there[go_on], self._lengths[go_on]
            fewer = states.index_select(0, go_on)
            return fewer if isinstance(output, Tensor) else (fewer, *output[1:])

        return ask

    def _keep(self, logits: Tensor, there: Tensor) -> None:
        if not len(self.logits):
            self.logits = logits.new_empty(self._items, logits.shape[-1])
        self.logits[there] = logits

    def _before_block(
        self, block: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]] | None:
        if len(self._there) == self._items:
            return None
        # A block may also take arguments that have no name here.
        named = zip((*self._names, *[""] * len(args)), args, strict=False)
        return (
            tuple(self._of_those_there(name, value) for name, value in named),
            {name: self._of_those_there(name, value) for name, value in kwargs.items()},
        )

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """What blocks call their arguments."""
        return tuple(inspect.signature(blocks_of(self._model)[0].forward).parameters)

    def _of_those_there(self, name: str, value: object) -> object:
        if isinstance(value, tuple):
            return tuple(self._of_those_there(name, one) for one in value)
        if name not in PER_ITEM or not isinstance(value, Tensor) or len(value) % self._items:
            return value
        return value[: len(value) // self._items * len(self._there)]

    def _before_last(
        self, block: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """The last block computes what is read only, as it does in a model without exits."""
        states = args[0] if args else kwargs["hidden_states"]
        assert isinstance(states, Tensor)
        self._end.enter_context(reading(self._base, self._places(states.shape[1])))
        read = self._lengths[:, None] - 1

        def reads(value: object) -> object:
            return Before(value.prefix, read) if isinstance(value, Before) else value

        return tuple(map(reads, args)), {name: reads(value) for name, value in kwargs.items()}

    def _places(self, width: int) -> Tensor:
        """Places of the last tokens in rows of ``width``, which own tokens are at the end of."""
        count = torch.arange(1, len(self._there) + 1, device=self._there.device)
        return count * width - self._tokens + self._lengths - 1
