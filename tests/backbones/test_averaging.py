"""A block that averages: the scores of the mean over tokens, from a plain classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from backbones.made_models import BATTERY, MODELS, VOCABULARY, make, saved
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from slimcls.backbones.averaging import Linear, append_average, check_average
from slimcls.backbones.families import blocks_of, family_of, final_norm_of, parts_of
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.trunk import decoder_of
from slimcls.errors import UserError
from slimcls.layers.activations import watched

EVERY = {**MODELS, **BATTERY}
CLASSES, TEXTS = 3, 24
#: Layers that are read, all of them in no model.
CUT = (0, 2)
#: Tokens of a text: no window of the made models is shorter.
TOKENS = (4, 3, 2, 1)
#: Models in which attention cannot be made even, or whose norms stand elsewhere.
REFUSED = {
    name
    for name, (model_type, _) in EVERY.items()
    if model_type in ("bloom", "mpt", "falcon", "gpt_neox", "olmo2", "olmo3", "exaone4")
} | {"opt-post", "qwen2_moe", "qwen3_moe"}


def averaged(name: str, folder: Path, classes: int = CLASSES) -> tuple[Any, list[Tensor], Tensor]:
    """A cut that averages, its expected scores of some texts, and the texts."""
    full = make(name)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        # As in trained models, all tokens have something in common.
        full.get_input_embeddings().weight += 5 * torch.randn(
            full.get_input_embeddings().embedding_dim, generator=generator
        )
    source = saved(full, folder)
    check_average(full.config, classes)
    labels = [f"class {number}" for number in range(classes)]
    model = open_cut(source, CUT, head="classification", labels=labels)
    texts = [
        torch.randint(2, VOCABULARY, (1, TOKENS[number % len(TOKENS)]), generator=generator)
        for number in range(TEXTS)
    ]
    base, norm, left = decoder_of(model), final_norm_of(model), []
    end = len(CUT) - 1
    with torch.no_grad():
        with watched(base, lambda layer, _, after: left.append(after) if layer == end else None):
            for text in texts:
                base(input_ids=text, use_cache=False)
        means = torch.cat([norm(states).mean(1) for states in left])
        last = torch.cat([states[:, -1] for states in left])
        weight = torch.randn(classes, means.shape[1], generator=generator)
        weight /= means.std(0).clamp_min(1e-3)
        weight /= (means @ weight.T).std()
        linear = Linear(weight, torch.randn(classes, generator=generator))
        append_average(model, linear, means, last)
    return model, texts, (means @ weight.T + linear.bias).softmax(1)


@pytest.mark.parametrize("name", sorted(set(EVERY) - REFUSED))
def test_a_plain_classifier_gives_the_probabilities_of_the_mean(name: str, tmp_path: Path) -> None:
    if not family_of(make(name).config).classifies:
        pytest.skip("transformers has no classifier of it")
    model, texts, wanted = averaged(name, tmp_path / "full")
    model.save_pretrained(tmp_path / "cut")
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path / "cut").eval()
    with torch.no_grad():
        found = torch.cat([opened(input_ids=text).logits for text in texts]).softmax(1)
    assert found.argmax(1).tolist() == wanted.argmax(1).tolist()
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_family_that_cannot_average_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="attention cannot be made even"):
        check_average(make(name).config, CLASSES)


def test_more_classes_than_values_are_refused() -> None:
    with pytest.raises(UserError, match="16 classes: a layer that averages has room for 15"):
        check_average(make("llama").config, 16)


def test_many_classes_keep_their_order(tmp_path: Path) -> None:
    model, texts, wanted = averaged("llama", tmp_path / "full", classes=12)
    with torch.no_grad():
        found = torch.cat([model(input_ids=text).logits for text in texts]).softmax(1)
    assert found.argmax(1).tolist() == wanted.argmax(1).tolist()
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_what_goes_into_the_values_is_of_one_size(name: str, tmp_path: Path) -> None:
    """So that few bits round large coordinates and small ones alike."""
    model, texts, _ = averaged(name, tmp_path / "full")
    base, left = decoder_of(model), []
    block, family = blocks_of(base)[-1], family_of(model.config)
    (norm,) = parts_of(block, family.attention_norm or "")
    end = len(CUT)
    with torch.no_grad():
        with watched(base, lambda layer, now, _: left.append(now) if layer == end else None):
            for text in texts:
                base(input_ids=text, use_cache=False)
        means = torch.cat([norm(states).mean(1) for states in left])
    size = means.square().mean(0).sqrt()
    # A coordinate next to nothing is made no larger than a tenth of the usual ones would be.
    assert float(size.max()) == pytest.approx(1, abs=1e-3)
    assert float(size.median()) == pytest.approx(1, abs=1e-3)


def test_attention_that_is_scaled_by_layer_is_refused_before_any_training() -> None:
    config = make("gpt2").config
    config.scale_attn_by_inverse_layer_idx = True
    with pytest.raises(UserError, match="only its first layers can stay"):
        check_average(config, CLASSES)
