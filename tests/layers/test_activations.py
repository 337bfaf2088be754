"""The residual stream at the blocks, against float64 references that are written differently."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scored import FAMILIES, model, sample, silence_block, stream

from slimcls.backbones.families import base_of, blocks_of, final_norm_of
from slimcls.errors import UserError
from slimcls.layers.activations import Column, Passage, tally
from slimcls.layers.criteria import CRITERIA, measure_together
from slimcls.layers.samples import Sample

NAMES = ["bi", "bi-last", "relative-magnitude"]


def reference(whole: Any, texts: Sample) -> dict[str, list[float]]:
    """Scores of one text after the other, straight from the formulas."""
    cosines: list[np.ndarray] = []
    decisive: list[np.ndarray] = []
    ratios: list[np.ndarray] = []
    for ids in texts.ids:
        x = stream(whole, ids)
        lengths = np.sqrt((x * x).sum(-1))
        cos = (x[:-1] * x[1:]).sum(-1) / (lengths[:-1] * lengths[1:])
        cosines.append(cos)
        decisive.append(cos[:, -1:])
        ratios.append(np.sqrt(((x[1:] - x[:-1]) ** 2).sum(-1)) / lengths[1:])
    return {
        "bi": (1 - np.concatenate(cosines, 1).mean(1)).tolist(),
        "bi-last": (1 - np.concatenate(decisive, 1).mean(1)).tolist(),
        "relative-magnitude": np.concatenate(ratios, 1).mean(1).tolist(),
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_are_the_reference_s(name: str):
    texts = sample()
    exact = model(name).double()
    expected = reference(exact, texts)
    found = measure_together(exact, texts, NAMES)
    in_float32 = measure_together(model(name), texts, NAMES)
    for criterion in NAMES:
        assert found[criterion].scores == pytest.approx(expected[criterion], abs=1e-12)
        assert in_float32[criterion].scores == pytest.approx(expected[criterion], abs=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_block_is_scored_before_the_final_norm(name: str):
    whole = model(name)
    norm = final_norm_of(whole)
    if norm is None:
        pytest.skip("this family has no final norm")
    before = measure_together(whole, sample(), ["bi"])["bi"].scores
    with torch.no_grad():
        norm.weight[::2] *= -3.0
    assert measure_together(whole, sample(), ["bi"])["bi"].scores == before


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "tiny-opt-post"])
def test_a_block_that_adds_nothing_scores_nothing(name: str):
    whole = model(name)
    silence_block(whole, name, 3)
    for criterion, found in measure_together(whole, sample(), NAMES).items():
        assert found.scores[3] == 0.0, criterion
        assert min(found.scores[:3]) > 1e-3, criterion
        assert found.removal_order[0] == 3, criterion


def test_a_post_norm_block_that_adds_nothing_only_norms_again():
    whole = model("tiny-opt-post")
    silence_block(whole, "tiny-opt-post", 3)
    with torch.no_grad():
        for layer in (2, 3):
            block = blocks_of(whole)[layer]
            for norm in (block.self_attn_layer_norm, block.final_layer_norm):
                norm.weight.fill_(1.0)
                norm.bias.zero_()
    found = measure_together(whole, sample(), NAMES)
    assert found["bi"].scores[3] < 1e-9
    assert 0 < found["relative-magnitude"].scores[3] < 1e-4
    with torch.no_grad():
        blocks_of(whole)[3].final_layer_norm.weight[::2] *= 3.0
    assert measure_together(whole, sample(), NAMES)["bi"].scores[3] > 0.01, "its norms alone"


def test_the_scale_of_the_stream_does_not_matter():
    plain, large = model("tiny-llama"), model("tiny-llama")
    with torch.no_grad():
        for whole in (plain, large):
            for module in whole.modules():
                if hasattr(module, "variance_epsilon"):
                    module.variance_epsilon = 1e-30
        base_of(large).embed_tokens.weight *= 64
        for block in blocks_of(large):
            block.self_attn.o_proj.weight *= 64
            block.mlp.down_proj.weight *= 64
    found = [measure_together(whole, sample(), NAMES) for whole in (plain, large)]
    for criterion in NAMES:
        assert found[0][criterion].scores == pytest.approx(found[1][criterion].scores, rel=1e-6)


floats = st.floats(-10, 10, width=32)
vectors = st.lists(floats, min_size=6, max_size=6)


@given(vectors, vectors, st.sampled_from([2.0**-20, 0.5, 1024.0, 2.0**30]))
def test_values_of_one_token(before: list[float], after: list[float], scale: float):
    x, y = (torch.tensor([[v]]).clamp(-10, 10) for v in (before, after))
    if x.norm() < 1e-3 or y.norm() < 1e-3:
        return
    a, b = x.double(), y.double()
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1)
    for factor in (1.0, scale):
        passage = Passage(x * factor, y * factor)
        influence = CRITERIA["bi"].value(passage)
        assert influence.item() == pytest.approx(1 - cosine.item(), abs=1e-6)
        magnitude = CRITERIA["relative-magnitude"].value(passage).item()
        assert magnitude == pytest.approx(((b - a).norm() / b.norm()).item(), rel=1e-5, abs=1e-6)
    assert CRITERIA["bi"].value(Passage(x, x)).item() == 0.0


def test_a_small_turn_is_not_lost_in_rounding():
    x = torch.tensor([[[1.0, 0.0, 0.0]]])
    y = torch.tensor([[[1.0, 1e-5, 0.0]]])
    assert CRITERIA["bi"].value(Passage(x, y)).item() == pytest.approx(0.5e-10, rel=1e-3)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(FAMILIES),
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=7),
    batch_size=st.integers(1, 7),
)
def test_batches_and_padding_do_not_matter(name: str, lengths: list[int], batch_size: int):
    whole = model(name)
    alone = measure_together(whole, sample(tuple(lengths), 1), NAMES)
    together = measure_together(whole, sample(tuple(lengths), batch_size), NAMES)
    for criterion in NAMES:
        assert together[criterion].scores == pytest.approx(alone[criterion].scores, abs=1e-6)


def test_padding_may_be_anything():
    """Even where a model gives NaN at padding, as with an attention that masks whole rows."""
    whole = model("tiny-gpt2")

    def spoil(block: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        spoilt = output.clone()
        spoilt[1, 2:] = float("nan")
        return spoilt

    texts = sample((9, 2), batch_size=2)
    expected = measure_together(whole, texts, NAMES)
    with blocks_of(whole)[5].register_forward_hook(spoil):
        found = measure_together(whole, texts, NAMES)
    assert {n: f.scores for n, f in found.items()} == {n: f.scores for n, f in expected.items()}


def test_dropout_is_off_and_training_goes_on():
    whole = model("tiny-gpt2").train()
    first = measure_together(whole, sample(), ["bi"])["bi"].scores
    assert measure_together(whole, sample(), ["bi"])["bi"].scores == first
    assert whole.training


def test_activations_of_earlier_batches_are_gone():
    whole = model("tiny-llama")
    seen: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def count(block: Any, args: Any, output: torch.Tensor) -> None:
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(output))

    with blocks_of(whole)[0].register_forward_hook(count):
        tally(whole, sample((20,) * 12, 2), {"added": Column(lambda passage: passage.added)})
    assert len(seen) == 6
    assert max(alive) == 0


def test_hooks_are_gone_afterwards():
    whole = model("tiny-opt")
    measure_together(whole, sample(), NAMES)
    assert not any(block._forward_hooks for block in blocks_of(whole))


@pytest.mark.parametrize("criterion", [c for c in CRITERIA.values() if c.needs_text])
def test_damaged_weights_are_found_by_layer(criterion: Any):
    whole = model("tiny-neox")
    with torch.no_grad():
        blocks_of(whole)[3].mlp.dense_h_to_4h.weight[0, 0] = float("nan")
    with pytest.raises(UserError, match="NaN or infinite from layer 3 on, for text"):
        criterion.measure(whole, sample(), 3)


@pytest.mark.parametrize("criterion", [c for c in CRITERIA.values() if c.needs_text])
def test_damage_of_one_text_is_found_by_text(criterion: Any):
    whole = model("tiny-neox")  # its head is not tied to the embeddings
    texts = sample()
    with torch.no_grad():
        base_of(whole).embed_in.weight[texts.ids[3][0]] = float("inf")
    with pytest.raises(UserError, match="in what enters layer 0, for text 3"):
        criterion.measure(whole, texts, 3)
