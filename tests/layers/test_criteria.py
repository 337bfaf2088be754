"""Every criterion on every family, against references that are written differently."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from scored import FAMILIES, model, sample, silence_block, stream

from slimcls.backbones.families import blocks_of
from slimcls.backbones.selectors import even, random
from slimcls.errors import UserError
from slimcls.layers.criteria import CRITERIA, Criterion, find_criterion
from slimcls.layers.greedy import Greedy
from slimcls.layers.losses import passes_through, standing_in, text_losses
from slimcls.layers.samples import Sample

MEASURED = [row.name for row in CRITERIA.values() if row.needs_text]
#: A part of a block that runs once each time the block does.
INSIDE = {"tiny-llama": "mlp", "tiny-neox": "mlp", "tiny-gpt2": "mlp", "tiny-opt": "fc1"}


@pytest.mark.parametrize("name", FAMILIES)
def test_angular_is_the_reference_s(name: str):
    whole, texts = model(name).double(), sample()
    last = np.stack([stream(whole, ids)[:, -1] for ids in texts.ids])
    units = last / np.linalg.norm(last, axis=-1, keepdims=True)
    cosines = np.einsum("sih,sjh->sij", units, units).clip(-1, 1)
    distances = (np.arccos(cosines) / np.pi).mean(0)
    found = CRITERIA["angular"].measure(whole, texts)
    assert found.scores == pytest.approx(np.diagonal(distances, 1), abs=1e-7)
    assert found.removal_order is None
    for keep, layers in found.kept.items():
        gone = 6 - keep
        start = min(range(keep + 1), key=lambda i: distances[i, i + gone])
        assert layers == tuple(i for i in range(6) if i not in range(start, start + gone))


@pytest.mark.parametrize("name", FAMILIES)
def test_losses_are_transformers_own(name: str):
    whole, texts = model(name), sample()
    for batch in texts.batches():
        sums, counts = text_losses(whole, batch)
        for row, place in enumerate(batch.places.tolist()):
            ids = torch.tensor([texts.ids[place]])
            own = whole(input_ids=ids, labels=ids).loss.item()
            assert sums[row].item() / counts[row].item() == pytest.approx(own, abs=2e-6)


def test_losses_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch):
    whole, texts = model("tiny-opt"), sample()
    batch = next(texts.batches())
    expected = text_losses(whole, batch)[0]
    monkeypatch.setattr("slimcls.layers.losses.POSITIONS", 7)
    torch.testing.assert_close(text_losses(whole, batch)[0], expected)


def mean_loss(whole: Any, texts: Sample) -> float:
    """Mean over tokens by transformers' own loss, one text after the other."""
    total = tokens = 0.0
    for ids in texts.ids:
        given = torch.tensor([ids])
        with torch.no_grad():
            total += whole(input_ids=given, labels=given).loss.item() * (len(ids) - 1)
        tokens += len(ids) - 1
    return total / tokens


@pytest.mark.parametrize("name", FAMILIES)
def test_a_bypassed_block_is_a_removed_one(name: str):
    whole, texts = model(name), sample()
    with standing_in(whole, {1: passes_through, 4: passes_through}):
        bypassed = mean_loss(whole, texts)
    assert bypassed == pytest.approx(mean_loss(model(name, (0, 2, 3, 5)), texts), abs=1e-6)
    assert mean_loss(whole, texts) == mean_loss(model(name), texts)


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_removal_is_that_of_models_opened_anew(name: str):
    texts = sample()
    left = tuple(range(6))
    before = mean_loss(model(name), texts)
    order, rises = [], []
    while len(left) > 4:
        cuts = [tuple(i for i in left if i != gone) for gone in left]
        losses = [mean_loss(model(name, cut), texts) for cut in cuts]
        rises = rises or [loss - before for loss in losses]
        best = int(np.argmin(losses))
        order.append(left[best])
        left = cuts[best]
    found = CRITERIA["greedy-loss"].measure(model(name), texts, keep=4)
    assert found.removal_order == tuple(order)
    assert found.kept[4] == left
    assert found.scores == pytest.approx(rises, abs=5e-6)


