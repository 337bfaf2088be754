"""How fast each part of a model learns that is trained at several depths."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from slimcls.backbones import sources
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.exits import add_exits
from slimcls.config import RunConfig
from slimcls.training.rates import embedding_rate, learning_rate, parameter_groups

FAMILIES = ["tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"]


def opened(family: str, head: Any) -> Any:
    labels = ["a", "b"]
    return open_cut(sources.find(family, None), range(6), head=head, labels=labels, seed=3)


def settings(exits: list[int] | None) -> RunConfig:
    return RunConfig(dataset="made up", keep=6, exits=exits, lr=2e-4)


@pytest.mark.parametrize("head", ["lm", "classification"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_shallow_exit_reads_learns_as_a_shallow_cut_does(family: str, head: Any) -> None:
    config, model = settings([2, 5]), opened(family, head)
    add_exits(model, [2, 5])
    names = {id(p): name for name, p in model.named_parameters()}
    groups: Any = parameter_groups(model, config)
    found = {names[id(p)]: group["lr"] for group in groups for p in group["params"]}
    assert set(found) == set(names.values()), "each in a group, once"
    fast = 2e-4 * learning_rate("full", 2, 6) / learning_rate("full", 6, 6)
    assert fast > 2e-4
    blocks = {"gpt2": "transformer.h.", "neox": "gpt_neox.layers."}
    start = blocks.get(family.removeprefix("tiny-"), "layers.")
    for name, rate in found.items():
        early = any(f"{start}{place}." in name for place in (0, 1)) or "exits.0." in name
        late = any(f"{start}{place}." in name for place in (2, 3, 4, 5)) or "exits.1." in name
        if early:
            assert rate == fast, name
        elif late or name.startswith("score") or "norm" in name or "ln_f" in name:
            assert rate == 2e-4, name
    assert found[names[id(model.get_input_embeddings().weight)]] == fast == embedding_rate(config)


def test_without_exits_all_learns_at_one_rate() -> None:
    model = opened("tiny-gpt2", "classification")
    (group,) = parameter_groups(model, settings(None))
    assert group["lr"] == embedding_rate(settings(None)) == 2e-4
    optimizer = torch.optim.AdamW([group])
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [
        id(p) for p in model.parameters()
    ], "in the order in which checkpoints have them"
