"""Views of a model are the model that would be opened so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pruning.texts import TINY

from slimcls.backbones import sources
from slimcls.backbones.families import blocks_of
from slimcls.backbones.truncate import depth_of, open_cut
from slimcls.pruning.views import only_layers, without_part

WORDS = torch.tensor([[5, 9, 17, 3, 21, 8, 40]])


def whole(name: str) -> Any:
    return open_cut(sources.find(name, None), range(6), head="lm")


@torch.inference_mode()
def logits(model: Any, cached: bool = False) -> torch.Tensor:
    if not cached:
        return model(WORDS, use_cache=False).logits
    start = model(WORDS[:, :3], use_cache=True)
    rest = model(WORDS[:, 3:], past_key_values=start.past_key_values, use_cache=True)
    assert len(start.past_key_values.layers) == len(blocks_of(model))
    return torch.cat([start.logits, rest.logits], 1)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("layers", [(0, 1), (0, 2, 5), (3,)])
def test_only_layers_is_what_would_be_opened(name: str, layers: tuple[int, ...]) -> None:
    model = whole(name)
    opened = open_cut(sources.find(name, None), layers, head="lm")
    before = logits(model)
    with only_layers(model, layers):
        assert torch.equal(logits(model), logits(opened))
        assert torch.allclose(logits(model, cached=True), logits(opened), atol=1e-5)
        assert depth_of(model.config) == len(layers)
    assert depth_of(model.config) == 6
    assert torch.equal(logits(model), before)
    assert torch.allclose(logits(model, cached=True), before, atol=1e-5)


def test_the_model_is_whole_again_after_an_error() -> None:
    model = whole("tiny-llama")
    before = logits(model)
    with pytest.raises(KeyError), only_layers(model, (0,)):
        raise KeyError
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("name", TINY)
def test_without_both_parts_a_block_is_not_there(name: str) -> None:
    """Of a post-norm block its norms are left."""
    model = whole(name)
    before = logits(model)
    with only_layers(model, (0, 1, 3, 4, 5)):
        without_block = logits(model)
    with without_part(model, 2, "attention"):
        without_attention = logits(model)
        with without_part(model, 2, "mlp"):
            without_both = logits(model)
    with without_part(model, 2, "mlp"):
        without_mlp = logits(model)
    if name != "tiny-opt-post":
        assert torch.allclose(without_both, without_block, atol=1e-5)
    found = [before, without_attention, without_mlp, without_both]
    for place, one in enumerate(found):
        assert not any(torch.allclose(one, other, atol=1e-6) for other in found[:place])
    assert torch.equal(logits(model), before)
