"""The table at the end of a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from slimcls.config import RunConfig
from slimcls.runs.schema import Outcome, RunResult
from slimcls.runs.summary import run_summary


def result(folder: Path, **more: Any) -> RunResult:
    empty: dict[Any, Any] = {str: "", int: 0, float: 0.0}
    values = {name: empty[hint] for name, hint in get_type_hints(Outcome).items()}
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