@pytest.mark.parametrize("name", INSIDE)
def test_greedy_removal_runs_only_what_lies_above_a_candidate(name: str):
    whole = model(name)
    ran: list[int] = []
    for layer, block in enumerate(blocks_of(whole)):
        inside = block.get_submodule(INSIDE[name])
        inside.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
    search = Greedy(whole, sample(batch_size=6))
    found = search.search(4)
    # Two rounds: all that are left, then for each of them what lies above it.
    assert len(ran) == search.runs == (6 + 5 + 4 + 3 + 2 + 1) + (5 + 4 + 3 + 2 + 1)
    assert search.whole_runs == 6 * 5 + 5 * 4
    assert found.notes == (
        "36 block runs instead of 50: 28% saved by running what lies below a candidate once",
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_taylor_is_the_reference_s(name: str):
    whole, texts = model(name).double(), sample()
    expected = np.zeros(6)
    for ids in texts.ids:
        given = torch.tensor([ids])
        loss = whole(input_ids=given, labels=given).loss
        for layer, block in enumerate(blocks_of(whole)):
            weights = list(block.parameters())
            slopes = torch.autograd.grad(loss, weights, retain_graph=True)
            parts = zip(weights, slopes, strict=True)
            expected[layer] += sum((w * g).abs().sum().item() for w, g in parts)
    found = CRITERIA["taylor"].measure(whole, texts)
    # Logits are computed in float32 at least, and no more.
    assert found.scores == pytest.approx(expected / len(texts), rel=1e-5)
    in_float32 = CRITERIA["taylor"].measure(model(name), texts)
    assert in_float32.scores == pytest.approx(found.scores, rel=1e-3)


def test_taylor_leaves_the_model_as_it_was():
    whole = model("tiny-gpt2")
    whole.get_input_embeddings().requires_grad_(False)
    before = copy.deepcopy(whole.state_dict())
    asked = [p.requires_grad for p in whole.parameters()]
    CRITERIA["taylor"].measure(whole, sample())
    assert [p.requires_grad for p in whole.parameters()] == asked
    assert all(p.grad is None for p in whole.parameters())
    assert all(torch.equal(value, before[key]) for key, value in whole.state_dict().items())


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "tiny-opt-post"])
@pytest.mark.parametrize("criterion", ["angular", "greedy-loss", "taylor"])
def test_a_block_that_adds_nothing_scores_nothing(name: str, criterion: str):
    whole = model(name)
    silence_block(whole, name, 2)
    assert CRITERIA[criterion].measure(whole, sample(), 4).scores[2] == 0.0


@pytest.mark.parametrize("criterion", ["angular", "greedy-loss", "taylor"])
def test_batches_do_not_matter(criterion: str):
    whole = model("tiny-neox")
    alone = CRITERIA[criterion].measure(whole, sample(batch_size=1), 5)
    together = CRITERIA[criterion].measure(whole, sample(batch_size=6), 5)
    assert together.scores == pytest.approx(alone.scores, abs=2e-6)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("criterion", MEASURED)
def test_what_every_measured_criterion_gives(name: str, criterion: str):
    texts = sample((6, 7, 8, 9))
    found = CRITERIA[criterion].measure(model(name), texts)
    assert set(found.kept) == {1, 2, 3, 4, 5}
    assert len(found.scores) == len(found.intervals) == 6
    assert all(low <= high for low, high in found.intervals)
    assert found.tau is None or -1 <= found.tau <= 1
    if found.removal_order is not None:
        assert sorted(found.removal_order) == list(range(6))
        for more, fewer in pairwise(sorted(found.kept, reverse=True)):
            assert set(found.kept[fewer]) < set(found.kept[more])
    assert CRITERIA[criterion].kept_layers(model(name), 3, texts) == found.kept[3]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("first", (0, 1)), ("sequential", (4, 5)), ("even", even(6, 2)), ("random", random(6, 2, 7))],
)
def test_rules_have_the_same_interface(name: str, expected: tuple[int, ...]):
    assert CRITERIA[name].kept_layers(model("tiny-gpt2"), 2, seed=7) == expected


@pytest.mark.parametrize(("keep", "words"), [(6, "nothing to choose"), (7, "6 layers"), (0, "one")])
def test_depths_that_leave_no_choice(keep: int, words: str):
    with pytest.raises(UserError, match=words):
        CRITERIA["bi"].kept_layers(model("tiny-gpt2"), keep, sample())


def test_a_criterion_of_one_s_own_is_a_value_and_a_row(monkeypatch: pytest.MonkeyPatch):
    """The lines that the module's first words promise."""

    def euclidean(passage: Any) -> Any:
        return passage.added

    monkeypatch.setitem(CRITERIA, "euclidean", Criterion("euclidean", value=euclidean))
    whole, texts = model("tiny-llama").double(), sample()
    found = find_criterion("euclidean").measure(whole, texts)
    streams = [stream(whole, ids) for ids in texts.ids]
    sizes = [np.linalg.norm(x[1:] - x[:-1], axis=-1) for x in streams]
    assert found.scores == pytest.approx(np.concatenate(sizes, 1).mean(1))


def test_an_unknown_criterion_gets_the_nearest():
    with pytest.raises(
        UserError, match="unknown --criterion 'greedy-los'; did you mean 'greedy-lo"
    ):
        find_criterion("greedy-los", "--criterion")


def test_every_criterion_is_described():
    page = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8")
    for name in CRITERIA:
        assert f"`{name}`" in page
