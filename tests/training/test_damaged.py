"""A damaged state of training costs its time, never the run."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest
from conftest import PATIENCE
from training.test_resume import assert_same, finish, only_run, start


@pytest.fixture(scope="module")
def undisturbed(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    finish(start(toy, out))
    return only_run(out)


@pytest.fixture(scope="module")
def stopped(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was stopped in training."""
    out = tmp_path_factory.mktemp("stopped")
    process = start(toy, out, "--checkpoint-seconds", "0")
    deadline = time.monotonic() + PATIENCE
    while not list(out.glob("*/checkpoints/best.safetensors")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # The checkpoint of the next batch knows of the best weights.
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert (only_run(out) / "checkpoints" / "last.ckpt").exists()
    return out


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def made_text(path: Path) -> None:
    path.write_text("not what it was")


@pytest.mark.parametrize("damage", [cut_short, made_text])
@pytest.mark.parametrize("name", ["last.ckpt", "best.safetensors"])
def test_a_damaged_file_is_named_and_training_begins_anew(
    toy: Path, tmp_path: Path, stopped: Path, undisturbed: Path, name: str, damage: object
) -> None:
    out = tmp_path / "out"
    shutil.copytree(stopped, out)
    assert callable(damage)
    damage(only_run(out) / "checkpoints" / name)
    said = finish(start(toy, out))
    assert f"{name} is damaged; training starts from its beginning" in said
    assert "going on from" not in said
    assert_same(only_run(out), undisturbed)


def test_without_damage_it_goes_on(
    toy: Path, tmp_path: Path, stopped: Path, undisturbed: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(stopped, out)
    said = finish(start(toy, out))
    assert "going on from" in said
    assert "damaged" not in said
    assert_same(only_run(out), undisturbed)
