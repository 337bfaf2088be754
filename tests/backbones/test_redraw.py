"""Random blocks: drawn by the seed alone, and nothing else of the model touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from backbones.made_models import MODELS, ids, make, saved
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from slimcls.backbones.families import base_of, blocks_of, family_of
from slimcls.backbones.redraw import drawn_blocks
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import open_cut, read_config
from slimcls.backbones.weights import Weights


@pytest.fixture(scope="module", params=MODELS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    return saved(make(request.param), tmp_path_factory.mktemp(request.param))


def drawn(source: Source, layers: tuple[int, ...] = (0, 1), **more: Any) -> Any:
    options: dict[str, Any] = {"head": "lm", "random_blocks": True} | more
    if options["head"] == "classification":
        options["labels"] = ["a", "b"]
    return open_cut(source, layers, **options)


def blocks(model: Any) -> dict[str, torch.Tensor]:
    return dict(blocks_of(model).state_dict())


def rest(model: Any) -> dict[str, torch.Tensor]:
    start = f"{family_of(model.config).blocks}."
    return {k: v for k, v in base_of(model).state_dict().items() if not k.startswith(start)}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_the_blocks_are_new_and_the_rest_is_as_it_was(source: Source):
    kept, new = open_cut(source, (0, 1), head="lm"), drawn(source)
    assert same(rest(kept), rest(new))
    assert torch.equal(kept.get_output_embeddings().weight, new.get_output_embeddings().weight)
    assert blocks(kept).keys() == blocks(new).keys()
    for name, value in blocks(new).items():
        assert not torch.equal(value, blocks(kept)[name]), name
        assert value.isfinite().all()
    matrices = [value for value in blocks(new).values() if value.dim() == 2]
    spread = torch.cat([value.flatten() for value in matrices]).std()
    assert 0.01 < spread < 0.03, "the class's own initializer_range, not what was stored"


def test_the_seed_decides_and_neither_head_nor_what_was_drawn_before(source: Source):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = blocks(drawn(source, seed=5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(one, blocks(drawn(source, seed=5, head="classification")))
    assert same(one, blocks(drawn(source, (1, 3), seed=5))), "which layers stay does not matter"
    other = blocks(drawn(source, seed=6))
    assert not any(torch.equal(one[k], other[k]) for k in one if one[k].dim() == 2)


def test_vocabulary_and_special_tokens_do_not_change_the_draw(source: Source):
    config = read_config(source)
    one = drawn_blocks(config, 5, torch.float32)
    config.vocab_size += 7
    config.pad_token_id = 3
    assert same(one, drawn_blocks(config, 5, torch.float32))
    assert {value.dtype for value in drawn_blocks(config, 5, torch.bfloat16).values()} == {
        torch.bfloat16
    }


def test_no_tensor_of_a_block_is_read(source: Source, monkeypatch: pytest.MonkeyPatch):
    names = []
    read = Weights.read

    def noted(self: Weights, name: str, dtype: torch.dtype) -> torch.Tensor:
        names.append(name)
        return read(self, name, dtype)

    monkeypatch.setattr(Weights, "read", noted)
    model = drawn(source)
    inside = f"{family_of(model.config).blocks}."
    assert names
    assert not [name for name in names if inside in name]


@pytest.mark.parametrize("head", ["lm", "classification"])
def test_a_saved_one_opens_in_plain_transformers(source: Source, head: str, tmp_path: Path):
    model = drawn(source, head=head, pad_token_id=1)
    model.save_pretrained(tmp_path)
    factory: Any = {"lm": AutoModelForCausalLM}.get(head, AutoModelForSequenceClassification)
    opened, report = factory.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    with torch.no_grad():
        assert torch.equal(opened.eval()(ids()).logits, model(ids()).logits)
