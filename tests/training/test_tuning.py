"""Each way of tuning trains what it says, leaves the rest as it was, and keeps only that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from slimcls.backbones import sources
from slimcls.backbones.families import blocks_of, family_of, final_norm_of
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.modes import make_mode
from slimcls.config import RunConfig
from slimcls.data.batches import Batch, Items
from slimcls.log import Log
from slimcls.training import tuning
from slimcls.training.learner import Learner
from slimcls.training.left import BEST, LAST
from slimcls.training.loop import Work, fit

FAMILIES = ["tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"]
WORDS = [[300], [301], [302]]
KEEP = 3


def settings(family: str, tune: str, mode: str = "cls", **more: Any) -> RunConfig:
    return RunConfig(
        dataset="made up", model=family, mode=mode, tune=tune, keep=KEEP, layers=[0, 1, 2],
        lr=1e-2, epochs=1, batch_size=4, precision="32", accelerator="cpu", **more,
    )  # fmt: skip


def opened(family: str, mode: str = "cls") -> Any:
    return open_cut(
        sources.find(family, None), range(KEEP), head="lm" if mode == "lm" else "classification",
        labels=["a", "b", "c"], seed=3, pad_token_id=0,
    )  # fmt: skip


def trained_names(model: Any) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def names_under(model: Any, *modules: Any) -> set[str]:
    """Names of the parameters that are in one of the modules."""
    inside = {id(p) for module in modules if module is not None for p in module.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in inside}


def items() -> Items:
    generator = torch.Generator().manual_seed(1)
    ids = [torch.randint(5, 500, (3 + i,), generator=generator).tolist() for i in range(8)]
    return Items(ids, [i % 3 for i in range(8)])


def train(model: Any, config: RunConfig, folder: Path) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    mode = make_mode(config.mode, config.lm_loss, WORDS)
    fit(Work(model, mode, config, items(), items(), [], folder, Log()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["cls", "lm"])
def test_full_trains_everything(family: str, mode: str) -> None:
    model = opened(family, mode)
    assert tuning.choose_trained(model, settings(family, "full", mode)) is model
    assert trained_names(model) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("family", FAMILIES)
def test_head_trains_the_head_only(family: str) -> None:
    model = opened(family)
    tuning.choose_trained(model, settings(family, "head"))
    assert trained_names(model) == {"score.weight"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["cls", "lm"])
@pytest.mark.parametrize("count", [1, 2, KEEP])
def test_last_blocks(family: str, mode: str, count: int) -> None:
    model = opened(family, mode)
    tuning.choose_trained(model, settings(family, f"last-{count}", mode))
    head = [model.score] if mode == "cls" else []
    expected = names_under(model, *blocks_of(model)[-count:], final_norm_of(model), *head)
    assert trained_names(model) == expected


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["cls", "lm"])
def test_lora_trains_its_update_of_every_named_projection(family: str, mode: str) -> None:
    model = opened(family, mode)
    tuning.choose_trained(model, settings(family, "lora", mode))
    found = trained_names(model)
    updates = {name for name in found if ".lora_A." in name or ".lora_B." in name}
    assert found - updates == ({"score.weight"} if mode == "cls" else set())
    targets = family_of(model.config).lora_targets
    assert len(updates) == 2 * KEEP * len(targets)
    for target in targets:
        assert sum(name.split(".lora_")[0].endswith(f".{target}") for name in updates) == 2 * KEEP


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tune", ["lora", "head", "last-1"])
def test_training_changes_the_trained_and_no_bit_of_the_rest(
    family: str, tune: str, tmp_path: Path
) -> None:
    model, config = opened(family), settings(family, tune)
    adapted = tuning.choose_trained(model, config)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train(model, config, tmp_path)
    after = dict(model.named_parameters())
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed <= trained_names(model)
    # A key's bias has no gradient: softmax does not see it.
    assert changed >= {name for name in trained_names(model) if not name.endswith("k_proj.bias")}
    assert load_file(tmp_path / "checkpoints" / BEST).keys() == trained_names(model)
    assert all(p.isfinite().all() for p in tuning.merge(adapted).parameters())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["cls", "lm"])
def test_merged_updates_compute_what_unmerged_ones_do(family: str, mode: str) -> None:
    model, config = opened(family, mode), settings(family, "lora", mode)
    adapted = tuning.choose_trained(model, config)
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data.copy_(noise * 0.1)
    ids = torch.arange(5, 25)[None]
    plain = opened(family, mode).eval()
    with torch.no_grad():
        unmerged = model.eval()(input_ids=ids).logits
        merged_model = tuning.merge(adapted)
        merged = merged_model(input_ids=ids).logits
        original = plain(input_ids=ids).logits
    torch.testing.assert_close(merged, unmerged, atol=1e-5, rtol=0)
    assert (merged - original).abs().max() > 1e-3
    assert merged_model.state_dict().keys() == plain.state_dict().keys()
    assert type(merged_model) is type(plain)


def test_the_seed_draws_the_updates_and_leaves_the_global_generator() -> None:
    torch.manual_seed(11)
    untouched = torch.rand(1)
    torch.manual_seed(11)
    drawn = []
    for seed in (0, 0, 1):
        model = opened("tiny-gpt2")
        tuning.choose_trained(model, settings("tiny-gpt2", "lora", seed=seed))
        drawn.append(next(p for n, p in model.named_parameters() if ".lora_A." in n))
    assert torch.rand(1).equal(untouched)
    assert drawn[0].equal(drawn[1])
    assert not drawn[0].equal(drawn[2])


@pytest.mark.parametrize("tune", ["head", "last-1", "lora", "full"])
def test_what_is_not_trained_computes_as_in_use(
    tune: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, bool]] = []
    step = Learner.training_step

    def spy(self: Learner, batch: Batch, batch_idx: int) -> torch.Tensor:
        dropouts = {n: m for n, m in self.model.named_modules() if isinstance(m, torch.nn.Dropout)}
        seen.append({name: module.training for name, module in dropouts.items()})
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Learner, "training_step", spy)
    model, config = opened("tiny-gpt2"), settings("tiny-gpt2", tune)
    tuning.choose_trained(model, config)
    train(model, config, tmp_path)
    in_blocks = [
        [on for name, on in step_.items() if f".h.{block}." in name]
        for step_ in seen
        for block in range(KEEP)
    ]
    assert len(seen) == 2
    assert all(in_blocks)
    acting = {"head": [0, 0, 0], "last-1": [0, 0, 1], "lora": [1, 1, 1], "full": [1, 1, 1]}[tune]
    for place, dropouts in enumerate(in_blocks):
        assert any(dropouts) == bool(acting[place % KEEP])


def test_the_checkpoint_of_a_stopped_run_holds_what_is_trained(tmp_path: Path) -> None:
    """A frozen backbone comes from its source again."""
    config = settings("tiny-gpt2", "last-1", checkpoint_seconds=0.0)
    model = opened("tiny-gpt2")
    tuning.choose_trained(model, config)
    kept: dict[str, Any] = {}
    unlink = Path.unlink

    def spy(self: Path, missing_ok: bool = False) -> None:
        if self.name == LAST:
            kept.update(torch.load(self, weights_only=True))
        unlink(self, missing_ok)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", spy)
        train(model, config, tmp_path)
    assert kept["state_dict"].keys() == {f"model.{name}" for name in trained_names(model)}
