"""One training of several depths: a run at each, which is like any other and says how it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from slimcls import load, runs
from slimcls.config import RunConfig
from slimcls.data.batches import Batch
from slimcls.errors import UserError
from slimcls.reporting.evidence import gather
from slimcls.rivals import beside
from slimcls.runs.results import read_result
from slimcls.session.handover import megabytes
from slimcls.train import train
from slimcls.training.learner import Learner

DEPTHS = [1, 2, 5]


def settings(toy: Path, out: Path, **more: Any) -> RunConfig:
    usual: dict[str, Any] = {
        "model": "tiny-llama", "mode": "p-cls", "exits": DEPTHS, "shots": 30, "epochs": 2,
        "lr": 1e-3, "accelerator": "cpu", "baseline": False,
    }  # fmt: skip
    return RunConfig(dataset=str(toy), out=str(out), **(usual | more))


@pytest.fixture(scope="module")
def out(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of one training."""
    out = tmp_path_factory.mktemp("runs")
    train(settings(toy, out))
    return out


def by_depth(out: Path) -> dict[int, Path]:
    """The finished runs of a folder."""
    found = runs.load(out)
    return {int(keep): Path(folder) for keep, folder in zip(found.keep, found.folder, strict=True)}


def test_each_depth_is_a_run(toy: Path, out: Path) -> None:
    found = by_depth(out)
    assert sorted(found) == DEPTHS
    for depth, folder in found.items():
        result = read_result(folder)
        assert result is not None
        assert result.config.exits == DEPTHS
        assert result.config.layers == list(range(depth))
        assert result.outcome.run == folder.name
        assert f"-k{depth}-exits-" in folder.name
        # What the result says lies in model/ before the result itself is there.
        assert result.outcome.model_mb == megabytes(folder / "model") > 0
        assert train(settings(toy, out, keep=depth)) == result, "its own command finds it"
    rows = runs.load(out).set_index("keep")
    assert rows.params_kept[1] < rows.params_kept[2] < rows.params_kept[5]
    assert rows.params_trained.nunique() == rows.train_seconds.nunique() == 1
    curves = pd.read_csv(found[5] / "curves.csv").set_index("epoch")
    best = curves.loc[rows.best_epoch[1]]
    assert rows.validation_accuracy[1] == pytest.approx(best["validation_accuracy_at_1"])
    assert rows.validation_macro_f1[2] == pytest.approx(best["validation_macro_f1_at_2"])
    assert rows.validation_accuracy[5] == pytest.approx(best["validation_accuracy"])
    scores = ["validation_accuracy_at_1", "validation_accuracy_at_2", "validation_accuracy"]
    assert curves[scores].mean(axis=1).idxmax() == rows.best_epoch[5], "best in the mean"


def test_the_rival_of_all_depths_is_fitted_once(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, fit = [], beside.words_logits
    monkeypatch.setattr(beside, "words_logits", lambda *args: fitted.append(1) or fit(*args))
    train(settings(toy, tmp_path, epochs=1, save_model="none", mode="cls", baseline=True))
    assert len(fitted) == 1
    assert runs.load(tmp_path).over_tfidf.notna().all()


def test_plain_transformers_opens_each_and_answers_alike(toy: Path, out: Path) -> None:
    texts = pd.read_csv(toy / "test.csv").text
    for depth, folder in by_depth(out).items():
        model = AutoModelForSequenceClassification.from_pretrained(folder / "model").eval()
        tokenizer = AutoTokenizer.from_pretrained(folder / "model")
        assert model.config.num_hidden_layers == depth
        predicted = pd.read_parquet(folder / "predictions.parquet")
        for place in (0, 7):
            row = predicted.iloc[place]
            with torch.no_grad():
                given = tokenizer(texts[int(row.id)], truncation=True, return_tensors="pt")
                heat = load(folder).confidence.temperature
                found = (model(**given).logits[0] / heat).softmax(0)
            np.testing.assert_allclose(found, row.probabilities, atol=1e-5)


def test_no_mean_holds_an_exit_and_a_cut_trained_alone(toy: Path, tmp_path: Path) -> None:
    train(settings(toy, tmp_path, epochs=1, save_model="none", mode="cls"))
    for seed in (0, 1):
        alone = settings(toy, tmp_path, exits=None, keep=2, epochs=1, seed=seed, mode="cls")
        train(alone)
    families = gather(runs.load(tmp_path)).runs.groupby("family").run.count().to_dict()
    assert families == {"cls": 2, "cls, exits 1,2,5": 3}


def stop(toy: Path, out: Path, at: int) -> None:
    """A training that dies at a step."""
    steps = 0
    step = Learner.training_step

    def dying(self: Learner, batch: Batch, batch_idx: int) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == at:
            raise KeyError("power cut")
        return step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "training_step", dying)
        with pytest.raises(KeyError, match="power cut"):
            train(settings(toy, out, checkpoint_seconds=0))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def assert_same_weights(out: Path, other: Path) -> None:
    runs_, others = by_depth(out), by_depth(other)
    assert runs_.keys() == others.keys()
    for depth, folder in runs_.items():
        mine, theirs = weights(folder), weights(others[depth])
        assert mine.keys() == theirs.keys()
        assert all(mine[name].equal(theirs[name]) for name in mine), f"{depth}: bit for bit"


