"""Layer scores as a file: read back as written, refused where they would mislead."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from slimcls.errors import UserError
from slimcls.layers import layer_scores, scoring
from slimcls.layers.criteria import CRITERIA
from slimcls.layers.layer_scores import Scores

GIVEN = Scores(
    slimcls_version="0.1.0",
    criterion="bi",
    model="tiny-gpt2",
    source="sha256:aa",
    depth=3,
    text="toy",
    text_fingerprint="sha256:bb",
    samples=2,
    tokens=9,
    scores=[0.5, 0.1, 0.3],
    intervals=[[0.4, 0.6], [0.0, 0.2], [0.2, 0.4]],
    removal_order=[1, 2, 0],
    kept={2: [0, 2], 1: [0]},
    tau=1.0,
    notes=["a note"],
)


def test_what_is_written_is_read(tmp_path: Path):
    layer_scores.write_scores(GIVEN, tmp_path / "s.json")
    assert layer_scores.read_scores(tmp_path / "s.json") == GIVEN
    assert sorted(json.loads((tmp_path / "s.json").read_text())) == sorted(
        field.name for field in dataclasses.fields(Scores)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


@pytest.mark.parametrize(
    "more",
    [
        {"criterion": "taylor"},
        {"source": "sha256:ab"},
        {"text_fingerprint": "sha256:bc"},
        {"samples": 3},
        {"seed": 1},
        {"removal_order": [2, 1, 0], "kept": {2: [0, 1], 1: [0]}},
    ],
)
def test_the_fingerprint_follows_what_was_measured_and_chosen(more: dict[str, Any]):
    assert dataclasses.replace(GIVEN, **more).fingerprint != GIVEN.fingerprint


@pytest.mark.parametrize(
    "more",
    [{"scores": [0.5, 0.1, 0.3000001]}, {"tau": 0.99}, {"model": "elsewhere"}, {"notes": []}],
)
def test_the_fingerprint_does_not_follow_digits_and_names(more: dict[str, Any]):
    assert dataclasses.replace(GIVEN, **more).fingerprint == GIVEN.fingerprint


def test_depths_that_were_not_measured():
    assert GIVEN.kept_layers(2) == (0, 2)
    with pytest.raises(UserError, match=r"--keep 3: these bi scores .* 3 layers for 1 to 2"):
        GIVEN.kept_layers(3)


def test_scores_of_something_else():
    GIVEN.check("bi", "sha256:aa", "tiny-gpt2", "--scores s.json")
    with pytest.raises(UserError, match="holds bi scores; --select taylor needs its own"):
        GIVEN.check("taylor", "sha256:aa", "tiny-gpt2", "--scores s.json")
    words = r"^--scores s.json: measured on tiny-gpt2 \(sha256:aa\), not on this gpt2 \(hub:12"
    with pytest.raises(UserError, match=words):
        GIVEN.check("bi", "hub:1234567890abcdef", "gpt2", "--scores s.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c | {"format": 2}, "format 2, this slimcls reads 1"),
        (lambda c: c | {"criterion": "b"}, "unknown criterion b"),
        (lambda c: c | {"kept": {"2": [2, 0]}}, "not 2 layers, ascending"),
        (lambda c: c | {"kept": {"2": [0, 1]}}, "not what removal_order leaves"),
        (lambda c: c | {"kept": {"2": [1, 9]}}, "not layers of 3"),
        (lambda c: c | {"kept": {"0": []}}, "kept 0: not layers of 3"),
        (lambda c: {k: v for k, v in c.items() if k != "kept"}, "kept"),
        (lambda c: c | {"odd": 1}, "odd"),
        (lambda c: [c], "not a file of slimcls score"),
    ],
)
def test_files_that_are_no_scores(change: Any, words: str, tmp_path: Path):
    path = tmp_path / "s.json"
    layer_scores.write_scores(GIVEN, path)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(UserError, match=words):
        layer_scores.read_scores(path)


def test_no_file_and_no_json(tmp_path: Path):
    with pytest.raises(UserError, match="no such file; slimcls score writes one"):
        layer_scores.read_scores(tmp_path / "none.json")
    (tmp_path / "s.json").write_text("scores")
    with pytest.raises(UserError, match="not a file of slimcls score"):
        layer_scores.read_scores(tmp_path / "s.json")


@pytest.mark.parametrize("name", ["first", "sequential", "even", "random"])
def test_rules_give_scores_without_texts(name: str):
    from scored import source

    found = scoring.measure_layers(CRITERIA[name], source("tiny-llama"), None, seed=4)
    assert found.scores is None
    assert found.samples == 0
    for keep in range(1, 6):
        assert found.kept_layers(keep) == CRITERIA[name].pick(6, keep, 4)
    if name == "even":
        assert found.removal_order is None
    else:
        assert sorted(found.removal_order or []) == list(range(6))
        layer_scores._check_choices(found)
