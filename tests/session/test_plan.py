"""What a run will take is known from the model's configuration alone."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from slimcls.backbones import sizes
from slimcls.backbones.sources import Source
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.session import plan

FULL, TWO = 1557611200, 143534400


@pytest.fixture(scope="module")
def gpt2_xl(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A folder with a configuration and nothing else."""
    from transformers import GPT2Config

    folder = tmp_path_factory.mktemp("gpt2-xl")
    GPT2Config(n_embd=1600, n_layer=48, n_head=25).save_pretrained(folder)
    return Source("gpt2-xl", folder, "sha256:0", (), "")


def planned(source: Source, keep: int, rows: int | None = None, **more: Any) -> plan.Plan:
    settings = {"batch_size": 1, "precision": "32", "accelerator": "cpu", "mode": "cls"} | more
    config = RunConfig(dataset="sst2", keep=keep, layers=list(range(keep)), **settings)
    return plan.make_plan(config, source, 1, 2, rows)


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


def test_the_rows_that_occur_are_all_that_is_trained(gpt2_xl: Source, sixteen_gb: None) -> None:
    whole, compact = planned(gpt2_xl, 2), planned(gpt2_xl, 2, 4000)
    spared = (50257 - 4000) * 1600
    assert compact.params_trained == whole.params_trained
    assert compact.memory.gradients == whole.memory.gradients - 4 * spared
    assert compact.memory.optimiser == whole.memory.optimiser - 8 * spared
    assert compact.memory.weights == whole.memory.weights + 4 * (2 * 4000 - 50257) * 1600
    states = [p.memory.gradients + p.memory.optimiser for p in (compact, whole)]
    assert states[0] / states[1] < 0.6
    assert "; 4,000 embedding rows occur and are trained" in compact.describe()
    assert "embedding rows" not in whole.describe()


def test_more_layers_fit_without_all_rows(gpt2_xl: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "available_memory", lambda device: 4_000_000_000)
    fit = [planned(gpt2_xl, 2, rows).fitting_keep for rows in (None, 4000)]
    assert 0 < fit[0] < fit[1]


@pytest.mark.parametrize(
    "more",
    [
        {"compact_vocabulary": False},
        {"mode": "lm", "lm_loss": "label-token"},
        {"mode": "lm", "lm_loss": "sequence"},
        {"tune": "lora"},
        {"tune": "head"},
        {"tune": "last-1"},
        {"precision": "16", "accelerator": "gpu"},
        {"devices": 2, "strategy": "ddp"},
    ],
)
def test_where_no_rows_are_spared(gpt2_xl: Source, sixteen_gb: None, more: dict[str, Any]) -> None:
    found = planned(gpt2_xl, 2, 4000, **more)
    assert found.rows is None
    assert found.memory == planned(gpt2_xl, 2, **more).memory
    assert planned(gpt2_xl, 2, 50257).rows is None


def test_the_page_on_options_says_where_no_rows_are_spared(
    gpt2_xl: Source, sixteen_gb: None
) -> None:
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| `--compact-vocabulary`")]
    needs = {"--lm-loss": {"mode": "lm"}, "--precision": {"accelerator": "gpu"}}
    listed = [words.split() for words in re.findall(r"`(--\S+ \S+)`", row)]
    for flag, value in listed:
        field = flag.removeprefix("--").replace("-", "_")
        more: dict[str, Any] = {
            field: int(value) if field in ("devices", "num_nodes") else value,
            "strategy": "ddp",
        }
        assert planned(gpt2_xl, 2, 4000, **(more | needs.get(flag, {}))).rows is None
    assert len(listed) == 8
    assert planned(gpt2_xl, 2, 4000, strategy="ddp").rows == 4000


def test_an_untied_head_is_spared_too(tmp_path: Path, sixteen_gb: None) -> None:
    from transformers import GPTNeoXConfig

    GPTNeoXConfig(hidden_size=64, num_hidden_layers=4, vocab_size=1000).save_pretrained(tmp_path)
    source = Source("neox", tmp_path, "sha256:0", (), "")
    for mode, matrices in (("cls", 1), ("lm", 2)):
        found = [planned(source, 2, rows, mode=mode).memory.gradients for rows in (None, 100)]
        assert found[0] - found[1] == 4 * 900 * 64 * matrices


def test_a_token_budget_in_the_plan(gpt2_xl: Source, sixteen_gb: None) -> None:
    config = RunConfig(dataset="sst2", keep=2, layers=[0, 1], accelerator="cpu", mode="cls")
    for budget, items in ((1000, 10), (1001, 11), (50, 1)):
        by_tokens = dataclasses.replace(config, batch_tokens=budget)
        by_items = dataclasses.replace(config, batch_size=items)
        found = [plan.make_plan(c, gpt2_xl, 100, 2).memory for c in (by_tokens, by_items)]
        assert found[0] == found[1]


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
    from slimcls.backbones import sources
    from slimcls.backbones.truncate import open_cut, read_config
    from slimcls.training import tuning

    for family in ("tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"):
        source = sources.find(family, None)
        for mode, tune in [("cls", "full"), ("lm", "full"), ("cls", "lora"), ("lm", "last-1")]:
            config = RunConfig(dataset="x", mode=mode, tune=tune, keep=2, layers=[0, 1])
            head = "lm" if mode == "lm" else "classification"
            model = open_cut(source, (0, 1), head=head, labels=["a", "b", "c"], pad_token_id=0)
            tuning.choose_trained(model, config)
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            assert plan.count_trained(read_config(source), config, 3) == trained, (family, mode)
