"""A layer that averages: a linear classifier of the mean over a text's tokens, as a plain model.

transformers' classifiers read the last token alone. Where queries are zero, attention is even: the
last token gets the mean of the values of all tokens. So one more block behind the kept ones, whose
norm is the model's final norm and whose values are the classifier's scores, gives the last token
the scores of the mean, and the model stays one of its own architecture.

What the last token brings along is in the way, and the final norm divides by the size of the whole.
Both are drowned: a score of the mean that is the same for all texts is written, far larger than all
else, into a coordinate of its own, so that the norm divides by what is nearly constant, and the
classes' scores are written larger than what stood in their coordinates.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from slimcls.backbones.families import SCORE, blocks_of, family_of, final_norm_of, parts_of
from slimcls.backbones.truncate import cut_config
from slimcls.errors import UserError

#: The constant beside the largest state that a text brings along, and beside the largest score.
LOUDER, ABOVE = 1000.0, 20.0
#: Strength of the ridge regression that finds the constant, beside the mean square of a column.
RIDGE = 0.01
#: Coordinates that share a scale where a model is made small later (exporting/bits.py): the
#: constant's has none of the classes' in it, where there are as many.
GROUP = 32
#: Share of the usual gain of the final norm under which a coordinate is not used.
FAINT = 0.1


@dataclass(frozen=True)
class Linear:
    """A classifier of the mean over a text's tokens, after the final norm."""

    weight: Tensor
    """(classes, hidden)."""
    bias: Tensor
    """(classes,)."""


def check_average(config: Any, classes: int) -> None:
    """Raise UserError where no layer that averages can stand behind those of a model."""
    family = family_of(config)
    with torch.device("meta"):
        # As it will stand: the last layer, and one more of its kind.
        base = AutoModel.from_config(cut_config(config, [0, 0]))
    block, norm = blocks_of(base)[-1], final_norm_of(base)
    before = _part(block, family.attention_norm)
    values = _part(block, family.values)
    found = before is not None and values is not None and type(before) is type(norm)
    if not (family.alike and found):
        raise UserError(
            f"{family.name}: its attention cannot be made even, so a mean over tokens cannot be "
            "handed over as a plain model"
        )
    room = _Values(block, config).count
    if classes + 1 > room:
        raise UserError(
            f"{classes} classes: a layer that averages has room for {room - 1} in this model"
        )


def append_average(model: PreTrainedModel, linear: Linear, means: Tensor, last: Tensor) -> None:
    """Put a block that averages behind the last one of a classifier: its head gives ``linear``.

    :func:`check_average` must have let the model pass.

    Args:
        model: With a head for the classes, in float32.
        linear: What is to be computed.
        means: (texts, hidden), of some texts: means over tokens, after the final norm.
        last: (texts, hidden), states of their last tokens, before it.
    """
    _grow(model)
    family, block, norm = family_of(model.config), blocks_of(model)[-1], final_norm_of(model)
    assert norm is not None
    before, out = _part(block, family.attention_norm), _part(block, family.attention_out)
    assert before is not None
    assert out is not None
    constant = _constant(means)
    # As far as the constant is none, all scores of a text are off by one factor: no class changes.
    scores = linear.weight + linear.bias[:, None] * constant
    scores = scores - scores.mean(0)
    largest = (means @ scores.T).abs().max().clamp_min(torch.finfo(means.dtype).tiny)
    loud = LOUDER * float(last.norm(dim=1).max())
    places = _places(norm, last, len(scores))
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        before.load_state_dict(norm.state_dict())
        # One size of all that goes in, one of all that comes out: arithmetic of few bits rounds
        # large and small numbers alike.
        size = means.square().mean(0).sqrt()
        factors = _scaled(before, 1 / size.clamp_min(FAINT * size.median()))
        quieter = torch.ones(last.shape[1])
        quieter[places[0]] = 1 / ABOVE
        _scaled(norm, quieter)
        values = _Values(block, model.config)
        for number, direction in enumerate([constant, *(scores / largest)]):
            values.write(number, direction / factors)
            values.read(out, number, places[number], loud if number == 0 else loud / ABOVE)
        for behind in parts_of(block, family.attention_norm_behind or ""):
            _let_pass(behind, places[0], loud, last.shape[1])
        head: Any = model.get_submodule(SCORE.removesuffix(".weight"))
        head.weight.copy_(largest * _head(norm, places, loud, last.shape[1]))


def _grow(model: PreTrainedModel) -> None:
    """Put a copy of the last block behind it."""
    blocks = blocks_of(model)
    place = len(blocks)
    block = copy.deepcopy(blocks[-1])
    for module in block.modules():
        # By which a block finds its keys and values in a cache.
        for name in ("layer_idx", "layer_id"):
            if hasattr(module, name):
                setattr(module, name, place)
    blocks.append(block)
    vars(model.config).update(vars(cut_config(model.config, [*range(place), place - 1])))


