"""What a run will take is known from the model's configuration alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from slimcls import plan
from slimcls.backbones import sizes
from slimcls.backbones.sources import Source
from slimcls.config import RunConfig
from slimcls.errors import UserError

FULL, TWO = 1557611200, 143534400


@pytest.fixture(scope="module")
def gpt2_xl(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A folder with a configuration and nothing else."""
    from transformers import GPT2Config

    folder = tmp_path_factory.mktemp("gpt2-xl")
    GPT2Config(n_embd=1600, n_layer=48, n_head=25).save_pretrained(folder)
    return Source("gpt2-xl", folder, "sha256:0", (), "")


def planned(source: Source, keep: int, **more: Any) -> plan.Plan:
    settings = {"batch_size": 1, "precision": "32", "accelerator": "cpu", "mode": "cls"} | more
    config = RunConfig(dataset="sst2", keep=keep, layers=list(range(keep)), **settings)
    return plan.make_plan(config, source, 1, 2)


@pytest.fixture
def sixteen_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "available_memory", lambda device: 16_000_000_000)


def test_gpt2_xl_in_full(gpt2_xl: Source, sixteen_gb: None) -> None:
    found = planned(gpt2_xl, 48)
    assert found.sizes.params_kept == found.sizes.params_full == FULL
    assert found.params_trained == FULL + 2 * 1600
    assert found.memory.total == pytest.approx(25e9, rel=0.01)
    assert 24 < found.fitting_keep < 48
    with pytest.raises(UserError) as fault:
        found.check(force=False)
    message = str(fault.value)
    assert "--keep 48 of gpt2-xl needs 25 GB to train, 16 GB are free" in message
    assert f"--keep {found.fitting_keep} would fit" in message
    assert "--force" in message
    found.check(force=True)
    planned(gpt2_xl, found.fitting_keep).check(force=False)
    with pytest.raises(UserError):
        planned(gpt2_xl, found.fitting_keep + 1).check(force=False)


@pytest.mark.parametrize(
    ("more", "positions"),
    [
        ({"mode": "cls"}, 0),
        ({"mode": "lm", "lm_loss": "label-words"}, 0),
        ({"mode": "lm", "lm_loss": "label-token"}, 4),
        ({"mode": "lm", "lm_loss": "sequence"}, 4 * 30),
    ],
)
def test_the_loss_over_the_vocabulary_is_in_the_plan(
    gpt2_xl: Source, sixteen_gb: None, more: dict[str, Any], positions: int
) -> None:
    config = RunConfig(dataset="sst2", keep=2, layers=[0, 1], batch_size=4, precision="32",
                       accelerator="cpu", **more)  # fmt: skip
    blocks = plan.make_plan(dataclasses.replace(config, mode="cls", lm_loss=None), gpt2_xl, 30, 2)
    found = plan.make_plan(config, gpt2_xl, 30, 2).memory.activations
    assert found - blocks.memory.activations == 3 * positions * 50257 * 4


def test_two_layers_in_words(gpt2_xl: Source, sixteen_gb: None) -> None:
    found = planned(gpt2_xl, 2)
    found.check(force=False)
    first, second, third = found.describe().splitlines()
    assert first == "plan: gpt2-xl, 2 of 48 layers kept (0,1)"
    assert "1,557,611,200 full, 143,534,400 kept, 90.8% saved" in second
    assert "embeddings are 57% of what is kept" in second
    assert "weights 0.57 GB, gradients 0.57 GB, optimiser 1.15 GB" in third
    assert "free on this machine: 16 GB" in third


def test_nothing_fits(gpt2_xl: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "available_memory", lambda device: 1_000_000)
    found = planned(gpt2_xl, 2)
    assert found.fitting_keep == 0
    with pytest.raises(UserError) as fault:
        found.check(force=False)
    assert "would fit" not in str(fault.value)


@pytest.mark.parametrize(
    ("more", "trained"),
    [
        ({}, TWO + 2 * 1600),
        ({"mode": "lm"}, TWO),
        ({"tune": "head"}, 2 * 1600),
        # A block, the final norm, the head.
        ({"tune": "last-1"}, (FULL - TWO) // 46 + 2 * 1600 + 2 * 1600),
    ],
)
def test_what_is_trained(
    gpt2_xl: Source, sixteen_gb: None, more: dict[str, Any], trained: int
) -> None:
    found = planned(gpt2_xl, 2, **more)
    assert found.params_trained == trained
    assert found.memory.weights == 4 * TWO
    assert found.memory.gradients == 4 * trained
    assert found.memory.optimiser == 8 * trained


def test_lora_trains_little_and_lets_more_fit(gpt2_xl: Source, sixteen_gb: None) -> None:
    found = planned(gpt2_xl, 48, tune="lora")
    assert 0 < found.params_trained < FULL / 100
    found.check(force=False)
    assert found.fitting_keep == 48


def test_the_plan_counts_what_the_run_trains(tmp_path: Path) -> None:
    """The same number as on the model that is trained, in every family."""
    from slimcls import tuning
    from slimcls.backbones import sources
    from slimcls.backbones.truncate import open_cut, read_config

    for family in ("tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"):
        source = sources.find(family, None)
        for mode, tune in [("cls", "full"), ("lm", "full"), ("cls", "lora"), ("lm", "last-1")]:
            config = RunConfig(dataset="x", mode=mode, tune=tune, keep=2, layers=[0, 1])
            head = "lm" if mode == "lm" else "classification"
            model = open_cut(source, (0, 1), head=head, labels=["a", "b", "c"], pad_token_id=0)
            tuning.choose_trained(model, config)
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            assert plan.count_trained(read_config(source), config, 3) == trained, (family, mode)
