"""One choice of layers, asked step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import made_up_rows
from scored import model, source

from slimcls.errors import UserError
from slimcls.layers import scoring
from slimcls.layers.criteria import CRITERIA
from slimcls.layers.layer_scores import SCORES_FILE, write_scores
from slimcls.layers.samples import Texts
from slimcls.layers.selection import Selection

ROWS = tuple(text for text, _ in made_up_rows(20, 3))
TEXTS = Texts("made up", ROWS, tuple(map(str, range(20))))


def choice(**settings: Any) -> Selection:
    known = {"model": "tiny-opt", "select": "bi", "keep": 3, "accelerator": "cpu", "quiet": True}
    return Selection(**(known | settings))


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("asked for what is not needed")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source("tiny-opt")  # built in the cache that all tests share
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({"select": "first"}, (0, 1, 2)),
        ({"select": "sequential"}, (3, 4, 5)),
        ({"select": "first", "named": (1, 4), "keep": 2}, (1, 4)),
        ({"select": "even", "named": (0, 3, 5)}, (0, 3, 5)),
        ({"keep": "all"}, (0, 1, 2, 3, 4, 5)),
    ],
)
def test_without_scores_nothing_is_measured(
    settings: dict[str, Any], layers: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "measure_layers", refuse)
    selection = choice(**settings)
    selection.check()
    selection.check_model(source("tiny-opt").folder)
    assert not selection.measures
    assert selection.scores(source("tiny-opt"), refuse) is None
    assert selection.layers(source("tiny-opt"), None) == layers


def test_what_is_measured_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    selection, found = choice(samples=6), source("tiny-opt")
    sample = selection.sample(TEXTS, found)
    assert len(sample) == 6
    assert not selection.measured_in(found, sample).exists()
    scores = selection.scores(found, lambda: sample)
    assert scores is not None
    expected = CRITERIA["bi"].kept_layers(model("tiny-opt"), 3, sample)
    assert selection.layers(found, scores) == expected
    monkeypatch.setattr(scoring, "measure_layers", refuse)
    assert choice(samples=6, keep=2).scores(found, lambda: sample) == scores
    with pytest.raises(AssertionError, match="asked for"):
        choice(samples=6, seed=1).scores(found, lambda: sample)


def test_a_file_of_scores_is_read_once_and_chooses(tmp_path: Path) -> None:
    found = source("tiny-opt")
    scores = choice().measure(found, choice(samples=4).sample(TEXTS, found))
    path = tmp_path / SCORES_FILE
    write_scores(scores, path)
    selection = choice(scores_file=str(path))
    selection.check()
    path.unlink()
    assert selection.scores(found, refuse) == scores
    assert selection.layers(found, scores) == tuple(scores.kept[3])
    assert selection.given(found) == scores


def test_a_run_of_one_token_is_measured_on_two() -> None:
    lengths = {len(ids) for ids in choice(max_text_tokens=1).sample(TEXTS, source("tiny-opt")).ids}
    assert lengths == {3}, "the start token does not count"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"keep": 7}, "at most that many"),
        ({"keep": 6}, "nothing to choose"),
        ({"select": "first", "named": (1, 6), "keep": 2}, "numbered from 0 to 5"),
    ],
)
def test_what_a_model_cannot_give_shows_before_weights_are_read(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        choice(**settings).check_model(source("tiny-opt").folder)


def test_an_unknown_criterion_shows_at_once() -> None:
    with pytest.raises(UserError, match="did you mean 'bi'"):
        choice(select="bii")


def test_scores_that_cannot_be_used_show_before_a_model_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    with pytest.raises(UserError, match="no such file; slimcls score writes one"):
        choice(scores_file=str(path)).check()
    write_scores(choice(select="even").measure(source("tiny-opt"), None), path)
    with pytest.raises(UserError, match="holds even scores; --select bi needs its own"):
        choice(scores_file=str(path)).check()
