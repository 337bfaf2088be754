"""``--metrics``: metrics of the library evaluate, of files here and of a hub on loopback."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from backbones.hub_home import at_hub
from conftest import Command
from hub_server import Hub, commit_of
from hypothesis import given
from hypothesis import strategies as st

from slimcls import runs
from slimcls.baseline import BaselineConfig, baseline
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.metrics import opened
from slimcls.metrics.named import named_metrics
from slimcls.runs.schema import PREDICTIONS, RESULT, RunResult
from slimcls.runs.summary import run_summary
from slimcls.train import train

pytest.importorskip("evaluate", reason="needs the extra evaluate")

AGREEMENT = Path(__file__).parent / "agreement"
COMMIT = "c" * 40
#: What a script of a metric begins with; class and method follow.
HEAD = (AGREEMENT / "agreement.py").read_text(encoding="utf-8").rpartition("    def _compute")[0]


def script(folder: Path, name: str, body: str, head: str = HEAD) -> str:
    """A metric whose ``_compute`` has this body; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    signature = "    def _compute(self, predictions, references):\n        "
    (folder / f"{name}.py").write_text(head + signature + body + "\n", encoding="utf-8")
    return str(folder / f"{name}.py")


def settings(toy: Path, out: Path, **more: Any) -> RunConfig:
    quick = {"shots": 16, "epochs": 2, "lr": 3e-3, "baseline": False, "accelerator": "cpu"}
    named = {"dataset": str(toy), "model": "tiny-gpt2", "mode": "cls", "keep": 1, "out": str(out)}
    return RunConfig(**named | quick | more)


@pytest.fixture(scope="module", autouse=True)
def _own_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The library copies a metric's code before it imports it."""
    import evaluate.config

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("modules")
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", folder)
        yield


@pytest.fixture(scope="module")
def result(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    out = tmp_path_factory.mktemp("runs")
    both = f"{AGREEMENT},{AGREEMENT}:scale=100"
    return train(settings(toy, out, mode="p-cls", shots="all", epochs=6, lr=1e-2, metrics=both))


def test_what_metrics_say_is_in_the_result_and_in_the_summary(result: RunResult) -> None:
    right = round(result.test_accuracy * result.test_items)
    assert json.loads(result.test_metrics) == {
        "agreement": {"share": result.test_accuracy, "wrong": result.test_items - right},
        "agreement:scale=100": {
            "share": pytest.approx(100 * result.test_accuracy),
            "wrong": result.test_items - right,
        },
    }
    read = runs.read_result(result.folder)
    assert read is not None
    assert read.test_metrics == result.test_metrics
    rows = [line.split() for line in run_summary(result).splitlines()]
    assert ["agreement", "share", f"{result.test_accuracy:.3f}"] in rows
    assert ["agreement:scale=100", "wrong", str(result.test_items - right)] in rows


def test_metrics_name_no_other_run_and_come_later_from_what_was_predicted(
    toy: Path, tmp_path: Path
) -> None:
    plain = train(settings(toy, tmp_path))
    assert plain.test_metrics == ""
    changed = (plain.folder / PREDICTIONS).stat().st_mtime_ns
    later = train(settings(toy, tmp_path, metrics=str(AGREEMENT)))
    assert later.folder == plain.folder
    assert (plain.folder / PREDICTIONS).stat().st_mtime_ns == changed, "nothing was trained"
    assert json.loads(later.test_metrics)["agreement"]["share"] == plain.test_accuracy
    assert later.outcome == replace(plain.outcome, test_metrics=later.test_metrics)
    more = train(settings(toy, tmp_path, metrics=f"{AGREEMENT}:scale=2"))
    assert set(json.loads(more.test_metrics)) == {"agreement", "agreement:scale=2"}
    written = (plain.folder / RESULT).stat().st_mtime_ns
    train(settings(toy, tmp_path))
    train(settings(toy, tmp_path, metrics=str(AGREEMENT)))
    assert (plain.folder / RESULT).stat().st_mtime_ns == written, "all of it was there"


def test_rivals_are_measured_too(toy: Path, tmp_path: Path) -> None:
    given = BaselineConfig(
        dataset=str(toy), model="tiny-gpt2", mode="cls", keep=1, shots=16, accelerator="cpu",
        out=str(tmp_path), method="tfidf", metrics=str(AGREEMENT),
    )  # fmt: skip
    (found,) = baseline(given)
    assert json.loads(found.test_metrics)["agreement"]["share"] == found.test_accuracy
    (again,) = baseline(replace(given, metrics=f"{AGREEMENT}:scale=3"))
    assert json.loads(again.test_metrics)["agreement:scale=3"]["share"] == pytest.approx(
        3 * found.test_accuracy
    )


def test_evaluates_own_evaluator_gives_the_runs_own_accuracy(
    result: RunResult, toy: Path, tmp_path: Path
) -> None:
    """Over the artefact alone: its tokenizer, its labels, plain transformers."""
    import datasets
    import evaluate

    from slimcls.session.again import drawn_again

    drawn = drawn_again(result.folder, None)
    items, names = drawn.splits.test, drawn.data.spec.labels
    data = datasets.Dataset.from_dict(
        {"text": [one.text for one in items], "label": [one.label for one in items]}
    )
    found = evaluate.evaluator("text-classification").compute(
        model_or_pipeline=str(result.folder / "model"),
        data=data,
        metric=evaluate.load(str(AGREEMENT)),
        label_mapping={name: number for number, name in enumerate(names)},
    )
    assert found["share"] == result.test_accuracy
    assert 1 / len(names) < result.test_accuracy, "it has learnt something to agree on"


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("breaks", "raise ValueError('no\\nway')", "breaks: no$"),
        ("typed", "return {'all': {predictions[0]}}", "gives a set, which no result can hold"),
        ("binary", "assert max(references) < 2, 'two classes only'", "binary: two classes only"),
    ],
)
def test_a_metric_that_fails_ends_in_a_line_before_any_training(
    toy: Path, tmp_path: Path, name: str, body: str, says: str
) -> None:
    path = script(tmp_path, name, body)
    with pytest.raises(UserError, match=says):
        train(settings(toy, tmp_path / "runs", metrics=path))
    assert not list((tmp_path / "runs").glob("*/checkpoints"))
    assert not list((tmp_path / "runs").glob(f"*/{RESULT}"))


