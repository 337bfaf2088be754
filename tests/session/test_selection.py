"""Which layers a run keeps when scores choose them, and what the run is called then."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from scored import model, source

from slimcls.backbones.selectors import even, random, sequential
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.config import RunConfig
from slimcls.data.dataset import read_dataset
from slimcls.errors import UserError
from slimcls.grids.attempts import Ended, attempt
from slimcls.layers import criteria, layer_scores, scoring
from slimcls.layers.samples import Sample, Texts, encode_sample
from slimcls.layers.selection import Selection
from slimcls.runs.results import read_result
from slimcls.score import main as score_main
from slimcls.session.inputs import draw_items
from slimcls.session.place import chooses_later
from slimcls.session.selection import selection_of
from slimcls.session.shared import Shared
from slimcls.storage.cache import cache_dir
from slimcls.train import main as train_main
from slimcls.train import train

QUICK: dict[str, Any] = {
    "model": "tiny-opt", "mode": "cls", "keep": 3, "shots": 6, "epochs": 0,
    "accelerator": "cpu", "save_model": "none",
}  # fmt: skip


def settings(toy: Path, out: Path, **more: Any) -> RunConfig:
    return RunConfig(dataset=str(toy), out=str(out), **(QUICK | more))


def own_sample(config: RunConfig, count: int) -> Sample:
    """The run's training texts, found without slimcls.session.selection."""
    items = draw_items(config, read_dataset(config.dataset)).train
    texts = Texts("toy", tuple(i.text for i in items), tuple(str(i.id) for i in items))
    return encode_sample(texts.drawn(count, config.seed), open_tokenizer(source(config.model)))


@pytest.mark.parametrize("select", ["bi", "bi-last", "relative-magnitude", "angular", "taylor"])
@pytest.mark.parametrize("mode", ["cls", "lm"])
def test_a_run_keeps_what_its_own_training_texts_say(
    select: str, mode: str, toy: Path, tmp_path: Path
):
    config = settings(toy, tmp_path, select=select, mode=mode)
    result = train(config)
    criterion = criteria.find_criterion(select)
    sample = own_sample(config, criterion.samples)
    assert tuple(result.layers) == criterion.kept_layers(model("tiny-opt"), 3, sample)
    assert result.select == select
    written = layer_scores.read_scores(result.folder / "scores.json")
    assert result.scores_fingerprint == written.fingerprint
    assert written.text_fingerprint == sample.fingerprint


def test_greedy_removal_stops_where_the_run_does(toy: Path, tmp_path: Path):
    result = train(settings(toy, tmp_path, select="greedy-loss", keep=4))
    assert len(result.layers) == 4
    assert set(layer_scores.read_scores(result.folder / "scores.json").kept) == {5, 4}


@pytest.mark.parametrize(
    ("select", "expected"),
    [("sequential", sequential(6, 3)), ("even", even(6, 3)), ("random", random(6, 3, 5))],
)
def test_rules_need_no_scores(select: str, expected: tuple[int, ...], toy: Path, tmp_path: Path):
    result = train(settings(toy, tmp_path, select=select, seed=5))
    assert tuple(result.layers) == expected
    assert result.scores_fingerprint == ""
    assert not (result.folder / "scores.json").exists()


def test_scores_are_measured_once(toy: Path, tmp_path: Path, monkeypatch: Any):
    config = settings(toy, tmp_path, select="bi", seed=3)
    first = train(config)

    def measured_again(*_: Any, **__: Any) -> Any:
        raise AssertionError("measured again")

    monkeypatch.setattr(scoring, "measure_layers", measured_again)
    assert train(config).folder == first.folder
    assert train(dataclasses.replace(config, keep=4)).keep == 4
    for other in ({"seed": 4}, {"shots": 7}, {"model": "tiny-neox"}, {"select": "angular"}):
        with pytest.raises(AssertionError, match="measured again"):
            train(dataclasses.replace(config, **other))


def scored_file(toy: Path, path: Path, *words: str, model: str = "tiny-opt") -> Path:
    score_main(["--model", model, "--text", str(toy), "--samples", "9", "--out", str(path), *words])
    return path


def test_scores_from_a_file_choose(toy: Path, tmp_path: Path, monkeypatch: Any):
    path = scored_file(toy, tmp_path / "s.json")
    monkeypatch.setattr(scoring, "measure_layers", None)
    result = train(settings(toy, tmp_path / "runs", select="bi", scores=str(path)))
    scores = layer_scores.read_scores(path)
    assert result.layers == scores.kept[3]
    assert result.scores_fingerprint == scores.fingerprint


def test_the_scores_are_part_of_the_run_s_name_and_their_path_is_not(toy: Path, tmp_path: Path):
    path = scored_file(toy, tmp_path / "s.json")
    other = scored_file(toy, tmp_path / "t.json", "--seed", "1")
    moved = tmp_path / "moved.json"
    moved.write_bytes(path.read_bytes())
    names = [
        train(settings(toy, tmp_path / "runs", select="bi", scores=str(file))).folder.name
        for file in (path, moved, other)
    ]
    assert names[0] == names[1]
    assert names[0] != names[2]


def test_other_choices_in_the_scores_are_another_run(toy: Path, tmp_path: Path):
    path = scored_file(toy, tmp_path / "s.json")
    config = settings(toy, tmp_path / "runs", select="bi", scores=str(path))
    first = train(config)
    scores = layer_scores.read_scores(path)
    order = [*scores.removal_order[::-1]]
    kept = {keep: sorted(set(range(6)) - set(order[: 6 - keep])) for keep in scores.kept}
    layer_scores.write_scores(dataclasses.replace(scores, removal_order=order, kept=kept), path)
    second = train(config)
    assert second.layers == kept[3] != first.layers
    assert second.folder != first.folder


