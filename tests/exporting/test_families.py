"""Every family becomes a graph that says what torch says, or is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from backbones.made_models import BATTERY, MODELS, ids, make, saved

from slimcls.backbones.families import FAMILIES, family_of
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.modes import make_mode
from slimcls.classifier.onnx import write_onnx
from slimcls.classifier.runtime import IDS, LENGTHS
from slimcls.errors import UserError

WORDS = [[30], [31, 44], [40, 9]]
PREFIX = [5, 17, 33, 20]
#: Lengths of the items of a batch: other counts and lengths than those that are traced.
BATCHES = [(1,), (9, 2), (3, 20, 1, 11)]

#: A model of each family; what else a family has differs in names and numbers, not in its graph.
EXPORTED = [
    "gpt2", "opt", "qwen3", "gemma", "gemma3_text", "gemma2", "olmo3", "exaone4", "stablelm",
    "glm4", "phi", "phi3", "nemotron", "arcee", "starcoder2", "apertus", "ernie4_5", "granite",
    "cohere2", "neox-parallel", "falcon-new", "bloom", "gptj", "gpt_neo", "mpt",
    "granite-4", "lfm2", "modernbert-decoder",
]  # fmt: skip
REFUSED = {
    "falcon-alibi": "bfloat16",
    "granite-4-experts": "experts",
    "qwen2_moe": "experts",
    "qwen3_moe": "experts",
}


def classifier(name: str, folder: Path) -> Classifier:
    """Label words behind a prefix; two layers where they are not alike, else one."""
    full = make(name)
    family = family_of(full.config)
    kinds = getattr(full.config, "layer_types", None) or getattr(full.config, "attention_types", [])
    # A Mamba layer alone takes long enough to trace; its attention is Granite 3's.
    both = name != "granite-4" and (kinds or not family.alike)
    layers = (0, 1) if both else (0,)
    model = open_cut(saved(full, folder), layers, head="lm", pad_token_id=1)
    encoder: Any = SimpleNamespace(shared_prefix_ids=lambda: PREFIX)
    return Classifier(model, make_mode("lm", "label-words", WORDS), encoder, ("a", "b", "c"))


def test_every_family_is_tried():
    models = MODELS | BATTERY
    types = {models[name][0] for name in (*EXPORTED, *REFUSED)}
    for family in FAMILIES:
        assert types & set(family.model_types), family.name


@pytest.mark.parametrize("name", EXPORTED)
def test_its_graph_says_what_the_model_says(name: str, tmp_path: Path):
    ours = classifier(name, tmp_path)
    write_onnx(ours, tmp_path / "graph.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"))
    for lengths in BATCHES:
        given = ids(max(lengths), len(lengths))
        own = [item[:length].tolist() for item, length in zip(given, lengths, strict=True)]
        fed = {IDS: given.numpy(), LENGTHS: np.asarray(lengths, np.int64)}
        (found,) = session.run(None, fed)
        expected = ours.logits([PREFIX + item for item in own]).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
        with torch.no_grad():
            text = torch.tensor([PREFIX + own[-1]])
            plain = ours.model(input_ids=text).logits[0, -1, [word[0] for word in WORDS]]
        np.testing.assert_allclose(found[-1], plain.numpy(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_graph_is_refused_with_the_reason(name: str, tmp_path: Path):
    with pytest.raises(UserError, match=f"cannot be exported to onnx: .*{REFUSED[name]}"):
        write_onnx(classifier(name, tmp_path), tmp_path / "graph.onnx")
    assert not (tmp_path / "graph.onnx").exists()