def test_a_metric_that_fails_at_the_end_costs_its_own_figure_alone(
    toy: Path, tmp_path: Path
) -> None:
    body = "if len(references) > 9: raise ValueError('too many')\n        return {'n': 1}"
    metrics = f"{script(tmp_path, 'late', body)},{AGREEMENT}"
    found = train(settings(toy, tmp_path / "runs", metrics=metrics))
    held = json.loads(found.test_metrics)
    assert held["late"] == {"error": "--metrics late: too many"}
    assert held["agreement"]["share"] == found.test_accuracy
    with pytest.raises(UserError, match="too many"):
        train(settings(toy, tmp_path / "runs", metrics=metrics))
    kept = runs.read_result(found.folder)
    assert kept is not None
    assert kept.test_metrics == found.test_metrics


def test_what_is_no_number_is_null(toy: Path, tmp_path: Path) -> None:
    found = train(settings(toy, tmp_path, epochs=0, metrics=f"{AGREEMENT}:missing=true"))
    assert json.loads(found.test_metrics)["agreement:missing=true"]["share"] is None


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("import nowhere_to_be_found\n" + HEAD, "nowhere_to_be_found"),
        ("import away  # From: https://example.org/away.py\n" + HEAD, "away"),
        ("import .away  # From: https://example.org/away.py\n" + HEAD,
         r"takes code from https://example.org/away.py, which nothing pins"),
        ("def broken(:\n", "cannot be opened: "),
    ],
)  # fmt: skip
def test_code_that_cannot_be_opened_is_a_line(tmp_path: Path, head: str, says: str) -> None:
    path = script(tmp_path, "odd", "return {}", head)
    with pytest.raises(UserError, match=says) as caught:
        opened.open_metrics(path, trusted=False)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_none_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "two words.py").write_text("")
    for name, says in {
        "./absent": r"\./absent: no such file or folder$",
        "./absent.py": r"\./absent\.py: no such file or folder$",
        "./empty": r"\./empty: no empty\.py in it$",
        "./two words.py": "must be a .py file with a module's name",
    }.items():
        with pytest.raises(UserError, match=says):
            opened.open_metrics(name, trusted=False)


