"""Training on the mean over tokens, and what is handed over: a plain model that averages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import slimcls
from slimcls.backbones import sources
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.modes import Classification, OfTheMean, make_mode
from slimcls.config import RunConfig
from slimcls.data.batches import collate
from slimcls.errors import UserError
from slimcls.train import train

FAST: dict[str, Any] = {
    "mode": "cls", "keep": 2, "shots": 20, "epochs": 2, "accelerator": "cpu", "pool": "mean",
    "baseline": False,
}  # fmt: skip


@pytest.mark.parametrize("family", ["tiny-gpt2", "tiny-opt", "tiny-llama"])
def test_the_head_reads_the_mean_of_the_real_tokens(family: str) -> None:
    model: Any = open_cut(
        sources.find(family, None), range(2), head="classification", labels=["a", "b"]
    )
    texts = [[7, 8, 9, 10, 11], [12, 13], [14]]
    batch = collate([(place, ids, place % 2) for place, ids in enumerate(texts)], pad_id=0)
    mode = make_mode("cls", None, [], "mean")
    base = model.base_model
    means = torch.stack(
        [
            base(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0].mean(0)
            for ids in texts
        ]
    )
    wanted = means @ model.score.weight.T
    torch.testing.assert_close(mode.logits(model, batch, None)[0], wanted, atol=1e-5, rtol=1e-5)
    loss = functional.cross_entropy(wanted, torch.tensor([0, 1, 0]))
    torch.testing.assert_close(mode.loss(model, batch, None), loss, atol=1e-5, rtol=1e-5)
    assert type(make_mode("cls", None, [])) is Classification
    assert type(mode) is OfTheMean


@pytest.mark.parametrize(
    "more",
    [
        {"model": "tiny-gpt2"},
        {"model": "tiny-llama", "tune": "lora"},
        {"model": "tiny-opt", "tune": "last-1", "compact_vocabulary": False},
        {"model": "tiny-llama", "save_dtype": "bfloat16"},
    ],
    ids=lambda more: "-".join(map(str, more.values())),
)
def test_what_is_handed_over_is_plain_and_is_what_was_tested(
    more: dict[str, Any], toy: Path, tmp_path: Path
) -> None:
    result = train(RunConfig(dataset=str(toy), out=str(tmp_path), **FAST | more))
    log = (result.folder / "log.txt").read_text()
    assert "layers kept (0,1), and one more that averages" in log
    assert f"{result.outcome.params_kept:,} kept" in log
    folder = result.folder / "model"
    plain = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    assert plain.config.num_hidden_layers == 3
    assert sum(p.numel() for p in plain.base_model.parameters()) == result.outcome.params_kept
    table = pd.read_parquet(result.folder / "predictions.parquet")
    opened = slimcls.load(result.folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [f"rain and wind {number}" for number in range(12)]
    with torch.no_grad():
        said = [plain(**tokenizer(text, return_tensors="pt")).logits[0] for text in texts]
    assert [one.label for one in opened.predict(texts)] == [
        plain.config.id2label[one.argmax().item()] for one in said
    ]
    assert (table.label == table.prediction).mean() == result.outcome.test_accuracy
    scored = pd.read_parquet(result.folder / "validation.parquet")
    best = [max(range(len(row)), key=row.__getitem__) for row in scored.logits]
    right = [opened.labels[place] for place in best] == scored.label
    assert right.mean() == pytest.approx(result.outcome.validation_accuracy)
    card = (folder / "README.md").read_text()
    assert "One more layer stands behind those and averages" in card
    assert "more chose the epoch" in card


def test_it_says_what_training_saw(toy: Path, tmp_path: Path) -> None:
    """The best epoch's accuracy on validation, as training measured it, but for near ties."""
    config = RunConfig(dataset=str(toy), out=str(tmp_path), model="tiny-llama", **FAST)
    result = train(config)
    curves = pd.read_csv(result.folder / "curves.csv")
    assert result.outcome.validation_accuracy == pytest.approx(
        curves.validation_accuracy.max(), abs=0.02
    )
    head = load_file(result.folder / "model" / "model.safetensors")["score.weight"]
    # A coordinate a class, and the constant's.
    assert ((head != 0).sum(1) <= 2).all()


def test_it_can_teach_and_be_taught(toy: Path, tmp_path: Path) -> None:
    settings = FAST | {"dataset": str(toy), "out": str(tmp_path), "model": "tiny-gpt2"}
    teacher = train(RunConfig(**settings | {"keep": 3, "epochs": 1}))
    taught = train(RunConfig(**settings, teacher=str(teacher.folder), unlabelled="rest"))
    assert taught.outcome.taught.startswith("taught by 3 layers, cls")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"mode": "p-cls"}, "--pool mean: only --mode cls has it, not p-cls"),
        ({"exits": [1, 2]}, "--pool mean: not with --exits"),
        ({"tune": "head"}, "--pool mean: not with --tune head; slimcls baseline --method mean-pro"),
        ({"epochs": 0}, "--pool mean: not with --epochs 0; slimcls baseline --method mean-probe"),
        ({"save_dtype": "float16"}, "beyond --save-dtype float16; use bfloat16"),
        ({"model": "tiny-neox"}, "GPT-NeoX: its attention cannot be made even"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_does_not_go_together_is_refused(
    more: dict[str, Any], said: str, toy: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        train(
            RunConfig(dataset=str(toy), out=str(tmp_path), **{"model": "tiny-gpt2"} | FAST | more)
        )
    assert not list(tmp_path.iterdir())
