"""Classifiers at several depths of one decoder: each exit has a norm and a head of its own.

One pass through the layers answers at all depths. The model's own end is the deepest of them; an
exit by itself is an ordinary, shallower model.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slimcls.backbones.families import block_pattern, blocks_of, family_of, final_norm_of
from slimcls.backbones.left_rows import left_rows_of
from slimcls.backbones.truncate import cut_config, filled
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.trunk import decoder_of, last_tokens
from slimcls.data.batches import Batch

#: Where a model has its exits, and its head for classes.
EXITS, HEAD = "exits", "score"


class Exit(nn.Module):
    """What stands behind the first ``depth`` layers: a norm, and a head in the place of ``score``.

    In mode lm the exits share the language-model head.
    """

    def __init__(self, depth: int, norm: nn.Module, score: nn.Module | None) -> None:
        super().__init__()
        self.depth, self.norm, self.score = depth, norm, score


def add_exits(model: PreTrainedModel, depths: Sequence[int]) -> None:
    """Give a model exits at these depths, ascending, all above its end.

    They begin as copies of its final norm and head.
    """
    norm = final_norm_of(model) or nn.Identity()
    parts = (norm, getattr(model, HEAD, None))
    exits = (Exit(depth, *copy.deepcopy(parts)) for depth in depths)
    model.add_module(EXITS, nn.ModuleList(exits))


def exits_of(model: nn.Module) -> list[Exit]:
    """The exits above a model's end, from the shallowest on; most models have none."""
    return cast("list[Exit]", list(getattr(model, EXITS, ())))


def take_exits(model: PreTrainedModel) -> list[Exit]:
    """The same, no longer a part of the model, which is an ordinary one from then on."""
    exits = exits_of(model)
    if exits:
        delattr(model, EXITS)
    return exits


def ends_of(model: PreTrainedModel) -> list[nn.Module]:
    """Where a model answers, from the shallowest depth on: its exits, and itself."""
    return [*exits_of(model), model]


def read_states(model: PreTrainedModel, batch: Batch, prefix: Prefix | None) -> list[Tensor]:
    """Hidden states (items, hidden) of each item's last real token, as the heads read them.

    From the shallowest depth on; the last is the model's own.
    """
    base, exits = decoder_of(model), exits_of(model)
    with _tapped(base, batch, [one.depth for one in exits]) as behind:
        deepest = last_tokens(base, batch, prefix)[:, 0]
    return [*(seen_by(one, base, state) for one, state in zip(exits, behind, strict=True)), deepest]


def seen_by(end: Exit, base: PreTrainedModel, states: Tensor) -> Tensor:
    """What the head of an exit sees of states (items, hidden) behind its last layer."""
    states = end.norm(states)
    path = family_of(base.config).after_norm
    project = getattr(attrgetter(path[0])(base), path[1], None) if path else None
    return project(states) if project else states


@contextmanager
def _tapped(base: PreTrainedModel, batch: Batch, depths: Sequence[int]) -> Iterator[list[Tensor]]:
    """What one forward pass inside gives for each item's last token behind so many layers.

    What is yielded is filled by the pass, in the order of ``depths``. Whatever items begin with
    stands in front of all of them in one row, or of each, or is not there: so places are counted
    from the end.
    """
    items, tokens = batch.input_ids.shape
    places = torch.arange(items, device=batch.lengths.device) * tokens + batch.lengths - 1
    found: list[Tensor] = []

    def tap(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        states = output if isinstance(output, Tensor) else output[0]
        own = states[:, -tokens:] if len(states) == items else states[:, -items * tokens :]
        found.append(own.flatten(0, 1).index_select(0, places))

    hooks = [blocks_of(base)[depth - 1].register_forward_hook(tap) for depth in depths]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def cut_at(model: PreTrainedModel, end: Exit) -> PreTrainedModel:
    """What an exit is by itself: an ordinary model with its layers, over the same weights.

    ``model`` is the one that the exit was taken from.
    """
    family, pattern = family_of(model.config), block_pattern(family_of(model.config))
    norm = f"{model.base_model_prefix}.{family.final_norm}"
    tensors = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not (match := pattern.search(name)) or int(match[1]) < end.depth
    }
    if model.config.tie_word_embeddings:
        tensors.pop(f"{family.lm_head}.weight", None)
    for place, part in ((norm, end.norm), (HEAD, end.score)):
        own = part.state_dict() if part else {}
        tensors |= {f"{place}.{name}": tensor for name, tensor in own.items()}
    config = cut_config(model.config, range(end.depth))
    return filled(type(model), config, tensors, model.dtype, left_rows_of(model))
