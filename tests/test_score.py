"""The command ``slimcls score``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command
from pruning.texts import damaged
from scored import FAMILIES, model, source

from slimcls.errors import UserError
from slimcls.layers import layer_scores, score_report
from slimcls.layers.criteria import CRITERIA
from slimcls.score import ScoreConfig, main, score


def run(toy: Path, out: Path, *words: str, model: str = "tiny-gpt2", criterion: str = "bi") -> int:
    return main(
        ["--model", model, "--criterion", criterion, "--text", str(toy), "--samples", "12",
         "--out", str(out), *words]
    )  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_of_every_family_are_printed_and_written(
    name: str, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "scores.json"
    assert run(toy, out, model=name) == 0
    printed = capsys.readouterr().out
    scores = layer_scores.read_scores(out)
    assert scores.depth == 6
    assert scores.samples == 12
    assert scores.source == source(name).fingerprint
    for layer, (value, ends) in enumerate(zip(scores.scores, scores.intervals, strict=True)):
        assert re.search(
            rf"^ +{layer} +{value:.6f} +{ends[0]:.6f} to {ends[1]:.6f}$", printed, re.M
        )
    order = ", ".join(map(str, scores.removal_order))
    assert f"removed in this order: {order}" in printed
    assert f"  2: {score_report.ranges(scores.kept[2])}\n" in printed
    picture = (tmp_path / "scores.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"scores.json", "scores.png"}


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_is_a_command(criterion: str, toy: Path, tmp_path: Path):
    out = tmp_path / "scores.json"
    run(toy, out, criterion=criterion, model="tiny-llama")
    scores = layer_scores.read_scores(out)
    assert set(scores.kept) == {1, 2, 3, 4, 5}
    measured = CRITERIA[criterion].needs_text
    assert (scores.scores is not None) == measured == (tmp_path / "scores.png").exists()


def test_the_same_command_gives_the_same_file(toy: Path, tmp_path: Path):
    for name in "ab":
        run(toy, tmp_path / f"{name}.json")
    run(toy, tmp_path / "c.json", "--seed", "1")
    a, b, c = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "abc")
    assert a == b
    assert a["text_fingerprint"] != c["text_fingerprint"]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_greedy_removal_goes_as_deep_as_it_is_asked(toy: Path, tmp_path: Path):
    run(toy, tmp_path / "all.json", criterion="greedy-loss")
    run(toy, tmp_path / "some.json", "--keep", "4", criterion="greedy-loss")
    whole, part = (layer_scores.read_scores(tmp_path / name) for name in ("all.json", "some.json"))
    assert part.removal_order == whole.removal_order[:2]
    assert part.kept == {keep: whole.kept[keep] for keep in (5, 4)}


def test_nothing_is_written_without_out(toy: Path, tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    main(["--model", "tiny-gpt2", "--text", str(toy), "--samples", "3"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--criterion", "bii"], "unknown --criterion 'bii'; did you mean 'bi'"),
        (["--samples", "0"], "--samples 0: must be at least 1"),
        (["--keep", "6"], "--keep 6: the model has 6 layers"),
        (["--keep", "7"], "--keep 7: the model has 6 layers; at most"),
        (["--text", "agnew"], "did you mean 'agnews'"),
        (["--max-text-tokens", "9999"], "the model's context leaves"),
        (["--model", "tiny-gpt"], "did you mean 'tiny-gpt2'"),
        (["--out", "scores.csv"], "--out scores.csv: must end in .json"),
        (["--out", "there.json"], "there.json: is there already; --overwrite"),
        (["--text", "none.txt"], "none.txt: cannot be read"),
        (["--text", "empty.txt"], "empty.txt: the file is empty"),
        (["--text", "short.txt"], "short.txt line 1: the text 'a' has fewer than 2 tokens"),
        (["--accelerator", "gpu"], "--accelerator gpu: this machine has none"),
    ],
)
def test_what_is_refused(
    words: list[str], message: str, toy: Path, tmp_path: Path, monkeypatch: Any
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Path("there.json").write_text("{}")
    Path("empty.txt").write_text("")
    Path("short.txt").write_text("a\n")
    before = sorted(tmp_path.iterdir())
    given = {"--model": "tiny-gpt2", "--text": str(toy), "--samples": "4", "--out": "new.json"}
    given[words[0]] = words[1]
    with pytest.raises(UserError, match=re.escape(message)):
        main([word for pair in given.items() for word in pair])
    assert sorted(tmp_path.iterdir()) == before


def test_texts_are_asked_for_where_they_are_needed():
    with pytest.raises(UserError, match="--text: bi looks at texts"):
        ScoreConfig(model="tiny-gpt2")
    assert score(ScoreConfig(model="tiny-gpt2", criterion="even")).kept[2] == [0, 5]


def test_one_line_and_nothing_written_for_a_damaged_model(
    toy: Path, tmp_path: Path, command: Command
):
    out = tmp_path / "out" / "scores.json"
    done = command("slimcls", "score", "--model", damaged(tmp_path), "--text", toy, "--out", out)
    assert done.returncode == 2
    assert re.fullmatch(
        r"slimcls: error: .*model\.layers\.4\..* holds numbers that are not finite .*\n",
        done.stderr,
    )
    assert not out.parent.exists()


def test_a_model_too_big_is_refused_before_it_is_opened(toy: Path, monkeypatch: Any):
    monkeypatch.setattr("slimcls.backbones.sizes.available_memory", lambda device: 1000)
    with pytest.raises(UserError, match=r"tiny-gpt2: all its layers take 0.0 GB, .* --force"):
        score(ScoreConfig(model="tiny-gpt2", text=str(toy)))
    assert score(ScoreConfig(model="tiny-gpt2", text=str(toy), samples=2, force=True)).scores


@pytest.mark.parametrize(
    ("layers", "expected"),
    [((0, 1, 2, 5), "0-2,5"), ((3,), "3"), ((0, 2, 4), "0,2,4"), ((), "")],
)
def test_ranges(layers: tuple[int, ...], expected: str):
    assert score_report.ranges(layers) == expected


def test_scores_are_of_the_whole_model(toy: Path):
    """What stands in the file is what the criterion gives for the model with all its layers."""
    config = ScoreConfig(model="tiny-neox", text=str(toy), samples=5, max_text_tokens=20)
    found = score(config)
    from slimcls.backbones.tokenizers import open_tokenizer
    from slimcls.layers.samples import encode_sample, read_texts

    tokenizer = open_tokenizer(source("tiny-neox"))
    texts_as_ids = encode_sample(read_texts(str(toy)).drawn(5), tokenizer, max_text_tokens=20)
    expected = CRITERIA["bi"].measure(model("tiny-neox"), texts_as_ids)
    assert found.scores == list(expected.scores)
    assert found.text_fingerprint == texts_as_ids.fingerprint
