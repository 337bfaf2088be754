"""A cut model is the full model's kept blocks, exactly, in every family."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones.made_models import DEPTH, MODELS, VOCABULARY, composed, ids, make, saved, streams

from slimcls.backbones.families import blocks_of, family_of, final_norm_of
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import (
    PER_LAYER,
    cut_config,
    depth_of,
    open_cut,
    read_config,
)
from slimcls.errors import UserError

LABELS = ("yes", "no", "perhaps")


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A full model and the folder it is saved in."""
    full = make(request.param)
    return full, saved(full, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("keep", [1, 2, 4, DEPTH])
@pytest.mark.parametrize("head", ["lm", "classification"])
def test_stream_after_the_last_block_is_the_full_models(pair: Any, keep: int, head: Any):
    full, source = pair
    cut = open_cut(source, range(keep), head=head, labels=LABELS)
    with torch.no_grad(), streams(full) as theirs, streams(cut) as ours:
        full(input_ids=ids())
        cut(input_ids=ids())
    assert len(ours) == keep
    for block in range(keep):
        assert torch.equal(ours[block], theirs[block])


@pytest.mark.parametrize("layers", [(0, 2, 5), (3,), (1, 2, 3, 4)])
def test_named_layers_equal_blocks_composed_by_hand(pair: Any, layers: tuple[int, ...]):
    full, source = pair
    cut = open_cut(source, layers, head="lm")
    by_hand = composed(full, layers)
    with torch.no_grad():
        expected = by_hand(input_ids=ids()).logits
        assert torch.equal(cut(input_ids=ids()).logits, expected)
    assert not torch.equal(expected, full(input_ids=ids()).logits)


def test_parameters_are_the_kept_ones_and_nothing_else(pair: Any):
    full, source = pair
    cut = open_cut(source, (1, 4), head="lm")
    family = family_of(full.config)
    place = {0: 1, 1: 4}
    path = f"{full.base_model_prefix}.{family.blocks}."
    theirs = full.state_dict()
    for name, value in cut.state_dict().items():
        original = name
        if match := re.match(re.escape(path) + r"(\d+)(\..*)", name):
            original = f"{path}{place[int(match[1])]}{match[2]}"
        assert torch.equal(value, theirs[original]), name
    assert all(parameter.device.type == "cpu" for parameter in cut.parameters())


def test_tied_head_stays_tied_and_an_untied_one_stays_its_own(pair: Any):
    full, source = pair
    cut = open_cut(source, (0, 1), head="lm")
    tied = cut.get_output_embeddings().weight is cut.get_input_embeddings().weight
    assert tied == full.config.tie_word_embeddings


def test_the_original_final_norm_stays(pair: Any):
    full, source = pair
    norm, theirs = final_norm_of(open_cut(source, (0,), head="lm")), final_norm_of(full)
    assert (norm is None) == (theirs is None)
    if norm is not None and theirs is not None:
        assert torch.equal(norm.weight, theirs.weight)


def test_numbering_and_config_follow(pair: Any):
    full, source = pair
    layers = (0, 3, 5)
    cut = open_cut(source, layers, head="lm")
    assert depth_of(cut.config) == cut.config.num_hidden_layers == len(layers)
    for place, block in enumerate(blocks_of(cut)):
        numbers = {m.layer_idx for m in block.modules() if hasattr(m, "layer_idx")}
        assert numbers <= {place}
    for name in PER_LAYER:
        values = getattr(full.config, name, None)
        if values:
            assert getattr(cut.config, name) == [values[i] for i in layers]


def test_cache_gives_the_logits_of_one_pass(pair: Any):
    _, source = pair
    cut = open_cut(source, (0, 2, 5), head="lm")
    text = ids(10)
    with torch.no_grad():
        whole = cut(input_ids=text).logits
        first = cut(input_ids=text[:, :6], use_cache=True)
        rest = cut(input_ids=text[:, 6:], past_key_values=first.past_key_values, use_cache=True)
    assert first.past_key_values.get_seq_length() == 10
    torch.testing.assert_close(rest.logits, whole[:, 6:], rtol=1e-5, atol=1e-5)
    made = cut.generate(text, max_new_tokens=3, do_sample=False)
    assert made.shape[0] == 2
    assert 10 < made.shape[1] <= 13


def test_cut_model_saves_and_opens_in_plain_transformers(pair: Any, tmp_path: Path):
    from transformers import AutoModelForSequenceClassification

    _, source = pair
    cut = open_cut(source, (0, 5), head="classification", labels=LABELS, pad_token_id=1)
    cut.save_pretrained(tmp_path)
    again, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report.values())
    assert again.config.id2label == dict(enumerate(LABELS))
    with torch.no_grad():
        assert torch.equal(again.eval()(input_ids=ids()).logits, cut(input_ids=ids()).logits)


def test_unexpected_are_the_cut_blocks_and_missing_is_the_head(pair: Any):
    """transformers' own report on the full checkpoint says what our check demands."""
    full, source = pair
    cut = open_cut(source, (0, 1), head="classification", labels=LABELS)
    config = copy.deepcopy(cut.config)
    tensors = {
        name: value
        for name, value in full.state_dict().items()
        if not (full.config.tie_word_embeddings and name.startswith("lm_head"))
    }
    _, report = type(cut).from_pretrained(
        None, config=config, state_dict=tensors, output_loading_info=True
    )
    path = f"{full.base_model_prefix}.{family_of(full.config).blocks}."
    of_cut = {
        name
        for name in tensors
        if name.startswith(path) and int(name.removeprefix(path).split(".")[0]) >= 2
    }
    untied = {name for name in tensors if name.startswith("lm_head")}
    assert set(report["missing_keys"]) == {"score.weight"}
    # transformers leaves out of its report what it takes for GPT-2's old masks, biases included.
    silent = [re.compile(p) for p in type(cut)._keys_to_ignore_on_load_unexpected or ()]
    said = {name for name in of_cut if not any(pattern.search(name) for pattern in silent)}
    assert set(report["unexpected_keys"]) - untied == said


