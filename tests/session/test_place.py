"""Where a run will work, and what its name says of the length of texts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from conftest import made_up_rows, write_csv

from slimcls.backbones.sources import Source
from slimcls.baseline import BaselineConfig, baseline
from slimcls.config import RunConfig
from slimcls.grids.forecast import forecast
from slimcls.log import Log
from slimcls.runs.results import read_result
from slimcls.session.place import find_place, measures_later
from slimcls.session.shared import Shared
from slimcls.train import train

#: Tokens that the context of tiny-gpt2 leaves beside its start token.
ROOM = 511


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As all tests have it, with texts of some 150 tokens, a tenth of them of more than 256."""
    folder = tmp_path_factory.mktemp("data") / "wordy"
    folder.mkdir()
    for name, count, seed in (("train", 300, 1), ("test", 60, 2)):
        rows = [
            (" ".join([text] * (40 if place % 10 == 0 else 5)), label)
            for place, (text, label) in enumerate(made_up_rows(count, seed))
        ]
        write_csv(folder / f"{name}.csv", rows)
    return folder


def settings(data: Path, out: Path, **more: Any) -> RunConfig:
    quick: dict[str, Any] = {
        "model": "tiny-gpt2", "mode": "cls", "keep": 2, "shots": 6, "epochs": 1, "batch_size": 8,
        "accelerator": "cpu", "save_model": "best", "baseline": False,
    }  # fmt: skip
    return RunConfig(dataset=str(data), out=str(out), **(quick | more))


def test_long_texts_go_in_longer_and_the_run_says_so(wordy: Path, tmp_path: Path) -> None:
    result = train(settings(wordy, tmp_path))
    assert (result.usual_tokens, result.text_tokens) == (512, ROOM)
    assert result.config.max_text_tokens is None
    assert read_result(result.folder) == result
    said = (result.folder / "log.txt").read_text(encoding="utf-8")
    items = result.train_items + result.validation_items + result.test_items
    assert f"note: {result.texts_cut} of {items} texts (" in said
    assert ") have more than 511 tokens and were cut; --max-text-tokens says where" in said
    again = RunConfig(**dataclasses.asdict(result.config))
    assert find_place(again, Shared()).folder == result.folder


def test_modes_with_prompts_take_what_the_context_leaves(wordy: Path, tmp_path: Path) -> None:
    result = train(settings(wordy, tmp_path, mode="p-cls", save_model="none"))
    assert result.usual_tokens == 512
    assert result.text_tokens < 512, "demonstrations fill a part of the context"


def test_what_is_said_outright_is_taken_as_it_is(wordy: Path, tmp_path: Path) -> None:
    result = train(settings(wordy, tmp_path, max_text_tokens=256, save_model="none"))
    assert result.text_tokens == 256
    names = {
        find_place(settings(wordy, tmp_path, max_text_tokens=most), Shared()).folder.name
        for most in (None, 256, 512)
    }
    assert len(names) == 3


def test_short_texts_keep_their_names(toy: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """As they were before the length of texts was looked at."""
    name = find_place(settings(toy, tmp_path), Shared()).folder.name
    monkeypatch.setattr(Shared, "usual_tokens", lambda *_: 320)
    assert find_place(settings(toy, tmp_path), Shared()).folder.name != name
    monkeypatch.setattr(Shared, "usual_tokens", lambda *_: 256)
    assert find_place(settings(toy, tmp_path), Shared()).folder.name == name


def test_no_seed_mode_or_depth_changes_it(wordy: Path, tmp_path: Path) -> None:
    shared, found = Shared(), set()
    for more in ({}, {"seed": 3}, {"keep": 4}, {"shots": 9}):
        place = find_place(settings(wordy, tmp_path, **more), shared)
        found.add(shared.usual_tokens(place.source, place.data))
        inputs = shared.inputs(place.config, place.source, place.data, Log(quiet=True))
        found.add(inputs.encoder.max_text_tokens)
    assert found == {512, ROOM}


def test_embeddings_read_as_much_as_runs_do(wordy: Path, tmp_path: Path) -> None:
    config = settings(wordy, tmp_path, save_model="none")
    (rival,) = baseline(BaselineConfig(**dataclasses.asdict(config), method="embeddings"))
    assert (rival.usual_tokens, rival.text_tokens) == (512, ROOM)


def test_a_forecast_without_a_tokenizer_leaves_the_name_open(
    wordy: Path, toy: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """Of a hub model that was never fetched there is only config.json."""
    whole = Shared.source

    def bare(self: Shared, config: RunConfig, *, fetch: bool = True) -> Source:
        assert not fetch
        return dataclasses.replace(whole(self, config), only_config=True)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("there is no tokenizer")

    monkeypatch.setattr(Shared, "source", bare)
    monkeypatch.setattr("slimcls.backbones.tokenizers.open_tokenizer", refuse)
    shared = Shared()
    assert measures_later(settings(wordy, tmp_path), shared)
    assert not measures_later(settings(toy, tmp_path), shared)
    assert not measures_later(settings(wordy, tmp_path, max_text_tokens=9), shared)
    long, short = forecast([settings(wordy, tmp_path), settings(toy, tmp_path)], shared)
    assert (long.folder, long.note) == (None, "text length, by its tokenizer")
    assert short.folder is not None
    assert not long.problem
    assert not short.problem
