"""Hidden states of a batch: the shared prefix once, and in the last block what is read only."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slimcls.backbones.families import base_of, blocks_of, family_of, parts_of
from slimcls.classifier.prefix import Before, Prefix, Together, attending
from slimcls.data.batches import Batch
from slimcls.errors import UserError

#: Where a backbone keeps its compiled forward pass.
_COMPILED = "compiled_forward"

# Padding stands on the right, where causal attention cannot see it: no mask is needed.
logging.getLogger("transformers.modeling_utils").addFilter(
    lambda record: "passing in an `attention_mask`" not in record.getMessage()
)


def decoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """The backbone of a model with a head."""
    return cast("PreTrainedModel", base_of(model))


def read_prefix(base: PreTrainedModel, prefix_ids: Tensor) -> Prefix:
    """Run the prefix (tokens,) through the backbone once and for all batches, without gradients.

    Where a family cannot share it, nothing is run: every batch has it in each of its items.
    """
    if not family_of(base.config).shares_prefix:
        return Prefix(prefix_ids)
    with torch.no_grad(), reading(base, prefix_ids.new_zeros(0)):
        cache = base(input_ids=prefix_ids[None], use_cache=True).past_key_values
    return Prefix(prefix_ids, tuple((layer.keys, layer.values) for layer in cache.layers))


def hidden_states(
    base: PreTrainedModel, batch: Batch, prefix: Prefix | None = None, read: Tensor | None = None
) -> Tensor:
    """Hidden states (items, tokens, hidden) after the final norm, without the prefix's own.

    Padding stands on the right, so causal attention never sees it and no mask is needed. Where
    ``read`` (items, n) is given, the states at these places of each item alone are sure to be
    right.
    """
    if prefix is not None and not family_of(base.config).shares_prefix:
        ids = torch.cat([prefix.ids.expand(len(batch.lengths), -1), batch.input_ids], 1)
        return _forward(base)(input_ids=ids, use_cache=False).last_hidden_state[
            :, len(prefix.ids) :
        ]
    if prefix is None:
        return _forward(base)(input_ids=batch.input_ids, use_cache=False).last_hidden_state
    read = None if _is_compiled(base) else read
    if not prefix.layers:
        return _together(base, batch, prefix, read)
    with attending(base.config):
        return _forward(base)(
            input_ids=batch.input_ids, past_key_values=Before(prefix, read), use_cache=True
        ).last_hidden_state


def _together(base: PreTrainedModel, batch: Batch, prefix: Prefix, read: Tensor | None) -> Tensor:
    both = Together(prefix.ids, batch.input_ids, len(blocks_of(base)), read)
    with attending(base.config):
        out = _forward(base)(
            input_ids=both.ids(),
            position_ids=both.places(),
            past_key_values=both,
            use_cache=True,
        )
    own = out.last_hidden_state[0, len(prefix.ids) :]
    return own.unflatten(0, batch.input_ids.shape)


def last_tokens(
    base: PreTrainedModel, batch: Batch, prefix: Prefix | None = None, count: int = 1
) -> Tensor:
    """Hidden states (items, count, hidden) of each item's last real tokens, after the final norm.

    Every item needs as many tokens.
    """
    items, tokens = batch.input_ids.shape
    device = batch.lengths.device
    own = batch.lengths[:, None] - torch.arange(count, 0, -1, device=device)
    places = (own + torch.arange(items, device=device)[:, None] * tokens).flatten()
    before = len(prefix.ids) if prefix is not None and not prefix.layers else 0
    in_front = torch.full((items,), before, device=device)
    if not family_of(base.config).shares_prefix:
        in_front = in_front.cumsum(0)
    with reading(base, places + in_front.repeat_interleave(count)):
        hidden = hidden_states(base, batch, prefix, own)
    return hidden.flatten(0, 1).index_select(0, places).view(items, count, -1)


@contextmanager
def reading(base: PreTrainedModel, places: Tensor) -> Iterator[None]:
    """Inside, only the final hidden states at ``places`` are right; all keys and values are.

    ``places`` (n,) are numbers of tokens of the batch, items one after the other. In the last
    block whatever else a token goes through once its keys and values are known is for its own
    hidden state, which nobody reads elsewhere: with 2 layers that is almost half of all work.
    """
    hooks = []
    # The hooks would be part of what is compiled, which would begin anew with every batch.
    left_out = () if _is_compiled(base) else family_of(base.config).per_token
    last = blocks_of(base)[-1]
    for module in (part for paths in left_out for part in parts_of(last, paths)):
        only = _Only(places)
        hooks.append(module.register_forward_pre_hook(only.select))
        hooks.append(module.register_forward_hook(only.put_back))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def compiled(base: PreTrainedModel) -> Iterator[None]:
    """Inside, steps that need gradients run compiled, for batches of any size; no name changes.

    Raises UserError where this machine cannot compile.
    """
    check_compiler()
    vars(base)[_COMPILED] = torch.compile(base.forward, dynamic=True)
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"--compile: torch.compile failed ({reason}); leave it out") from error
    finally:
        del vars(base)[_COMPILED]


def check_compiler() -> None:
    """Raise UserError where there is no C++ compiler, which torch.compile needs."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++", "cl")
    if not any(name and shutil.which(name) for name in names):
        raise UserError(
            "--compile: no C++ compiler here (g++, clang++); install one or leave it out"
        )


def _is_compiled(base: PreTrainedModel) -> bool:
    """Evaluation is not worth compiling once more."""
    return torch.is_grad_enabled() and _COMPILED in vars(base)


def _forward(base: PreTrainedModel) -> Callable[..., _Output]:
    return vars(base)[_COMPILED] if _is_compiled(base) else base


class _Output(Protocol):
    """What a backbone gives."""

    last_hidden_state: Tensor


class _Only:
    """Hooks that let a module see some tokens only; its output for all others is zero."""

    def __init__(self, places: Tensor) -> None:
        self.places = places
        self.shape = torch.Size()

    def select(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        self.shape = inputs[0].shape[:-1]
        taken = inputs[0].flatten(0, -2).index_select(0, self.places)
        # Experts ask for items and tokens.
        return (taken[None] if len(self.shape) > 1 else taken,)

    def put_back(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        whole = output.new_zeros(self.shape.numel(), output.shape[-1])
        own = output.flatten(0, -2)
        return whole.index_copy(0, self.places, own).view(*self.shape, -1)
