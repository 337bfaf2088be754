"""What a model answers at a depth is what the cut to that depth answers by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from slimcls.backbones import sources
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.exits import add_exits, cut_at, exits_of, take_exits
from slimcls.classifier.modes import Mode, make_mode
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.trunk import read_prefix
from slimcls.data.batches import Batch, collate

FAMILIES = ["tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"]
MODES = [("cls", None), ("lm", "label-words"), ("lm", "label-token")]
WORDS = [[300], [301, 44], [302, 9]]
PREFIX = torch.tensor([5, 17, 33, 200, 9, 41, 77, 12])
DEPTHS = [1, 3]


def made(family: str, mode: Mode) -> Any:
    """A model of four layers whose exits, as after a training, are copies no more."""
    model = open_cut(
        sources.find(family, None), range(4), head=mode.head, labels=["a", "b", "c"], seed=3,
        pad_token_id=0,
    )  # fmt: skip
    add_exits(model, DEPTHS)
    torch.manual_seed(1)
    for parameter in (p for one in exits_of(model) for p in one.parameters()):
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def batch() -> Batch:
    """Items of several lengths, the longest not last."""
    generator = torch.Generator().manual_seed(1)
    sizes = [7, 1, 12, 4, 9]
    ids = [torch.randint(5, 500, (size,), generator=generator).tolist() for size in sizes]
    return collate([(i, item, i % 3) for i, item in enumerate(ids)], 0)


def prefix_for(model: Any, kind: str) -> Prefix | None:
    if kind == "read before":
        return read_prefix(getattr(model, model.base_model_prefix), PREFIX)
    return Prefix(PREFIX) if kind == "read together" else None


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "loss"), MODES)
@torch.no_grad()
def test_one_pass_answers_as_each_cut_does(family: str, name: str, loss: str | None) -> None:
    mode, items = make_mode(name, loss, WORDS), batch()
    model = made(family, mode)
    for kind in ("none", "read before", "read together"):
        together = mode.logits(model, items, prefix_for(model, kind))
        total = mode.loss(model, items, prefix_for(model, kind))
        exits = take_exits(model)
        assert exits_of(model) == []
        cuts = [*(cut_at(model, end) for end in exits), model]
        alone = [mode.logits(cut, items, prefix_for(cut, kind)) for cut in cuts]
        assert [cut.config.num_hidden_layers for cut in cuts] == [*DEPTHS, 4]
        torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
        assert together.std(0).min() > 1e-4, "the depths do not differ"
        losses = [mode.loss(cut, items, prefix_for(cut, kind)) for cut in cuts]
        assert float(total) == pytest.approx(float(sum(losses)), rel=1e-5)
        model.add_module("exits", torch.nn.ModuleList(exits))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_depth_is_weighed_by_class(family: str) -> None:
    mode, items = make_mode("cls", None, []), batch()
    mode.class_weights = torch.tensor([1.0, 2.0, 5.0])
    model = made(family, mode)
    loss = mode.loss(model, items, None)
    weights = mode.class_weights[items.labels]
    by_item = [
        F.cross_entropy(logits, items.labels, reduction="none")
        for logits in mode.logits(model, items, None)
    ]
    expected = torch.stack([(one * weights).mean() for one in by_item]).sum()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    loss.backward()
    untrained = [name for name, p in model.named_parameters() if p.grad is None]
    assert untrained == [], "one loss trains them all"


def test_an_exit_takes_no_memory_for_layers_that_it_shares() -> None:
    model = made("tiny-llama", make_mode("cls", None, []))
    end = take_exits(model)[1]
    cut = cut_at(model, end)
    assert cut.model.embed_tokens.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert cut.model.norm.weight.equal(end.norm.weight)
    assert not cut.score.weight.equal(model.score.weight)
