"""A classifier as one ONNX graph: token ids and lengths in, the classes' logits out.

The keys and values of what every text begins with are constants of the graph, so that a text costs
its own tokens only; where a family cannot share them, their tokens stand in front of every text.
In the last block whatever follows the attention is computed for the token that is read alone.
Padding stands on the right, where causal attention does not see it: no mask goes in.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from slimcls.backbones.families import blocks_of, family_of, parts_of
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.prefix import Prefix, attending, visible
from slimcls.classifier.runtime import IDS, LENGTHS, LOGITS
from slimcls.classifier.trunk import decoder_of
from slimcls.errors import UserError

if TYPE_CHECKING:
    from onnx import ModelProto

#: What transformers calls :func:`_attend` by.
ATTENTION = "slimcls-onnx"

#: Bytes that a file of this format holds, with room for what is not weights.
MOST = 2**31 - 2**24

#: Real tokens of the items that are traced; a size of 1 would stay 1 for ever.
_TRACED = (7, 5, 3)


def write_onnx(classifier: Classifier, path: Path) -> None:
    """Write the graph of a classifier, in 32 bits, for batches of any size and length.

    Raises UserError where no graph with one answer a class can be made of it, or it is too large.
    """
    graph = _Graph(classifier).eval()
    if (size := 4 * sum(one.numel() for one in graph.parameters())) > MOST:
        raise UserError(
            f"the model has {size / 1e9:.1f} GB of weights, more than one ONNX file holds "
            f"({MOST / 1e9:.1f} GB); keep fewer layers"
        )
    lengths = torch.tensor(_TRACED)
    ids = torch.zeros(len(_TRACED), max(_TRACED), dtype=torch.int64)
    items, tokens = torch.export.Dim("items"), torch.export.Dim("tokens")
    with torch.no_grad(), _quietly():
        program = torch.onnx.export(
            graph,
            (ids, lengths),
            dynamo=True,
            input_names=[IDS, LENGTHS],
            output_names=[LOGITS],
            dynamic_shapes={"ids": {0: items, 1: tokens}, "lengths": {0: items}},
            verbose=False,
        )
    assert program is not None
    path.write_bytes(_bare(program.model_proto).SerializeToString())


def _bare(model: ModelProto) -> ModelProto:
    """Without what each node says of the code that it came from, with its paths on this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


class _Graph(nn.Module):
    """What is traced."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.base = decoder_of(classifier.model)
        family = family_of(self.base.config)
        if why := family.not_exported(self.base.config):
            raise UserError(
                f"{family.name}: this model cannot be exported to onnx: {why}; transformers opens "
                "the run's model/ as it is"
            )
        self.head = classifier.mode.linear_head(classifier.model)
        prefix = classifier.read_prefix()
        # What cannot be read once for all stands in every item; attention is then the model's own.
        self.in_front = prefix.ids if prefix and not prefix.layers else torch.empty(0)
        self.before = _Before(prefix) if family.shares_prefix else None

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Logits (items, classes) of ids (items, tokens), of which the first ``lengths`` count."""
        known = self.before.get_seq_length() if self.before else 0
        if len(self.in_front):
            ids = torch.cat([self.in_front.expand(ids.shape[0], -1), ids], 1)
            lengths = lengths + len(self.in_front)
        read = (lengths - 1)[:, None, None]
        places = known + torch.arange(ids.shape[1], device=ids.device)
        own = (
            contextlib.nullcontext()
            if self.before is None
            else attending(self.base.config, ATTENTION)
        )
        with own, _reading(self.base, ids, read):
            hidden = self.base(
                input_ids=ids,
                position_ids=places[None].expand_as(ids),
                past_key_values=self.before,
                use_cache=self.before is not None,
            ).last_hidden_state
        logits: Tensor = self.head(_taken(hidden, read)[:, 0])
        return logits


class _Before:
    """What every text begins with, in the place of a cache: keys and values are there already."""

    def __init__(self, prefix: Prefix | None) -> None:
        self._tokens = len(prefix.ids) if prefix else 0
        self._layers = prefix.layers if prefix else ()

    def get_seq_length(self, layer: int = 0) -> int:
        """How many tokens; transformers asks its caches so."""
        return self._tokens

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object) -> tuple[Tensor, Tensor]:
        """Give a block's own keys and values (items, heads, tokens, size) behind those known."""
        if not self._layers:
            return keys, values
        first, second = (
            torch.cat([known.expand(own.shape[0], -1, -1, -1), own], 2)
            for known, own in zip(self._layers[layer], (keys, values), strict=True)
        )
        return first, second


def _attend(
    module: nn.Module,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    attention_mask: None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Causal attention (items, tokens, heads, size) in as few operations as there can be.

    ``query`` is (items, heads, tokens, size), keys and values (items, groups, all, size), where
    each group serves as many heads in turn.
    """
    items, heads, tokens, size = query.shape
    groups, every = keys.shape[1:3]
    query = query * (size**-0.5 if scaling is None else scaling)
    # All heads of a group meet its keys in one product.
    scores = query.reshape(items, groups, -1, size) @ keys.transpose(2, 3)
    places = torch.arange(every, device=query.device)
    known = visible(places[every - tokens :], places, sliding_window)
    lowest = torch.finfo(scores.dtype).min
    scores = scores.view(items, heads, tokens, every).masked_fill(~known, lowest)
    weights = scores.softmax(-1).view(items, groups, -1, every)
    return (weights @ values).view(items, heads, tokens, size).transpose(1, 2), None


AttentionInterface.register(ATTENTION, _attend)


@contextlib.contextmanager
def _reading(base: PreTrainedModel, ids: Tensor, read: Tensor) -> Iterator[None]:
    """Inside, only the final hidden states at ``read`` (items, 1, 1) are right.

    What the last block's attention and MLP make of that token is added to all tokens.
    """
    family, last = family_of(base.config), blocks_of(base)[-1]
    only = _Only(ids.shape, read)
    hooks = [
        part.register_forward_pre_hook(only.select)
        for paths in (family.attention_out, family.mlp_in)
        for part in parts_of(last, paths)
    ]
    hooks += [part.register_forward_hook(only.spread) for part in parts_of(last, family.mlp_out)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Only:
    """Hooks that let modules see one token of each item."""

    def __init__(self, shape: torch.Size, read: Tensor) -> None:
        self.shape, self.read = shape, read
        self.in_a_row = False

    def select(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        states = inputs[0]
        # OPT's blocks give their MLP the tokens of all items in a row.
        self.in_a_row = states.dim() < len(self.shape) + 1
        states = states.reshape(*self.shape, -1) if self.in_a_row else states
        return (_taken(states, self.read),)

    def spread(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return output.expand(*self.shape, -1).flatten(0, 1) if self.in_a_row else output


def _taken(states: Tensor, read: Tensor) -> Tensor:
    """Of states (items, tokens, size) those of one token each (items, 1, size)."""
    return states.gather(1, read.expand(-1, -1, states.shape[-1]))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporters print."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
