"""What a language-model head says of final hidden states, in every family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from slimcls.backbones.families import family_of
from slimcls.backbones.vocabulary import rows_of

_AFTER_HEAD: dict[str, Callable[[Tensor, float], Tensor]] = {
    "times": lambda logits, factor: logits * factor,
    "over": lambda logits, factor: logits / factor,
    "cap": lambda logits, most: torch.tanh(logits / most) * most,
}


def vocabulary_logits(model: Any, states: Tensor) -> Tensor:
    """Logits (..., vocabulary) of final hidden states (..., hidden), as the model has them."""
    return _scaled(model.config, _head(model)(_before(model)(states)))


def token_logits(model: Any, states: Tensor, ids: Sequence[int]) -> Tensor:
    """The same of these tokens alone: (..., tokens)."""
    head, tokens = _head(model), torch.tensor(ids, device=states.device)
    bias = None if head.bias is None else head.bias[tokens]
    logits = functional.linear(_before(model)(states), head.weight[rows_of(model, tokens)], bias)
    return _scaled(model.config, logits)


def token_head(model: Any, ids: Sequence[int]) -> nn.Module:
    """A head of its own that gives :func:`token_logits`, without gradients."""
    family, whole, rows = family_of(model.config), _head(model), list(ids)
    head = nn.Linear(whole.weight.shape[1], len(rows), bias=whole.bias is not None)
    capped = any(how == "cap" for how, _ in family.after_head)
    scaled = (lambda numbers: numbers) if capped else partial(_scaled, model.config)
    head.weight.data = scaled(whole.weight.detach()[rows])
    if whole.bias is not None:
        head.bias.data = scaled(whole.bias.detach()[rows])
    before = [_before(model)] if family.before_head else []
    behind = [_Scaled(model.config)] if capped else []
    return nn.Sequential(*before, head, *behind) if before or behind else head


class _Scaled(nn.Module):
    """What the model does to its head's logits, where no weights can have it in them."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self._config = config

    def forward(self, logits: Tensor) -> Tensor:
        return _scaled(self._config, logits)


def is_plain(config: Any) -> bool:
    """Whether rows of the head can stand in an ordinary classifier, which has no bias."""
    family = family_of(config)
    extra = family.lm_head_bias or family.after_head or family.before_head
    return family.classifies and not extra


def _head(model: Any) -> nn.Linear:
    return cast("nn.Linear", model.get_output_embeddings())


def _before(model: Any) -> nn.Module:
    """What final hidden states go through first; nothing in most families."""
    name = family_of(model.config).before_head
    return getattr(model, name) if name else nn.Identity()


def _scaled(config: Any, numbers: Tensor) -> Tensor:
    """What the model does to its head's logits."""
    for how, entry in family_of(config).after_head:
        factor = getattr(config, entry)
        if factor is not None:
            numbers = _AFTER_HEAD[how](numbers, factor)
    return numbers
