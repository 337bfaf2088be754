"""model/ in half the bytes, or in several files: what is said is what was saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import slimcls
from slimcls.backbones import saved
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.runs.schema import RunResult
from slimcls.session.again import drawn_again
from slimcls.train import train


def made(toy: Path, out: Path, **settings: Any) -> RunResult:
    common: dict[str, Any] = {
        "model": "tiny-llama", "mode": "p-cls", "keep": 2, "shots": 16, "epochs": 1, "lr": 3e-3,
        "validation_size": 30, "accelerator": "cpu", "baseline": False,
    }  # fmt: skip
    return train(RunConfig(dataset=str(toy), out=str(out), **(common | settings)))


def types(folder: Path) -> set[str]:
    """The types of numbers in all files of weights."""
    found = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            found |= {str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    return found


def rows(result: RunResult, name: str) -> list[dict[str, Any]]:
    return pq.read_table(result.folder / name).to_pylist()


@pytest.fixture(scope="module")
def plain(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return made(toy, tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(
    ("dtype", "stored", "settings"),
    [
        ("float16", "F16", {}),
        ("bfloat16", "BF16", {}),
        ("bfloat16", "BF16", {"mode": "lm"}),
        ("bfloat16", "BF16", {"mode": "lm", "lm_loss": "sequence"}),
        ("bfloat16", "BF16", {"mode": "cls", "tune": "head"}),
        ("float16", "F16", {"mode": "cls", "exits": [1, 2]}),
    ],
)
def test_figures_are_those_of_the_weights_that_are_saved(
    dtype: str, stored: str, settings: dict[str, Any], toy: Path, tmp_path: Path
) -> None:
    result = made(toy, tmp_path, save_dtype=dtype, **settings)
    model = result.folder / "model"
    assert types(model) == {stored}
    assert json.loads((model / "config.json").read_text())["dtype"] == dtype
    assert f"Weights are in {dtype}" in (model / "README.md").read_text()
    classifier = slimcls.load(result.folder)
    assert {p.dtype for p in classifier.model.parameters()} == {torch.float32}
    texts = [item.text for item in drawn_again(result.folder, None).splits.test]
    predicted = rows(result, "predictions.parquet")
    again = classifier.predict(texts)
    assert [one.label for one in again] == [row["prediction"] for row in predicted]
    shares = np.array([list(one.probabilities.values()) for one in again])
    told = np.array([row["probabilities"] for row in predicted])
    np.testing.assert_allclose(shares, told, rtol=0, atol=1e-6)
    validated = rows(result, "validation.parquet")
    right = [classifier.labels[int(np.argmax(row["logits"]))] == row["label"] for row in validated]
    assert result.outcome.validation_accuracy == pytest.approx(np.mean(right))


def test_a_model_takes_half_and_rounding_is_no_pretence(
    plain: RunResult, toy: Path, tmp_path: Path
) -> None:
    half = made(toy, tmp_path, save_dtype="bfloat16")
    sizes = [
        sum(path.stat().st_size for path in (run.folder / "model").glob("*.safetensors"))
        for run in (plain, half)
    ]
    assert sizes[1] < 0.55 * sizes[0]
    assert plain.outcome.run != half.outcome.run, "they are different runs"
    pairs = zip(*(rows(run, "predictions.parquet") for run in (plain, half)), strict=True)
    apart = [np.abs(np.subtract(a["probabilities"], b["probabilities"])).max() for a, b in pairs]
    assert 1e-6 < max(apart) < 0.05


def test_plain_transformers_opens_it(toy: Path, tmp_path: Path) -> None:
    result = made(toy, tmp_path, mode="cls", save_dtype="float16")
    texts = [item.text for item in drawn_again(result.folder, None).splits.test][:8]
    ours = slimcls.load(result.folder)
    opened: Any = AutoModelForSequenceClassification.from_pretrained(result.folder / "model")
    assert opened.dtype == torch.float16
    wanted = ours.logits(ours.encoder.encode(texts).ids)
    for text, row in zip(texts, wanted, strict=True):
        ids = torch.tensor(ours.encoder.encode([text]).ids)
        found = opened.float()(ids).logits[0]
        torch.testing.assert_close(found, row, atol=1e-4, rtol=0)


def test_numbers_out_of_range_are_refused() -> None:
    model = torch.nn.Linear(2, 2)
    with torch.no_grad():
        model.weight[0, 0] = 1e5
    with pytest.raises(UserError, match="--save-dtype float16: weight holds numbers beyond"):
        saved.round_weights(model, torch.float16)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{}, {"mode": "lm", "lm_loss": "sequence"}])
def test_many_weights_go_into_several_files(
    settings: dict[str, Any], toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(toy, tmp_path / "whole", **settings)
    monkeypatch.setattr(saved, "SHARD", 50_000)
    parted = made(toy, tmp_path / "parted", **settings)
    files = sorted((parted.folder / "model").glob("*.safetensors"))
    assert len(files) > 1
    assert len(list((whole.folder / "model").glob("*.safetensors"))) == 1
    texts = ["rain and wind", "bread and salt"]
    one, other = (slimcls.load(run.folder).predict(texts) for run in (whole, parted))
    assert one == other
    alone = "lm_loss" not in settings
    factory = AutoModelForSequenceClassification if alone else AutoModelForCausalLM
    variant = None if alone else saved.NEEDS_PROMPT
    opened: Any = factory.from_pretrained(parted.folder / "model", variant=variant)
    ours = slimcls.load(parted.folder).model.state_dict()
    assert all(torch.equal(ours[name], found) for name, found in opened.state_dict().items())
    files[0].unlink()
    with pytest.raises(UserError, match=r"not there|is missing|layers, not"):
        slimcls.load(parted.folder)