def test_new_head_is_the_seeds_alone(pair: Any):
    _, source = pair
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = open_cut(source, (0,), head="classification", labels=LABELS, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two = open_cut(source, (0, 1), head="classification", labels=LABELS, seed=5)
    other = open_cut(source, (0,), head="classification", labels=LABELS, seed=6)
    assert torch.equal(one.score.weight, two.score.weight)
    assert not torch.equal(one.score.weight, other.score.weight)
    assert one.score.bias is None
    assert one.score.weight.shape[0] == 3
    assert 0.01 < one.score.weight.std() < 0.03


def test_head_settings_are_in_the_config(pair: Any):
    _, source = pair
    cut = open_cut(source, (0,), head="classification", labels=LABELS, pad_token_id=1)
    assert cut.config.num_labels == 3
    assert cut.config.label2id == {"yes": 0, "no": 1, "perhaps": 2}
    assert cut.config.pad_token_id == 1
    assert not cut.training
    assert cut.config._attn_implementation == "sdpa"
    assert {p.dtype for p in cut.parameters()} == {torch.float32}


def test_half_precision_files_become_float32(tmp_path: Path):
    full = make("llama").to(torch.bfloat16)
    cut = open_cut(saved(full, tmp_path), (0, 1), head="lm")
    assert {p.dtype for p in cut.parameters()} == {torch.float32}
    ours = blocks_of(cut)[1].mlp.up_proj.weight
    assert torch.equal(ours, blocks_of(full)[1].mlp.up_proj.weight.float())


def test_layers_of_models_that_scale_by_number_keep_their_places():
    from transformers import GPT2Config

    config = GPT2Config(n_layer=4, scale_attn_by_inverse_layer_idx=True)
    assert depth_of(cut_config(config, (0, 1))) == 2
    with pytest.raises(UserError, match="only its first layers"):
        cut_config(config, (0, 2))


def test_cutting_a_config_leaves_the_original_alone():
    config = make("qwen3").config
    cut = cut_config(config, (0, 5))
    assert cut.layer_types == ["full_attention", "sliding_attention"]
    assert depth_of(config) == len(config.layer_types) == DEPTH


def _rewritten(source: Source, change: Any) -> Source:
    from safetensors.torch import load_file, save_file

    tensors = load_file(source.weights[0])
    change(tensors)
    save_file(tensors, source.weights[0], metadata={"format": "pt"})
    return source


def _grow(tensors: dict[str, torch.Tensor]) -> None:
    tensors["transformer.wte.weight"] = torch.zeros(VOCABULARY + 1, 32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("transformer.ln_f.weight"), "transformer.ln_f.weight is missing"),
        (lambda t: t.pop("transformer.h.1.ln_1.bias"), "h.1.ln_1.bias is missing"),
        (lambda t: t.pop("transformer.h.5.ln_1.bias"), "h.5.ln_1.bias is missing"),
        (lambda t: t.update({"transformer.h.6.ln_1.bias": torch.ones(32)}), "h.6.ln_1.bias"),
        (lambda t: t.update(extra=torch.ones(1)), "extra is unknown"),
        (_grow, "shape [97, 32], not [96, 32]"),
    ],
)
def test_weights_of_another_model_are_refused(tmp_path: Path, change: Any, words: str):
    source = _rewritten(saved(make("gpt2"), tmp_path), change)
    with pytest.raises(UserError, match="weights do not fit") as refusal:
        open_cut(source, (0, 1), head="lm")
    assert words in str(refusal.value)


def test_old_names_buffers_and_heads_are_known(tmp_path: Path):
    """Old hub files: no base prefix, computed masks, a head beside the embedding it is tied to."""

    def age(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        for block in range(DEPTH):
            tensors[f"h.{block}.attn.bias"] = torch.ones(1, 1, 64, 64)
            tensors[f"h.{block}.attn.masked_bias"] = torch.tensor(-1e4)
        tensors["lm_head.weight"] = tensors["wte.weight"].clone()
        tensors["score.weight"] = torch.ones(5, 32)

    full = make("gpt2")
    source = _rewritten(saved(full, tmp_path), age)
    for head in ("lm", "classification"):
        cut = open_cut(source, (0, 1), head=head, labels=LABELS)  # type: ignore[arg-type]
        assert torch.equal(
            blocks_of(cut)[1].attn.c_attn.weight, full.transformer.h[1].attn.c_attn.weight
        )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not a readable model configuration"),
        ("[]", "not a JSON object"),
        ('{"model_type": "bert"}', "'bert' is not supported"),
        ("{}", "add a row to FAMILIES in slimcls/backbones/families.py"),
        ('{"model_type": "gpt2", "quantization_config": {"bits": 4}}', "quantised"),
        ('{"model_type": "gpt2", "n_layer": "many"}', "must be a number of layers"),
    ],
)
def test_faults_in_config(tmp_path: Path, content: str, words: str):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=re.escape(words)) as refusal:
        read_config(Source("m", tmp_path, "none", ()))
    assert "\n" not in str(refusal.value)


def test_code_that_a_model_brings_is_not_run(tmp_path: Path):
    full = make("gpt2")
    full.config.auto_map = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    source = saved(full, tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    assert depth_of(open_cut(source, (0,), head="lm").config) == 1


def test_a_classifier_needs_labels(tmp_path: Path):
    with pytest.raises(UserError, match="at least two labels"):
        open_cut(saved(make("gpt2"), tmp_path), (0,), head="classification", labels=["one"])
