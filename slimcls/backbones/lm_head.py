"""What a language-model head says of final hidden states, in every family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from slimcls.backbones.families import family_of
from slimcls.backbones.vocabulary import rows_of
from slimcls.errors import UserError

_AFTER_HEAD: dict[str, Callable[[Tensor, float], Tensor]] = {
    "times": lambda logits, factor: logits * factor,
    "over": lambda logits, factor: logits / factor,
    "cap": lambda logits, most: torch.tanh(logits / most) * most,
}


def vocabulary_logits(model: Any, states: Tensor) -> Tensor:
    """Logits (..., vocabulary) of final hidden states (..., hidden), as the model has them."""
    return _scaled(model.config, _head(model)(states))


def token_logits(model: Any, states: Tensor, ids: Sequence[int]) -> Tensor:
    """The same of these tokens alone: (..., tokens)."""
    head, tokens = _head(model), torch.tensor(ids, device=states.device)
    bias = None if head.bias is None else head.bias[tokens]
    logits = functional.linear(states, head.weight[rows_of(model, tokens)], bias)
    return _scaled(model.config, logits)


def token_head(model: Any, ids: Sequence[int]) -> nn.Linear:
    """A head of its own that gives :func:`token_logits`, without gradients.

    Raises UserError where the model caps its logits, which no linear head does.
    """
    family = family_of(model.config)
    if any(how == "cap" for how, _ in family.after_head):
        raise UserError(f"{family.name} caps its logits, which no linear head does; use p-cls")
    whole, rows = _head(model), list(ids)
    head = nn.Linear(whole.weight.shape[1], len(rows), bias=whole.bias is not None)
    head.weight.data = _scaled(model.config, whole.weight.detach()[rows])
    if whole.bias is not None:
        head.bias.data = _scaled(model.config, whole.bias.detach()[rows])
    return head


def is_plain(config: Any) -> bool:
    """Whether rows of the head can stand in an ordinary classifier, which has no bias."""
    family = family_of(config)
    return family.classifies and not family.lm_head_bias and not family.after_head


def _head(model: Any) -> nn.Linear:
    return cast("nn.Linear", model.get_output_embeddings())


def _scaled(config: Any, numbers: Tensor) -> Tensor:
    """What the model does to its head's logits."""
    for how, entry in family_of(config).after_head:
        factor = getattr(config, entry)
        if factor is not None:
            numbers = _AFTER_HEAD[how](numbers, factor)
    return numbers
