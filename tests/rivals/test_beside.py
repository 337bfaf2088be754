"""TF-IDF beside a run: the same items, the same figure as the baseline, a paired difference."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import WORDS, made_up_rows, write_csv

from slimcls.baseline import BaselineConfig, baseline
from slimcls.config import RunConfig
from slimcls.data.dataset import read_dataset
from slimcls.data.splits import Splits
from slimcls.errors import UserError
from slimcls.rivals.beside import held_against, words_logits
from slimcls.runs.results import read_result
from slimcls.session import probed
from slimcls.session.inputs import draw_items
from slimcls.statistics import SeedItems, paired_difference
from slimcls.train import train
from slimcls.training import frozen

FAST: dict[str, Any] = {
    "model": "tiny-gpt2", "mode": "cls", "keep": 1, "shots": 30, "epochs": 1, "accelerator": "cpu",
    "save_model": "none",
}  # fmt: skip


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As all tests have it, but a third of the labels are wrong: nobody is right by ease."""
    folder, chance = tmp_path_factory.mktemp("data") / "noisy", random.Random(0)
    folder.mkdir()
    for name, count, seed in (("train", 300, 1), ("test", 60, 2)):
        rows = [
            (text, chance.choice(list(WORDS)) if chance.random() < 0.5 else label)
            for text, label in made_up_rows(count, seed)
        ]
        write_csv(folder / f"{name}.csv", rows)
    return folder


def splits_of(folder: Path) -> Splits:
    return draw_items(RunConfig(dataset=str(folder), **FAST), read_dataset(str(folder)))


def test_a_run_says_what_the_baseline_says(noisy: Path, tmp_path: Path) -> None:
    run = train(RunConfig(dataset=str(noisy), out=str(tmp_path), **FAST))
    (rival,) = baseline(
        BaselineConfig(dataset=str(noisy), out=str(tmp_path), method="tfidf", **FAST)
    )
    assert run.tfidf_accuracy == rival.test_accuracy
    right = [
        (table.label == table.prediction).to_numpy()
        for table in (pd.read_parquet(r.folder / "predictions.parquet") for r in (run, rival))
    ]
    ours, theirs = (SeedItems(0, np.arange(60), flags) for flags in right)
    expected = paired_difference([ours], [theirs])
    assert run.over_tfidf == pytest.approx(run.test_accuracy - rival.test_accuracy)
    assert (run.over_tfidf_low, run.over_tfidf_high) == pytest.approx(expected.interval())
    assert read_result(run.folder) == run
    assert "fitting TF-IDF" in (run.folder / "log.txt").read_text()


def test_it_is_left_out_and_changes_nothing_else(noisy: Path, tmp_path: Path) -> None:
    with_it = train(RunConfig(dataset=str(noisy), out=str(tmp_path / "a"), **FAST))
    without = train(RunConfig(dataset=str(noisy), out=str(tmp_path / "b"), baseline=False, **FAST))
    assert without.folder.name == with_it.folder.name
    assert without.tfidf_accuracy is without.over_tfidf is None
    assert without.test_accuracy == with_it.test_accuracy
    assert read_result(without.folder) == without
    both = [(r.folder / "predictions.parquet").read_bytes() for r in (with_it, without)]
    assert both[0] == both[1]


@pytest.mark.parametrize("mode", ["cls", "p-cls", "lm"])
def test_a_probe_stands_beside_a_run_on_items_that_it_was_fitted_to(
    mode: str, noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (frozen, probed):
        monkeypatch.setattr(module, "cache_dir", lambda: tmp_path / "cache")
    settings: dict[str, Any] = {"dataset": str(noisy)} | FAST | {"mode": mode}
    before = train(RunConfig(out=str(tmp_path / "a"), **settings))
    assert before.probe_accuracy is before.read_layers is None
    assert not (tmp_path / "cache").exists(), "nothing is computed for it"
    (probe,) = baseline(BaselineConfig(out=str(tmp_path / "a"), method="probe", **settings))
    monkeypatch.setattr(
        "slimcls.rivals.probe.Probe.__init__", lambda *_: pytest.fail("fitted again")
    )
    run = train(RunConfig(out=str(tmp_path / "b"), **settings))
    assert run.folder.name == before.folder.name
    assert (run.probe_accuracy, run.read_layers) == (probe.test_accuracy, probe.read_layers)
    assert run.over_probe == pytest.approx(run.test_accuracy - probe.test_accuracy)
    assert run.over_probe_low < run.over_probe < run.over_probe_high
    assert read_result(run.folder) == run
    other = train(RunConfig(out=str(tmp_path / "b"), **settings | {"seed": 1}))
    assert other.probe_accuracy is None, "its training texts are others"


def test_the_difference_is_the_models(noisy: Path) -> None:
    splits = splits_of(noisy)
    truth = torch.nn.functional.one_hot(torch.tensor([i.label for i in splits.test]), 3).float()
    rival = words_logits(splits, list(WORDS))
    perfect, wrong = (held_against(rival, splits, logits) for logits in (truth, -truth))
    assert perfect.accuracy == wrong.accuracy
    assert perfect.ahead == pytest.approx(1 - perfect.accuracy)
    assert wrong.ahead == pytest.approx(-wrong.accuracy)
    assert wrong.high < 0 < perfect.low
    assert perfect.low <= perfect.ahead <= perfect.high


def test_texts_without_a_word_do_not_end_a_run(tmp_path: Path) -> None:
    rows = [(f"{'+-'[i % 2]} {'!' * (i // 2 + 1)}", "ab"[i % 2]) for i in range(60)]
    path = write_csv(tmp_path / "signs.csv", rows)
    settings = FAST | {"shots": "all"}
    splits = draw_items(RunConfig(dataset=str(path), **settings), read_dataset(str(path)))
    with pytest.raises(UserError, match="no training text has a word"):
        words_logits(splits, ["a", "b"])
    run = train(RunConfig(dataset=str(path), out=str(tmp_path / "runs"), **settings))
    assert run.tfidf_accuracy is None
    assert "no TF-IDF beside it" in (run.folder / "log.txt").read_text()