def _part(block: nn.Module, path: str | None) -> nn.Module | None:
    """The module of a block at a place, None where it has none."""
    found = parts_of(block, path) if path else []
    return found[0] if found else None


class _Values:
    """Where a block keeps what gives a token's values, and which of the output's inputs each is."""

    def __init__(self, block: nn.Module, config: Any) -> None:
        family = family_of(config)
        out = _part(block, family.attention_out)
        module = _part(block, family.values)
        self._turned = family.fan_in_fan_out
        self._weight = self._matrix(module)
        inputs, heads = self._matrix(out).shape[1], int(config.num_attention_heads)
        self._size = inputs // heads
        shared_by = heads // int(getattr(config, "num_key_value_heads", None) or heads)
        self._shared_by = shared_by
        #: How many values a token has.
        self.count = inputs // shared_by
        # Where one projection gives queries, keys and values, the values are its last.
        self._first = self._weight.shape[0] - self.count

    def write(self, number: int, direction: Tensor) -> None:
        """Make a value the product of a token's state with a direction (hidden,)."""
        self._weight[self._first + number] = direction.to(self._weight.dtype)

    def read(self, out: nn.Module, number: int, place: int, times: float) -> None:
        """Make the attention add so many times a value to a coordinate of the state."""
        # Heads that share keys and values see the same; the first of them hands them on.
        head, within = divmod(number, self._size)
        self._matrix(out)[place, head * self._shared_by * self._size + within] = times

    def _matrix(self, module: Any) -> Tensor:
        """(out, in), a view of the module's weight."""
        weight: Tensor = module.weight
        return weight.T if self._turned else weight


def _constant(means: Tensor) -> Tensor:
    """A direction (hidden,) whose product with the mean of a text is 1, nearly, for all texts."""
    states = means.double()
    squares = states.T @ states / len(states)
    ridge = RIDGE * squares.diagonal().mean() * torch.eye(len(squares), dtype=squares.dtype)
    found = torch.linalg.solve(squares + ridge, states.mean(0))
    return (found / (states @ found).mean()).to(means.dtype)


def _places(norm: nn.Module, last: Tensor, classes: int) -> list[int]:
    """Coordinates for the constant and each class: those in which states are the smallest."""
    hidden = last.shape[1]
    gains: Tensor = norm(torch.eye(hidden))
    gains = gains.detach().diagonal().abs()
    heard = gains > FAINT * gains.median()
    quiet = [int(place) for place in last.abs().amax(0).argsort() if heard[place]]
    apart = [place for place in quiet if place // GROUP != quiet[0] // GROUP]
    rest = apart if len(apart) >= classes else quiet[1:]
    return [quiet[0], *rest[:classes]]


def _let_pass(norm: Any, place: int, loud: float, hidden: int) -> None:
    """Set the weights of a norm behind attention so that the constant leaves it as it came."""
    found = []
    for weight in (0.0, 1.0):
        norm.weight.fill_(weight)
        found.append(float(norm(_at(place, loud, hidden))[place]))
    norm.weight.fill_((loud - found[0]) / (found[1] - found[0]))


def _scaled(norm: nn.Module, factors: Tensor) -> Tensor:
    """Multiply what a norm leaves by factors (hidden,); by which it did: 1 without a weight."""
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    if weight is None:
        return torch.ones_like(factors)
    kept = weight.clone()
    weight.zero_()
    # Some families add 1 to the weight that they store.
    plain = norm(_at(0, 1.0, len(factors)))[0] - (0 if bias is None else bias[0])
    offset = float(plain != 0)
    weight.copy_((kept + offset) * factors - offset)
    if bias is not None:
        bias.mul_(factors)
    return factors


def _head(norm: nn.Module, places: list[int], loud: float, hidden: int) -> Tensor:
    """(classes, hidden): turns what the final norm leaves back into scores, the largest as 1."""
    constant = _at(places[0], loud, hidden)
    without = norm(constant)
    weight = torch.zeros(len(places) - 1, hidden)
    for number, place in enumerate(places[1:]):
        gain = norm(constant + _at(place, loud / ABOVE, hidden))[place] - without[place]
        weight[number, place] = 1 / gain
        # What the norm's own bias and mean leave there is no score.
        weight[number, places[0]] = -without[place] / gain / without[places[0]]
    return weight


def _at(place: int, value: float, hidden: int) -> Tensor:
    """Zero (hidden,) but for one coordinate."""
    state = torch.zeros(hidden)
    state[place] = value
    return state
