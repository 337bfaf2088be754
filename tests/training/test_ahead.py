"""How far training is: a line now and then, or a bar; another process goes on counting."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from slimcls.config import RunConfig
from slimcls.errors import Interrupted
from slimcls.log import duration
from slimcls.train import train
from slimcls.training import ahead

LINE = re.compile(r"^epoch (\d+) of (\d+), step (\d+) of (\d+): about .+ left$", re.MULTILINE)


def settings(toy: Path, out: Path, **more: Any) -> RunConfig:
    quick: dict[str, Any] = {
        "model": "tiny-gpt2", "mode": "cls", "keep": 2, "shots": 8, "epochs": 2, "batch_size": 6,
        "accelerator": "cpu", "save_model": "none", "baseline": False, "patience": 0,
    }  # fmt: skip
    return RunConfig(dataset=str(toy), out=str(out), **(quick | more))


def lines(folder: Path) -> list[tuple[str, ...]]:
    return LINE.findall((folder / "log.txt").read_text(encoding="utf-8"))


def test_a_line_where_the_last_is_old_enough(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "EVERY", 0.0)
    found = lines(train(settings(toy, tmp_path)).folder)
    assert found == [(str(1 + step // 5), "2", str(step), "8") for step in range(1, 9)]


def test_with_patience_it_is_the_most(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "EVERY", 0.0)
    found = train(settings(toy, tmp_path, patience=None)).folder / "log.txt"
    said = found.read_text(encoding="utf-8")
    assert re.search(r"^epoch 1 of at most 2, step 3 of 8: at most .+ left$", said, re.MULTILINE)
    assert re.search(r"^epoch 2 of at most 2: loss ", said, re.MULTILINE)


def test_no_line_where_it_is_not(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "EVERY", float("inf"))
    assert lines(train(settings(toy, tmp_path)).folder) == []


def test_a_bar_on_a_terminal(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ahead, "EVERY", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    seen = []
    update = ahead.tqdm.update

    def noted(bar: Any, n: float = 1) -> Any:
        if bar.unit == "step":
            seen.append((bar.n + n, bar.total, bar.desc))
        return update(bar, n)

    monkeypatch.setattr(ahead.tqdm, "update", noted)
    found = train(settings(toy, tmp_path))
    assert lines(found.folder) == []
    assert seen == [(n, 8, f"epoch {1 + n // 5} of 2: ") for n in range(1, 9)]
    assert "step/s" in capsys.readouterr().err


def test_who_goes_on_counts_on(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of an earlier process say nothing of this one's pace."""
    monkeypatch.setattr(ahead, "EVERY", 0.0)
    config = settings(toy, tmp_path, checkpoint_seconds=0.0)
    says = ahead.Ahead.on_train_batch_end

    def stop(self: Any, trainer: Any, *rest: Any) -> None:
        says(self, trainer, *rest)
        if trainer.global_step == 6:
            raise Interrupted(2, "stopped")

    with monkeypatch.context() as patch:
        patch.setattr(ahead.Ahead, "on_train_batch_end", stop)
        with pytest.raises(Interrupted):
            train(config)
    found = lines(train(config).folder)
    assert [step for _, _, step, _ in found] == ["1", "2", "3", "4", "5", "6", "6", "7", "8"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 seconds"), (89, "89 seconds"), (150, "2 minutes"), (5 * 3600, "5.0 hours")],
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert duration(seconds) == words
