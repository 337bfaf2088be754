"""Parameters as published, and memory as autograd takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from backbones.made_models import MODELS, make, saved_for_backward

from slimcls.backbones import sizes
from slimcls.backbones.families import base_of
from slimcls.backbones.sizes import TrainingStep
from slimcls.backbones.truncate import cut_config

GPT2_XL = {48: 1557611200, 24: 819832000, 12: 450942400, 2: 143534400, 1: 112793600}
OPT_13B = {24: 1315758080, 12: 711458816, 6: 409309184, 2: 207876096, 1: 157517824}


def gpt2_xl() -> Any:
    from transformers import GPT2Config

    return GPT2Config(n_embd=1600, n_layer=48, n_head=25)


def opt_13b() -> Any:
    from transformers import OPTConfig

    return OPTConfig(hidden_size=2048, ffn_dim=8192, num_hidden_layers=24, num_attention_heads=32)


@pytest.mark.parametrize(("config", "known"), [(gpt2_xl(), GPT2_XL), (opt_13b(), OPT_13B)])
def test_published_counts(config: Any, known: dict[int, int]):
    for keep, parameters in known.items():
        counted = sizes.count(config, range(keep))
        assert counted.params_kept == parameters
        assert counted.params_full == max(known.values())
        assert counted.params_saved == 1 - parameters / max(known.values())


@pytest.mark.parametrize(("config", "share"), [(gpt2_xl(), 0.73), (opt_13b(), 0.68)])
def test_embeddings_are_most_of_one_layer(config: Any, share: float):
    assert sizes.count(config, [0]).embedding_share == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("name", MODELS)
def test_counts_equal_a_built_model(name: str):
    model = make(name)
    counted = sizes.count(model.config, (0, 2, 5))
    full = sum(parameter.numel() for parameter in base_of(model).parameters())
    assert counted.params_full == full
    from transformers import AutoModel

    cut = AutoModel.from_config(cut_config(model.config, (0, 2, 5)))
    assert counted.params_kept == sum(parameter.numel() for parameter in cut.parameters())
    assert 0 < counted.embedding_params < counted.params_kept


def test_gpt2_xl_in_full_needs_about_25_gb_and_its_step():
    full = GPT2_XL[48]
    memory = TrainingStep(gpt2_xl(), 1, 1, "32").memory(range(48), full)
    assert memory.weights == memory.gradients == 4 * full
    assert memory.optimiser == 8 * full
    assert 24.9e9 < memory.total < 25.1e9
    assert memory.total == (
        memory.weights + memory.gradients + memory.optimiser + memory.activations
    )


def test_frozen_parameters_cost_their_weights_only():
    memory = TrainingStep(gpt2_xl(), 1, 8, "32").memory(range(1), 1000)
    assert memory.gradients == 4000
    assert memory.optimiser == 8000


@pytest.mark.parametrize("name", ["gpt2", "opt", "opt-post", "llama", "neox-parallel"])
@pytest.mark.parametrize("tokens", [16, 64])
def test_activations_are_about_what_autograd_keeps(name: str, tokens: int):
    model = base_of(make(name)).train()
    taken = saved_for_backward(model, tokens, batch=4)
    config: Any = model.config
    memory = TrainingStep(config, 4, tokens, "32").memory(range(6), 0)
    assert 0.7 < memory.activations / taken < 1.5


def test_reduced_precision_halves_activations():
    sized = [
        TrainingStep(gpt2_xl(), 2, 64, precision).memory(range(2), 0)
        for precision in ("32", "bf16")
    ]
    assert sized[1].activations * 2 == sized[0].activations
    assert sized[1].weights > sized[0].weights


@pytest.mark.parametrize("name", MODELS)
def test_an_untied_head_counts_where_it_stays(name: str):
    model: Any = make(name)
    everything = sum(parameter.numel() for parameter in model.parameters())
    full = sizes.count(model.config, range(6)).params_full
    assert sizes.lm_head_params(model.config) == everything - full
    with_head, without = (
        TrainingStep(model.config, 1, 8, "32", lm_head=lm_head).memory(range(6), 0)
        for lm_head in (True, False)
    )
    assert (with_head.weights, without.weights) == (4 * everything, 4 * full)


def test_logits_over_the_vocabulary_count_thrice():
    steps = [TrainingStep(gpt2_xl(), 16, 400, "32", logits=n) for n in (0, 16 * 400)]
    few, all_of_them = (step.memory(range(1), 0) for step in steps)
    assert all_of_them.activations - few.activations == 3 * 16 * 400 * 50257 * 4
    fits = [step.largest_keep(16 * 10**9) for step in steps]
    assert fits[1] < fits[0]


@pytest.mark.parametrize("train_all", [True, False])
def test_largest_keep_fits_and_one_more_does_not(train_all: bool):
    step = TrainingStep(gpt2_xl(), 16, 64, "32")
    available = 8 * 10**9
    keep = step.largest_keep(available, train_all=train_all)
    needs = []
    for count in (keep, keep + 1):
        trained = sizes.count(gpt2_xl(), range(count)).params_kept if train_all else 0
        needs.append(step.memory(range(count), trained).total)
    assert needs[0] <= available < needs[1]
    assert step.largest_keep(10**6, train_all=train_all) == 0


def test_available_memory_is_within_the_machine():
    import psutil

    assert 0 < sizes.available_memory() <= psutil.virtual_memory().total
    assert sizes.available_memory("auto") > 0


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "1000", "memory.current": "300", "memory.stat": "inactive_file 50"}, 750),
        ({"memory.max": "max", "memory.current": "300", "memory.stat": "inactive_file 50"}, None),
        ({"memory.max": "100", "memory.current": "300", "memory.stat": "anon 1"}, 0),
        (
            {
                "memory/memory.limit_in_bytes": "1000",
                "memory/memory.usage_in_bytes": "400",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100",
            },
            700,
        ),
        ({}, None),
    ],
)
def test_container_limits(tmp_path: Path, files: dict[str, str], left: int | None):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert sizes.cgroup_left(tmp_path) == left