@pytest.mark.parametrize(
    ("words", "trusted", "says"),
    [
        ("matthews_correlation", False, "is code, so pin it, as matthews_correlation@COMMIT"),
        ("matthews_correlation@main", True, "so pin it"),
        (f"matthews_correlation@{COMMIT[:7]}", True, "so pin it"),
        (f"matthews_correlation@{COMMIT}", False, "read it, then add --trust-metric-code"),
        (f"a/b/c@{COMMIT}", True, "is no name of the hub"),
        ("./my,./my", False, "my stands there twice"),
        ("./my,other/my@" + COMMIT, True, "my stands there twice"),
        ("", False, "must be NAME@COMMIT of the hub"),
        ("./my,", False, "must be NAME@COMMIT of the hub"),
        ("./my:macro", False, "'macro' is no setting, as average=macro"),
        ("./my:1=2", False, "'1=2' is no setting"),
        ("./my", True, "--metrics names none of the hub; leave it out"),
        (None, True, "--metrics names none of the hub; leave it out"),
    ],
)  # fmt: skip
def test_what_is_written_wrongly_is_refused_at_once(
    words: str | None, trusted: bool, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        RunConfig(dataset="sst2", metrics=words, trust_metric_code=trusted)


def test_settings_are_numbers_where_they_are_written_so() -> None:
    (one,) = named_metrics("./f1:average=macro:zero_division=0:sample=true:beta=0.5", trusted=False)
    assert dict(one.given) == {"average": "macro", "zero_division": 0, "sample": True, "beta": 0.5}
    assert one.key == "f1:average=macro:zero_division=0:sample=true:beta=0.5"


@given(st.text(alphabet="ab@:=,./~c0 \n", max_size=60), st.booleans())
def test_any_words_are_metrics_or_a_line(words: str, trusted: bool) -> None:
    try:
        found = named_metrics(words, trusted=trusted)
    except UserError:
        return
    assert len({one.key for one in found}) == len(found) == words.count(",") + 1
    assert all(one.here or (trusted and len(one.commit or "") == 40) for one in found)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with metrics; where each has run is written beside it."""
    home = tmp_path_factory.mktemp("metrics")
    space = home / "hub/spaces/evaluate-metric/harmony/main"
    space.mkdir(parents=True)
    text = (AGREEMENT / "agreement.py").read_text().replace("Agreement", "Harmony")
    said = "print('ran', __file__)\n"
    (space / "harmony.py").write_text(said + text)
    (space / "app.py").write_text("raise SystemExit('the app of a space ran')")
    (space / "README.md").write_text("# Harmony\n")
    other = home / "hub/spaces/someone/empty/main"
    other.mkdir(parents=True)
    (other / "README.md").write_text("# Empty\n")
    with at_hub(home / "hub", home) as running:
        yield running


def test_a_metric_of_the_hub_at_its_commit(
    hub: Hub, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = commit_of(hub.folder, "spaces", "evaluate-metric/harmony", "main")
    given = settings(toy, tmp_path, metrics=f"harmony@{commit}:scale=1", trust_metric_code=True)
    found = train(given)
    assert json.loads(found.test_metrics)["harmony:scale=1"]["share"] == found.test_accuracy
    assert "README.md" not in hub.fetched(), "its code alone was fetched"
    asked = len(hub.requests)
    opened.open_metrics.cache_clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = train(replace(given, metrics=f"harmony@{commit}:scale=2"))
    assert "harmony:scale=2" in json.loads(again.test_metrics)
    assert len(hub.requests) == asked, "a commit in the cache needs no network"
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set and it is not cached"):
        train(replace(given, metrics=f"harmony@{COMMIT}"))


def test_what_the_hub_has_not_is_a_line(hub: Hub) -> None:
    empty = commit_of(hub.folder, "spaces", "someone/empty", "main")
    for name, says in {
        f"harmony@{COMMIT}": "no such metric or commit at http",
        f"someone/absent@{COMMIT}": "no such metric or commit at http",
        f"someone/empty@{empty}": r"has no empty\.py at that commit",
    }.items():
        with pytest.raises(UserError, match=says):
            opened.open_metrics(name, trusted=True)


def test_the_command(command: Command, toy: Path, tmp_path: Path) -> None:
    shutil.copytree(AGREEMENT, tmp_path / "agreement")
    words = ["--model", "tiny-gpt2", "--mode", "cls", "--keep", "1", "--shots", "8"]
    words += ["--epochs", "1", "--no-baseline", "--accelerator", "cpu", "--metrics"]
    done = command("slimcls.train", toy, *words, "./agreement")
    assert done.returncode == 0, done.stderr
    assert "agreement share" in done.stdout
    done = command("slimcls.train", toy, *words, "agreement")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "a metric of the hub is code, so pin it" in line
    assert "one of your own is a path, as ./agreement" in line


def test_without_the_extra_it_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "evaluate", None)
    opened.open_metrics.cache_clear()
    with pytest.raises(UserError, match=r"--metrics needs more packages \(evaluate\): pip install"):
        opened.open_metrics(str(AGREEMENT), trusted=False)
