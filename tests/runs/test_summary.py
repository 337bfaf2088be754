"""The table at the end of a run."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from slimcls.config import RunConfig
from slimcls.runs.schema import Outcome, RunResult
from slimcls.runs.summary import rival_words, run_summary


def result(folder: Path, **more: Any) -> RunResult:
    empty: dict[Any, Any] = {str: "", int: 0, float: 0.0}
    values = {name: empty.get(hint) for name, hint in get_type_hints(Outcome).items()}
    values |= {
        "depth": 30, "params_full": 134_500_000, "params_kept": 35_400_000, "params_saved": 0.7368,
        "test_accuracy": 0.9, "test_low": 0.88, "test_high": 0.92, "test_macro_f1": 0.895,
        "test_items": 1000, "labels_used": 2205, "model_mb": 141.6, "latency_ms": 5.04,
        "total_seconds": 100.4, "train_seconds": 61.0,
    }  # fmt: skip
    config = RunConfig(dataset="bbcnews", model="smollm2-135m", keep=2)
    return RunResult(config, Outcome(**(values | more)), folder)


@pytest.fixture(autouse=True)
def _saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs with an artefact, in the folder where the tests are."""
    monkeypatch.chdir(tmp_path)
    for run in ("runs/a", "my runs/a"):
        (tmp_path / run / "model").mkdir(parents=True)
        (tmp_path / run / "model" / "model.safetensors").touch()


def test_what_it_says() -> None:
    text = run_summary(result(Path("runs/a"), source_note="4-bit weights expanded"))
    title, *lines = text.splitlines()
    assert title == "smollm2-135m cut to 2 layers, p-cls on bbcnews, seed 0"
    rows = {line[2:].split("  ")[0]: line.split("  ", 2)[-1].strip() for line in lines}
    assert "0.900  (95 % interval 0.880 to 0.920 over 1000 test items)" in text
    assert rows["macro-F1"] == "0.895"
    assert rows["layers kept"] == "2 of 30"
    assert "35.4 M of 134.5 M (73.7% saved)" in text
    assert "2,205" in text
    assert "4-bit weights expanded" in text
    assert "142 MB" in text
    assert "100 in all, 61 of them training" in text
    assert 'python -m slimcls.predict runs/a "some text"' in text
    columns = {len(line) - len(line[2:].split("  ", 1)[1].lstrip()) for line in lines}
    assert len(columns) == 1, "the second column is aligned"


def test_the_command_to_try_can_be_pasted() -> None:
    text = run_summary(result(Path("my runs/a")))
    command = next(line for line in text.splitlines() if "try next" in line)
    assert shlex.split(command.split("try next")[1])[3] == "my runs/a"


def test_without_an_artefact_there_is_nothing_to_try() -> None:
    text = run_summary(result(Path("runs/a"), model_mb=0.0))
    assert "predict" not in text
    assert "artefact" not in text
    assert "run " in text


def test_what_speaks_against_it_is_a_line() -> None:
    assert "warning" not in run_summary(result(Path("runs/a")))
    text = run_summary(result(Path("runs/a"), warnings="the best epoch was the last of 5"))
    assert text.splitlines()[-1] == "warning: the best epoch was the last of 5"


def test_few_classes_have_a_line_each() -> None:
    classes = [
        {"label": name, "precision": 0.5, "recall": 0.25, "f1": 1 / 3, "items": 1234}
        for name in ("weather\n today", "x" * 99, *"abcdefgh")
    ]
    lines = run_summary(result(Path("runs/a"), per_class=json.dumps(classes))).splitlines()
    head = next(place for place, line in enumerate(lines) if line.split()[:1] == ["class"])
    assert lines[head].split() == ["class", "items", "precision", "recall", "F1"]
    assert lines[head + 1].split() == ["weather", "today", "1234", "0.500", "0.250", "0.333"]
    assert lines[head + 2].split()[0] == "x" * 30
    assert len(lines) == head + 11
    assert len({len(line) for line in lines[head:]}) == 1, "the columns are aligned"
    more = json.dumps([*classes, classes[0] | {"label": "i"}])
    assert "precision" not in run_summary(result(Path("runs/a"), per_class=more))


def rival(**more: Any) -> str:
    """What is said of TF-IDF where it is right on nine in ten."""
    return " ".join(rival_words(result(Path("runs/a"), tfidf_accuracy=0.9, **more)))


def test_a_rival_that_is_better_is_to_be_taken() -> None:
    said = rival(over_tfidf=-0.2038, over_tfidf_low=-0.257, over_tfidf_high=-0.151)
    assert said == (
        "TF-IDF with logistic regression, which needs no language model, is right on 0.900 of the "
        "same texts: 20.4 points better than this run (15.1 to 25.7). Take it, or train longer "
        "(--epochs), on more --shots or with more layers (--keep)."
    )


def test_a_rival_that_is_worse_is_told_and_left() -> None:
    said = rival(over_tfidf=0.04, over_tfidf_low=0.021, over_tfidf_high=0.059)
    assert said.endswith(": 4.0 points worse than this run (2.1 to 5.9).")


@pytest.mark.parametrize(
    ("ahead", "words"),
    [(0.012, "1.2 points worse than this run"), (-0.012, "1.2 points better than this run")],
)
def test_a_rival_that_may_be_either_is_said_to_be(ahead: float, words: str) -> None:
    said = rival(over_tfidf=ahead, over_tfidf_low=-0.02, over_tfidf_high=0.044)
    assert f"{words} (2.0 better to 4.4 worse), which shows neither to be better. Take it" in said


def test_whole_texts_beside_cut_ones_are_said() -> None:
    figures = {"over_tfidf": -0.2, "over_tfidf_low": -0.3, "over_tfidf_high": -0.1}
    cut = {"texts_cut": 415, "train_items": 500, "validation_items": 200, "test_items": 300}
    assert "whole" not in rival(**figures, **(cut | {"texts_cut": 0}))
    said = rival(**figures, **cut, text_tokens=64)
    assert "reads whole texts, the model the first 64 tokens: 42% of them are longer" in said


def test_a_probe_is_told_after_it() -> None:
    tfidf = {
        "tfidf_accuracy": 0.9,
        "over_tfidf": 0.04,
        "over_tfidf_low": 0.02,
        "over_tfidf_high": 0.06,
    }
    probe = {"over_probe": -0.032, "over_probe_low": -0.054, "over_probe_high": -0.01}
    words = rival_words(
        result(Path("runs/a"), probe_accuracy=0.932, read_layers=15, **tfidf, **probe)
    )
    assert words[0].startswith("TF-IDF")
    assert words[1:] == [
        "Logistic regression on the states of the uncut model after 15 layers, which trains "
        "nothing of it, is right on 0.932: 3.2 points better than this run (1.0 to 5.4)."
    ]


def test_nothing_is_said_where_no_rival_was_asked() -> None:
    assert rival_words(result(Path("runs/a"))) == []


def test_without_a_test_part_validation_is_what_there_is() -> None:
    nothing = {"test_accuracy": math.nan, "test_low": math.nan, "test_high": math.nan}
    text = run_summary(
        result(
            Path("runs/a"), **nothing, test_items=0, test_macro_f1=math.nan, fitted_temperature=1.2,
            validation_accuracy=0.8, validation_low=0.7, validation_high=0.9, validation_items=50,
        )
    )  # fmt: skip
    assert "0.800  (95 % interval 0.700 to 0.900 over 50 validation items; nothing was" in text
    assert "nan" not in text