def test_no_cut_is_the_same_run_whatever_would_choose(toy: Path, tmp_path: Path):
    plain = train(settings(toy, tmp_path, keep="all"))
    chosen = train(settings(toy, tmp_path, keep="all", select="bi"))
    assert chosen.folder == plain.folder


def test_a_saved_config_gives_the_same_run(toy: Path, tmp_path: Path, capsys: Any):
    result = train(settings(toy, tmp_path, select="bi"))
    again = train_main(["--config", str(result.folder / "config.yaml")])
    assert again == 0
    assert "finished before" in capsys.readouterr().err
    saved = yaml.safe_load((result.folder / "config.yaml").read_text())
    assert (saved["select"], saved["layers"]) == ("bi", result.layers)
    assert read_result(result.folder).config == result.config


# What is refused.


def test_layers_and_a_rule():
    with pytest.raises(UserError, match="leave out --select bi"):
        RunConfig(dataset="sst2", layers=[0, 1], select="bi")


@pytest.mark.parametrize("select", ["bi", "even"])
def test_layers_that_the_rule_does_not_choose(select: str, toy: Path, tmp_path: Path):
    config = settings(toy, tmp_path, select=select, layers=[1, 2, 4])
    with pytest.raises(UserError, match=f"--layers 1,2,4: --select {select} chooses 0"):
        train(config)


def test_scores_that_nobody_looks_at():
    with pytest.raises(UserError, match="--scores: --select even needs none"):
        RunConfig(dataset="sst2", select="even", scores="s.json")


def test_an_unknown_rule_is_refused_with_the_settings():
    with pytest.raises(UserError, match="unknown --select 'frist'; did you mean 'first'"):
        RunConfig(dataset="sst2", select="frist")


@pytest.mark.parametrize("select", ["bi", "even", "greedy-loss"])
@pytest.mark.parametrize(("keep", "words"), [(6, "nothing to choose"), (7, "at most that many")])
def test_depths_that_leave_no_choice(
    select: str, keep: int, words: str, toy: Path, tmp_path: Path, monkeypatch: Any
):
    monkeypatch.setattr(scoring, "measure_layers", None)
    with pytest.raises(UserError, match=words):
        train(settings(toy, tmp_path, select=select, keep=keep))


def test_scores_of_another_model_or_criterion(toy: Path, tmp_path: Path):
    other = scored_file(toy, tmp_path / "s.json", model="tiny-neox")
    with pytest.raises(UserError, match=r"measured on tiny-neox .* not on this tiny-opt"):
        train(settings(toy, tmp_path, select="bi", scores=str(other)))
    with pytest.raises(UserError, match="holds bi scores; --select taylor needs its own"):
        train(settings(toy, tmp_path, select="taylor", scores=str(other)))


def test_a_scores_file_that_is_none_is_refused_before_data_is_read(tmp_path: Path):
    config = RunConfig(dataset="nothing-like-it.csv", select="bi", scores=str(tmp_path / "s.json"))
    with pytest.raises(UserError, match="no such file; slimcls score writes one"):
        train(config)


def test_scores_that_do_not_go_deep_enough(toy: Path, tmp_path: Path):
    path = scored_file(toy, tmp_path / "s.json", "--criterion", "greedy-loss", "--keep", "4")
    with pytest.raises(UserError, match=r"--keep 3: these greedy-loss scores .* for 4 to 5"):
        train(settings(toy, tmp_path, select="greedy-loss", scores=str(path)))


def test_a_refused_run_leaves_no_scores_behind(toy: Path, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("slimcls.backbones.sizes.available_memory", lambda device="cpu": 1000)
    with pytest.raises(UserError, match="all its layers take"):
        train(settings(toy, tmp_path / "runs", select="bi"))
    assert not list((cache_dir() / "scores").glob("*/scores.json"))
    assert not (tmp_path / "runs").exists()


def test_runs_of_one_process_draw_their_texts_once(toy: Path, tmp_path: Path, monkeypatch: Any):
    """A grid asks for each learning rate, and again when the cell starts."""
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path / "cache"))
    drawn = []

    def noted(selection: Selection, *rest: Any) -> Any:
        drawn.append((selection.select, selection.seed))
        return sample(selection, *rest)

    sample = Selection.sample
    monkeypatch.setattr(Selection, "sample", noted)
    shared = Shared()
    for rate in (1e-3, 1e-2):
        for select in ("bi", "bi-last", "greedy-loss"):
            for seed in (0, 1):
                config = settings(toy, tmp_path, select=select, seed=seed, lr=rate)
                assert chooses_later(config, shared)
    assert drawn == [("bi", 0), ("bi", 1), ("greedy-loss", 0), ("greedy-loss", 1)]


def test_a_grid_goes_on_while_another_process_scores_the_layers_of_a_cell(
    toy: Path, tmp_path: Path, monkeypatch: Any
):
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path / "cache"))
    config = settings(toy, tmp_path / "runs", select="bi")
    shared = Shared()
    found = shared.source(config)
    sample = shared.sample(config, found, shared.tables(config))
    folder = selection_of(config).measured_in(found, sample)
    folder.parent.mkdir(parents=True)
    with FileLock(f"{folder}.lock"):
        assert attempt(config, pytest.fail) == Ended("busy")
    assert attempt(config, train).status == "done"


def test_nothing_is_measured_where_nothing_chooses_by_scores(toy: Path, tmp_path: Path):
    for more in ({}, {"select": "even"}, {"select": "bi", "keep": "all"}):
        config = settings(toy, tmp_path, **more)
        selection = selection_of(config)
        assert not selection.measures
        assert selection.scores(source("tiny-opt"), pytest.fail) is None
