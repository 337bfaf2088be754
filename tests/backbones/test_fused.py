"""Experts that a checkpoint holds one by one are one tensor here, wherever its files lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones.hub_home import at_hub
from backbones.made_models import ids, make, source_of
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from slimcls.backbones import sources
from slimcls.backbones.families import family_of
from slimcls.backbones.fused import Fused, pieces_in
from slimcls.backbones.saved import open_saved
from slimcls.backbones.truncate import open_cut
from slimcls.backbones.weights import Weights
from slimcls.errors import UserError

#: Experts one by one with two MLPs among them, some blocks without, and other names.
NAMES = ["qwen3_moe", "qwen2_moe", "granite-4-experts"]
CHOSEN = (0, 2, 3)
PAIR = (Fused("both", ("{}.a", "{}.b")), Fused("new", ("old",)))


def opened(folder: Path) -> Any:
    return open_cut(source_of(folder), CHOSEN, head="lm", pad_token_id=1)


def same(ours: Any, theirs: Any) -> bool:
    mine, others = ours.state_dict(), theirs.state_dict()
    return mine.keys() == others.keys() and all(torch.equal(mine[k], others[k]) for k in mine)


@pytest.mark.parametrize("name", NAMES)
def test_todays_names_and_those_of_checkpoints_are_one_model(name: str, tmp_path: Path):
    full = make(name)
    for folder in ("parts", "shards", "whole"):
        (tmp_path / folder).mkdir()
        full.save_pretrained(
            tmp_path / folder, max_shard_size=30_000 if folder == "shards" else "1GB"
        )
    stored = load_file(tmp_path / "parts" / "model.safetensors")
    fused = {one.name for one in family_of(full.config).fused}
    assert not any(key.endswith(tuple(fused)) for key in stored), "transformers writes parts"
    save_file(full.state_dict(), tmp_path / "whole" / "model.safetensors")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 3
    one, *others = (opened(tmp_path / folder) for folder in ("parts", "shards", "whole"))
    assert all(same(one, other) for other in others)
    for key, value in one.state_dict().items():
        assert value.isfinite().all(), key


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_folder_is_read_back(name: str, tmp_path: Path):
    make(name).save_pretrained(tmp_path / "full")
    cut = opened(tmp_path / "full")
    cut.save_pretrained(tmp_path / "cut")
    again = open_saved(tmp_path / "cut", "lm")
    assert same(again, cut)
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids()).logits, cut(input_ids=ids()).logits)


@pytest.mark.parametrize("kept", [True, False])
def test_an_expert_with_a_part_too_few_is_said(kept: bool, tmp_path: Path):
    make("qwen3_moe").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    layer = 3 if kept else 1
    tensors.pop(f"model.layers.{layer}.mlp.experts.2.up_proj.weight")
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"do not fit config.json.*experts"):
        opened(tmp_path)


def test_experts_of_other_shapes_are_said(tmp_path: Path):
    make("qwen3_moe").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.3.mlp.experts.2.up_proj.weight"] = torch.zeros(3, 32)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"do not fit config.json.*experts"):
        opened(tmp_path)


def test_only_kept_experts_are_read(tmp_path: Path):
    make("qwen3_moe").save_pretrained(tmp_path)
    name = "model.layers.3.mlp.experts.gate_up_proj"
    fused = family_of(make("qwen3_moe").config).fused
    with Weights([tmp_path / "model.safetensors"], fused=fused) as weights:
        assert weights.shapes[name] == (4, 48, 32)
        assert weights.read(name, torch.float32).shape == (4, 48, 32)
        assert weights.bytes_read == 4 * 48 * 32 * 4


@pytest.mark.parametrize("shards", [True, False])
def test_only_the_experts_of_kept_layers_travel(shards: bool, tmp_path: Path):
    folder = tmp_path / "files" / "models" / "org" / "moe" / "main"
    make("qwen2_moe").save_pretrained(folder, max_shard_size=30_000 if shards else "1GB")
    with at_hub(tmp_path / "files", tmp_path / "home"):
        ours = open_cut(sources.find("org/moe"), (1,), head="lm", pad_token_id=1)
    theirs = open_cut(source_of(folder), (1,), head="lm", pad_token_id=1)
    assert same(ours, theirs)
    parts = {path.parent.name for path in (tmp_path / "home").rglob("parts/*/*/*/sha256")}
    assert parts == {"layer-001", "rest", "head"}
    config = json.loads((folder / "config.json").read_text())
    assert (config["decoder_sparse_step"], theirs.config.mlp_only_layers) == (2, [])


@given(st.integers(1, 12), st.integers(1, 3), st.booleans())
def test_experts_are_counted_and_in_order(experts: int, blocks: int, gap: bool):
    names = [f"h.{b}.{e}.{part}" for b in range(blocks) for e in range(experts) for part in "ab"]
    if gap:
        names.remove("h.0.0.a")
    found = pieces_in([*names, "h.7.old"], PAIR)
    assert found.pop("h.7.new").names == (("h.7.old",),)
    assert sorted(found) == [f"h.{b}.both" for b in range(int(gap), blocks)]
    for name, pieces in found.items():
        place = name.removesuffix("both")
        assert pieces.names == tuple((f"{place}{e}.a", f"{place}{e}.b") for e in range(experts))
