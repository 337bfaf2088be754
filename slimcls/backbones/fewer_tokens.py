"""A model without the rows of tokens that its tokenizer has no more."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel

from slimcls.backbones.families import family_of
from slimcls.backbones.truncate import filled


def with_tokens(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """A copy of a model with the rows of these token ids alone, whose new ids are their places.

    Embedding and language-model head are of its own; all other weights are shared.
    """
    family = family_of(model.config)
    config = copy.deepcopy(model.config)
    config.vocab_size = len(kept)
    new = {old: place for place, old in enumerate(kept)}
    for name, value in config.to_dict().items():
        if name.endswith("_token_id") and value is not None:
            setattr(config, name, _renumbered(value, new))
    tables = {f"{model.base_model_prefix}.{family.embeddings}.weight"}
    tables |= {f"{family.lm_head}.{part}" for part in ("weight", "bias")}
    rows = list(kept)
    tensors = {
        name: tensor[rows] if name in tables else tensor
        for name, tensor in model.state_dict().items()
    }
    return filled(type(model), config, tensors, model.dtype)


def _renumbered(value: Any, new: dict[int, int]) -> Any:
    """A token's new id, or those of several; None for one that no tokenizer has had."""
    if isinstance(value, list):
        return [new[one] for one in value if one in new]
    return new.get(value)
