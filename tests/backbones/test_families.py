"""A row of the table is right for every model of its family."""

from __future__ import annotations

import re
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones.made_models import BATTERY, DEPTH, MODELS, make

from slimcls.backbones import families
from slimcls.backbones.families import (
    FAMILIES,
    base_of,
    blocks_of,
    family_of,
    final_norm_of,
)
from slimcls.errors import UserError


@pytest.mark.parametrize("name", MODELS)
def test_row_leads_to_the_parts(name: str):
    model = make(name)
    family = family_of(model.config)
    base: Any = base_of(model)
    assert len(blocks_of(model)) == getattr(model.config, family.depth_key) == DEPTH
    assert attrgetter(family.embeddings)(base) is model.get_input_embeddings()
    assert getattr(model, family.lm_head) is model.get_output_embeddings()
    assert (final_norm_of(model) is None) == (name == "opt-post")
    if family.positions:
        assert isinstance(attrgetter(family.positions)(base), torch.nn.Embedding)
    assert blocks_of(base) is blocks_of(model)


@pytest.mark.parametrize("name", MODELS)
def test_lora_targets_are_projections_of_every_block(name: str):
    model = make(name)
    family = family_of(model.config)
    for block in blocks_of(model):
        for target in family.lora_targets:
            kind = type(block.get_submodule(target)).__name__
            assert kind == ("Conv1D" if family.fan_in_fan_out else "Linear")


def test_each_architecture_has_one_row():
    types = [model_type for family in FAMILIES for model_type in family.model_types]
    assert len(types) == len(set(types))
    assert {made[0] for made in (MODELS | BATTERY).values()} == set(types)


def test_other_architectures_are_named():
    from transformers import BertConfig

    with pytest.raises(UserError) as refusal:
        family_of(BertConfig())
    text = str(refusal.value)
    for words in ("'bert'", "GPT-2 (gpt2)", "Llama-like", "GPT-NeoX", "families.py"):
        assert words in text


def test_the_page_on_extending_shows_the_row_of_the_table(monkeypatch: pytest.MonkeyPatch):
    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text("utf-8")
    (block,) = [one for one in re.findall(r"```python\n(.*?)```", page, re.S) if "Family(" in one]
    monkeypatch.setattr(families, "FAMILIES", FAMILIES)
    names: dict[str, Any] = {}
    exec(block, names)
    (row,) = [family for family in FAMILIES if family.name == "LFM2"]
    assert (names["lfm2"], *FAMILIES) == families.FAMILIES
    # The page says what these two are for, and leaves them out.
    assert replace(names["lfm2"], of_note=row.of_note, follow=row.follow) == row