@pytest.mark.fault("kills")
def test_going_on_gives_the_same_bits_at_each_depth(toy: Path, out: Path, tmp_path: Path) -> None:
    stop(toy, tmp_path, at=9)
    assert list(tmp_path.glob("*/checkpoints/last.ckpt"))
    assert not list(tmp_path.glob("*/result.parquet"))
    train(settings(toy, tmp_path))
    assert_same_weights(out, tmp_path)


def test_the_rows_in_use_give_the_same_bits_at_each_depth(
    toy: Path, out: Path, tmp_path: Path
) -> None:
    train(settings(toy, tmp_path, compact_vocabulary=False))
    assert_same_weights(out, tmp_path)


def test_a_shallow_exit_is_not_trained_by_itself(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--keep 2: --exits trains all depths at once: give"):
        train(settings(toy, tmp_path, keep=2))
    assert not list(tmp_path.glob("*/config.yaml"))


def test_a_part_of_the_layers_has_exits_too(toy: Path, tmp_path: Path) -> None:
    train(
        settings(
            toy, tmp_path, exits=[1], keep="all", select="sequential", mode="lm", epochs=1,
            save_model="none",
        )
    )  # fmt: skip
    assert sorted(by_depth(tmp_path)) == [1, 6]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"exits": []}, "depths from 1 up, ascending"),
        ({"exits": [0, 2]}, "depths from 1 up, ascending"),
        ({"exits": [4, 2]}, "depths from 1 up, ascending"),
        ({"exits": [2, 2]}, "depths from 1 up, ascending"),
        ({"exits": [2]}, "that is --keep alone"),
        ({"exits": [2, 4], "keep": 3}, "deeper than --keep 3"),
        ({"exits": [2, 4], "layers": [0, 1, 5]}, "deeper than --keep 3"),
        ({"exits": [2, 4], "tune": "lora"}, "--tune lora: not with --exits"),
        ({"exits": [2, 4], "tune": "head"}, "--tune head: not with --exits"),
        ({"exits": [2, 4], "devices": 2, "strategy": "ddp"}, "--devices 2: not with --exits"),
        ({"exits": [2, 4], "epochs": 0}, "--epochs 0: not with --exits"),
        ({"exits": [2, 4], "compile": True}, "--compile: not with --exits"),
        ({"exits": [2, 4], "teacher": "RUN"}, "--teacher RUN: not with --exits"),
        ({"exits": [2, 4], "mode": "lm", "lm_loss": "sequence"}, "--lm-loss sequence: not with"),
    ],
)
def test_what_does_not_go_together(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        RunConfig(dataset="made up", **more)


def test_the_deepest_may_be_left_out() -> None:
    assert RunConfig(dataset="made up", keep=8, exits=[2, 4]).exits == [2, 4, 8]
    assert RunConfig(dataset="made up", exits=[2, 4]).keep == 4
    assert RunConfig(dataset="made up", layers=[0, 3, 5], exits=[1]).exits == [1, 3]
