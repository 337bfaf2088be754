"""A run that was killed, interrupted or terminated ends as if nothing had happened."""

from __future__ import annotations

import pickle
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import PATIENCE
from processes import started
from safetensors.torch import load_file

from slimcls.config import RunConfig
from slimcls.data.batches import Batch
from slimcls.errors import Diverged, UserError
from slimcls.storage.files import write_text
from slimcls.train import main, train
from slimcls.training.learner import Learner
from slimcls.training.left import save_trained

SETTINGS = "--model tiny-gpt2 --mode p-cls --keep 2 --shots 60 --epochs 8 --batch-size 8 --lr 1e-3"
#: What no two runs have in common: times, places, and whether the checkout was changed meanwhile.
TIMES = {
    "commit",
    "train_seconds",
    "total_seconds",
    "examples_per_second",
    "tokens_per_second",
    "peak_memory_mb",
    "latency_ms",
    "out",
    "checkpoint_seconds",
}


def words(toy: Path, out: Path, *more: str) -> list[str]:
    return [*SETTINGS.split(), "--dataset", str(toy), "--out", str(out), *more]


def start(toy: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    return started("-m", "slimcls.train", *words(toy, out, *more))


def finish(toy: Path, out: Path, *more: str) -> None:
    """The command to its end, in this process, as one that was started computes."""
    torch.set_num_threads(1)
    assert main(words(toy, out, *more)) == 0


def only_run(out: Path) -> Path:
    (folder,) = [path for path in out.iterdir() if path.is_dir()]
    return folder


def stop_in_training(process: subprocess.Popen[str], out: Path, number: int, wait: float) -> None:
    """Send a signal some time after the first checkpoint."""
    deadline = time.monotonic() + PATIENCE
    while not list(out.glob("*/checkpoints/last.ckpt")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(wait)
    process.send_signal(number)


@pytest.fixture(scope="module")
def undisturbed(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    finish(toy, out)
    return only_run(out)


def assert_same(one: Path, other: Path) -> None:
    assert one.name == other.name
    weights, others = (load_file(run / "model" / "model.safetensors") for run in (one, other))
    assert weights.keys() == others.keys()
    assert all(weights[name].equal(others[name]) for name in weights), "bit for bit"
    row, theirs = (pd.read_parquet(run / "result.parquet") for run in (one, other))
    keep = [name for name in row.columns if name not in TIMES]
    pd.testing.assert_frame_equal(row[keep], theirs[keep])
    curves, others_ = (pd.read_csv(run / "curves.csv") for run in (one, other))
    pd.testing.assert_frame_equal(
        curves.drop(columns="train_seconds"), others_.drop(columns="train_seconds")
    )
    pd.testing.assert_frame_equal(
        *(pd.read_parquet(run / "predictions.parquet") for run in (one, other))
    )


@pytest.mark.fault("kills")
@pytest.mark.parametrize("kills", [1, 3])
def test_kill_9_in_training(toy: Path, tmp_path: Path, undisturbed: Path, kills: int) -> None:
    chance = random.Random(kills)
    for _ in range(kills):
        process = start(toy, tmp_path, "--checkpoint-seconds", "0")
        stop_in_training(process, tmp_path, signal.SIGKILL, chance.uniform(0, 0.6))
        process.communicate()
        run = only_run(tmp_path)
        if not (run / "result.parquet").exists():
            names = {path.name for path in (run / "checkpoints").iterdir()}
            half_written = [name for name in names if name.endswith(".tmp")]
            assert names - set(half_written) <= {"last.ckpt", "best.safetensors", "trained.json"}
            assert len(half_written) <= 1, "the next start clears what a kill left"
    finish(toy, tmp_path, "--checkpoint-seconds", "0")
    assert_same(only_run(tmp_path), undisturbed)
    assert not (only_run(tmp_path) / "checkpoints").exists()


@pytest.mark.fault("kills")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop(
    toy: Path, tmp_path: Path, undisturbed: Path, number: int, code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    process = start(toy, tmp_path, "--checkpoint-seconds", "0")
    stop_in_training(process, tmp_path, number, 0.05)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "the same command goes on" in errors.splitlines()[-1]
    finish(toy, tmp_path)
    assert "going on from" in capsys.readouterr().err
    assert_same(only_run(tmp_path), undisturbed)


@pytest.mark.fault("kills")
def test_killed_after_early_stopping_decided(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"model": "tiny-gpt2", "mode": "cls", "keep": 2, "shots": 20, "epochs": 12}
    more = {"patience": 2, "lr": 1e-3, "checkpoint_seconds": 0.0, "dataset": str(toy)}
    whole = train(RunConfig(out=str(tmp_path / "whole"), **settings, **more))
    assert whole.epochs_run < 12, "or nothing was stopped early"

    class Killed(BaseException):
        pass

    def killed(path: Path, text: str) -> None:
        if path.name == "trained.json":
            raise Killed
        write_text(path, text)

    with monkeypatch.context() as patched:
        patched.setattr("slimcls.training.loop.write_text", killed)
        with pytest.raises(Killed):
            train(RunConfig(out=str(tmp_path / "killed"), **settings, **more))
    again = train(RunConfig(out=str(tmp_path / "killed"), **settings, **more))
    assert_same(again.folder, whole.folder)


def test_batches_of_a_token_budget_and_compact_embeddings(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the first step, inside an epoch and in the last."""
    settings = {"dataset": str(toy), "model": "tiny-gpt2", "mode": "p-cls", "keep": 2, "shots": 12}
    more = {"epochs": 3, "lr": 1e-3, "batch_tokens": 200, "checkpoint_seconds": 0.0}
    steps: list[torch.Size] = []
    train_step = Learner.training_step

    class Killed(BaseException):
        pass

    def counted(self: Learner, batch: Batch, batch_idx: int) -> torch.Tensor:
        steps.append(batch.input_ids.shape)
        if len(steps) == last:
            raise Killed
        return train_step(self, batch, batch_idx)

    monkeypatch.setattr(Learner, "training_step", counted)
    last = 0
    whole = train(RunConfig(out=str(tmp_path / "whole"), **settings, **more))
    assert len({items for items, _ in steps}) > 1, "batches of different sizes"
    assert all(items * tokens <= 200 for items, tokens in steps)
    count = len(steps)
    for last in (2, count // 2, count):
        steps.clear()
        out = str(tmp_path / f"killed-{last}")
        with pytest.raises(Killed):
            train(RunConfig(out=out, **settings, **more))
        last = 0
        again = train(RunConfig(out=out, **settings, **more))
        assert_same(again.folder, whole.folder)


def test_a_finished_run_answers_at_once(toy: Path, undisturbed: Path) -> None:
    before = (undisturbed / "result.parquet").stat().st_mtime_ns
    finish(toy, undisturbed.parent)
    assert (undisturbed / "result.parquet").stat().st_mtime_ns == before
    finish(toy, undisturbed.parent, "--overwrite")
    assert (undisturbed / "result.parquet").stat().st_mtime_ns != before


class Killed(BaseException):
    pass


def killed_run(toy: Path, out: Path, at: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a run is made of that was killed in its second epoch, or behind training."""
    settings: dict[str, Any] = {
        "dataset": str(toy), "model": "tiny-gpt2", "mode": "cls", "keep": 1, "shots": 20,
        "epochs": 3, "lr": 1e-3, "checkpoint_seconds": 0.0, "accelerator": "cpu",
    }  # fmt: skip

    def killed(*_: object, **__: object) -> None:
        raise Killed

    def stepped(self: Learner, batch: Batch, batch_idx: int) -> torch.Tensor:
        if self.global_step == 5:
            raise Killed
        return step(self, batch, batch_idx)

    step = Learner.training_step
    with monkeypatch.context() as patch:
        if at == "training":
            patch.setattr(Learner, "training_step", stepped)
        else:
            patch.setattr("slimcls.session.work.metrics", killed)
            patch.setattr("slimcls.session.outcome.metrics", killed)
        with pytest.raises(Killed):
            train(RunConfig(out=str(out), **settings))
    return settings


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("at", "name", "damage"),
    [
        ("training", "last.ckpt", cut_short),
        ("training", "last.ckpt", lambda path: path.write_bytes(b"")),
        ("training", "last.ckpt", lambda path: path.write_bytes(b"junk" * 99)),
        ("training", "last.ckpt", lambda path: torch.save({}, path)),
        ("training", "last.ckpt", lambda path: path.write_bytes(pickle.dumps({"a": 1}))),
        ("training", "best.safetensors", cut_short),
        ("training", "best.safetensors", Path.unlink),
        ("testing", "trained.json", cut_short),
        ("testing", "best.safetensors", cut_short),
        ("testing", "best.safetensors", Path.unlink),
    ],
)
def test_what_a_power_failure_damaged_is_named_and_training_begins_anew(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    at: str, name: str, damage: Callable[[Path], object],
) -> None:  # fmt: skip
    settings = killed_run(toy, tmp_path / "killed", at, monkeypatch)
    damage(only_run(tmp_path / "killed") / "checkpoints" / name)
    capsys.readouterr()
    again = train(RunConfig(out=str(tmp_path / "killed"), **settings))
    (note,) = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert note.endswith("training begins anew")
    assert name in note
    assert "weights_only" not in note
    assert_same(again.folder, train(RunConfig(out=str(tmp_path / "whole"), **settings)).folder)


def test_best_weights_that_break_while_training_are_one_line(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(model: torch.nn.Module, path: Path) -> None:
        save_trained(model, path)
        cut_short(path)

    monkeypatch.setattr("slimcls.training.checkpoints.save_trained", written)
    with pytest.raises(UserError, match=r"best.safetensors: cannot be read .* trains anew"):
        train(RunConfig(dataset=str(toy), model="tiny-gpt2", shots=8, epochs=1, out=str(tmp_path)))


def test_weights_that_are_no_numbers_after_training_are_one_line(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing that was tested reads them."""

    def written(model: torch.nn.Module, path: Path) -> None:
        with torch.no_grad():
            model.transformer.wpe.weight[-1] = float("nan")
        save_trained(model, path)

    monkeypatch.setattr("slimcls.training.checkpoints.save_trained", written)
    with pytest.raises(Diverged, match=r"wpe.weight is not finite after training: try a lower"):
        train(RunConfig(dataset=str(toy), model="tiny-gpt2", shots=8, epochs=1, out=str(tmp_path)))


@pytest.mark.parametrize("at", ["training", "testing"])
def test_what_is_whole_is_gone_on_from(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    at: str,
) -> None:  # fmt: skip
    settings = killed_run(toy, tmp_path, at, monkeypatch)
    capsys.readouterr()
    train(RunConfig(out=str(tmp_path), **settings))
    said = capsys.readouterr().err
    assert "damaged" not in said
    assert ("epoch 1 of " in said) is False
    assert ("epoch 2 of " in said) is (at == "training")
