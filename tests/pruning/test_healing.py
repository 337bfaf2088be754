"""Healing on plain text: it helps, it goes on after any stop to the same weights."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import finished, started
from pruning.texts import TINY, write_texts
from safetensors.torch import load_file

from slimcls import prune as verb
from slimcls.errors import Interrupted
from slimcls.pruning import healing
from slimcls.pruning.settings import PruneConfig


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "texts.txt")


def settings(texts: Path, out: Path, **more: Any) -> PruneConfig:
    known = {"model": "tiny-llama", "text": str(texts), "out": str(out), "layers": [0, 1, 5]}
    return PruneConfig(**(known | {"heal": 12, "held_out": 6} | more))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    mine, theirs = weights(one), weights(other)
    return all(torch.equal(mine[name], theirs[name]) for name in mine.keys() | theirs.keys())


@pytest.mark.parametrize("name", TINY)
def test_healing_lowers_perplexity(name: str, texts: Path, tmp_path: Path) -> None:
    about = verb.prune(settings(texts, tmp_path / "a", model=name, heal=30))
    assert about.perplexity is not None
    assert about.perplexity_healed is not None
    assert about.perplexity_healed < about.perplexity
    verb.prune(settings(texts, tmp_path / "b", model=name, heal=0, held_out=64))
    healed, plain = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert healed.keys() == plain.keys()
    changed = [key for key in plain if not torch.equal(plain[key], healed[key])]
    assert 0 < len(changed) < len(plain)
    assert "healed with 30 steps of LoRA" in (tmp_path / "a" / "README.md").read_text()


@pytest.mark.fault("kills")
def test_a_stopped_healing_goes_on_to_the_same_weights(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verb.prune(settings(texts, tmp_path / "whole"))
    step, steps = healing._step, []

    def stops(*args: Any) -> None:
        step(*args)
        steps.append(1)
        if len(steps) == 5:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(healing, "_step", stops)
    config = settings(texts, tmp_path / "stopped")
    with pytest.raises(Interrupted) as stopped:
        verb.prune(config)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert not (tmp_path / "stopped").exists()
    verb.prune(config)
    assert len(steps) == 12
    assert same(tmp_path / "whole", tmp_path / "stopped")
    assert not (tmp_path / "stopped.healing").exists()


def test_the_checkpoint_of_another_healing_is_not_used(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, steps = healing._step, []

    def stops(*args: Any) -> None:
        step(*args)
        steps.append(1)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(healing, "_step", stops)
    with pytest.raises(Interrupted):
        verb.prune(settings(texts, tmp_path / "a"))
    verb.prune(settings(texts, tmp_path / "a", seed=1))
    assert len(steps) == 3 + 12


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half", b"\x80\x04K\x01."])
def test_a_damaged_checkpoint_is_said_and_left_aside(
    damage: bytes, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "a.healing" / "last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(damage)
    assert verb.prune(settings(texts, tmp_path / "a", heal=2)).healed_steps == 2
    assert f"note: {checkpoint} is damaged; healing starts again\n" in capsys.readouterr().err


@pytest.mark.fault("kills")
@pytest.mark.slow
def test_kill_minus_nine_costs_nothing_but_time(texts: Path, tmp_path: Path) -> None:
    command = [
        "-c",
        "import sys; from slimcls.pruning import healing; healing.EVERY = 0.0\n"
        "from slimcls import cli, prune; sys.exit(cli.run(prune.main))",
        "--model", "tiny-llama", "--text", str(texts), "--layers", "0,1,5", "--heal", "60",
        "--held-out", "6", "--out", str(tmp_path / "killed"),
    ]  # fmt: skip
    process = started(*command)
    checkpoint = tmp_path / "killed.healing" / "last.ckpt"
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed").exists()
    again = finished(*command)
    assert again.returncode == 0, again.stderr
    assert "perplexity" in again.stdout
    verb.prune(settings(texts, tmp_path / "whole", heal=60))
    assert same(tmp_path / "whole", tmp_path / "killed")
    about = json.loads((tmp_path / "killed" / "pruned.json").read_text())
    assert about["healed_steps"] == 60
