"""One run from settings to result: what it leaves behind, what it learns, what decides it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from conftest import Command, made_up_rows, write_csv
from safetensors.torch import load_file
from sklearn.metrics import f1_score

import slimcls
from slimcls.classifier.accuracy import accuracy_and_f1, metrics
from slimcls.classifier.modes import class_weights
from slimcls.config import NOT_HASHED, RunConfig
from slimcls.data.batches import Batch
from slimcls.data.prompts import PromptBuilder
from slimcls.errors import UserError
from slimcls.runs.results import read_result
from slimcls.runs.schema import RunResult
from slimcls.runs.summary import rival_words, run_summary
from slimcls.train import main, train
from slimcls.training.checkpoints import CURVES
from slimcls.training.learner import Learner

#: Columns that others rely on, beside all settings.
COLUMNS = [
    "run", "model", "mode", "dataset", "keep", "select", "layers", "seed", "shots", "labels_used",
    "params_full", "params_kept", "params_saved", "params_trained", "embedding_share", "depth",
    "validation_accuracy", "validation_low", "validation_high", "validation_macro_f1",
    "test_accuracy", "test_low", "test_high", "test_macro_f1", "per_class", "best_epoch",
    "epochs_run", "train_seconds", "total_seconds", "examples_per_second", "tokens_per_second",
    "peak_memory_mb", "model_mb", "latency_ms", "device", "commit", "slimcls_version",
    "torch_version", "transformers_version", "source_fingerprint", "data_fingerprint",
    "schema_version",
]  # fmt: skip
QUICK: dict[str, Any] = {
    "model": "tiny-gpt2", "mode": "cls", "keep": 2, "shots": 8, "epochs": 1, "lr": 1e-3,
    "accelerator": "cpu", "save_model": "none",
}  # fmt: skip


def settings(toy: Path, out: Path, **more: Any) -> RunConfig:
    return RunConfig(dataset=str(toy), out=str(out), **(QUICK | more))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of all tests that do not mind the others'."""
    return tmp_path_factory.mktemp("runs")


@contextlib.contextmanager
def seen_batches() -> Any:
    """Batches that the learner trains on, with the learning rate and the loss of each."""
    seen: list[tuple[Batch, float, float]] = []
    step = Learner.training_step

    def spy(self: Learner, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = step(self, batch, batch_idx)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        seen.append((batch, rate, float(loss.detach())))
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "training_step", spy)
        yield seen


# What a run leaves behind.


@pytest.fixture(scope="module")
def finished(toy: Path, out: Path) -> RunResult:
    return train(settings(toy, out, mode="p-cls", epochs=2, save_model="best", shots="all"))


def test_the_run_directory(finished: RunResult) -> None:
    assert {path.name for path in finished.folder.iterdir()} - {".lock"} == {
        "config.yaml", "result.parquet", "predictions.parquet", "validation.parquet", "curves.csv",
        "model", "log.txt",
    }  # fmt: skip
    saved = yaml.safe_load((finished.folder / "config.yaml").read_text())
    assert RunConfig(**saved) == finished.config
    assert saved["layers"] == [0, 1]
    assert saved["precision"] == "32"
    log = (finished.folder / "log.txt").read_text()
    assert "plan: tiny-gpt2, 2 of 6 layers kept (0,1)" in log
    assert "the test part has 60 rows, under 200" in log


def test_the_result_row(finished: RunResult) -> None:
    table = pq.read_table(finished.folder / "result.parquet")
    assert table.num_rows == 1
    assert set(COLUMNS) <= set(table.column_names)
    assert {f.name for f in dataclasses.fields(RunConfig)} <= set(table.column_names)
    row = table.to_pylist()[0]
    assert row["shots"] is None, "all is stored as null"
    assert read_result(finished.folder) == finished
    assert finished.shots == "all"
    assert finished.train_items == 300 - 3 - 60
    assert row["labels_used"] == row["train_items"] + row["validation_items"] + 3
    assert row["test_low"] < row["test_accuracy"] < row["test_high"]
    assert row["params_saved"] == pytest.approx(1 - row["params_kept"] / row["params_full"])
    assert row["params_trained"] == row["params_kept"] + 3 * 32
    assert row["source_note"] == "random weights"
    assert row["model_mb"] * 1e6 == sum(
        path.stat().st_size for path in (finished.folder / "model").iterdir()
    )
    for name in ("latency_ms", "peak_memory_mb", "examples_per_second", "tokens_per_second"):
        assert row[name] > 0


def test_predictions_give_the_figures(finished: RunResult) -> None:
    table = pd.read_parquet(finished.folder / "predictions.parquet")
    assert list(table) == ["id", "label", "prediction", "probabilities", "tokens"]
    assert sorted(table["id"]) == list(range(60))
    assert (table["label"] == table["prediction"]).mean() == pytest.approx(finished.test_accuracy)
    macro = f1_score(table["label"], table["prediction"], average="macro")
    assert macro == pytest.approx(finished.test_macro_f1)
    per_class = json.loads(finished.per_class)
    assert [row["label"] for row in per_class] == ["food", "travel", "weather"]
    assert sum(row["items"] for row in per_class) == 60
    names = ["food", "travel", "weather"]
    assert [names[np.argmax(p)] for p in table["probabilities"]] == list(table["prediction"])


def test_curves_have_a_row_an_epoch(finished: RunResult) -> None:
    curves = pd.read_csv(finished.folder / "curves.csv")
    assert curves["epoch"].tolist() == [1, 2]
    best = curves.loc[curves["validation_accuracy"].idxmax()]
    assert finished.best_epoch == best["epoch"]
    assert finished.validation_accuracy == pytest.approx(best["validation_accuracy"])
    assert finished.validation_macro_f1 == pytest.approx(best["validation_macro_f1"])


def test_what_was_cut_is_said(toy: Path, out: Path) -> None:
    result = train(settings(toy, out, mode="p-cls", max_text_tokens=4, epochs=0))
    log = (result.folder / "log.txt").read_text()
    assert result.texts_cut == 24 + 60 + 60
    assert "note: 144 of 144 texts (100%) have more than 4 tokens and were cut; --max-text" in log
    assert "note: 3 demonstrations have more than 4 too" in log
    assert result.text_tokens == 4


def test_labels_used_has_demonstrations_only_in_a_prompt(toy: Path, out: Path) -> None:
    bare, prompted = (train(settings(toy, out, mode=mode)) for mode in ("cls", "p-cls"))
    assert prompted.labels_used == bare.labels_used + 3


# What it sees and learns.


def test_modes_and_depths_see_the_same_items(
    toy: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slimcls.session import inputs

    drawn = []
    draw = inputs.draw
    monkeypatch.setattr(inputs, "draw", lambda *a, **k: drawn.append(draw(*a, **k)) or drawn[-1])
    for mode, keep in [("cls", 1), ("p-cls", 1), ("lm", 1), ("cls", 6)]:
        train(settings(toy, out, mode=mode, keep=keep, seed=5))
    assert drawn[1:] == drawn[:1] * 3
    train(settings(toy, out, seed=6))
    assert drawn[4].train != drawn[0].train
    parts = [drawn[0].demonstrations, drawn[0].train, drawn[0].validation, drawn[0].test]
    texts = [example.text for part in parts for example in part]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("model", "mode", "more"),
    [
        ("tiny-gpt2", "cls", {}),
        ("tiny-neox", "p-cls", {}),
        ("tiny-llama", "lm", {}),
        ("tiny-llama", "lm", {"lm_loss": "label-token"}),
        ("tiny-llama", "lm", {"lm_loss": "sequence", "demos": 0, "epochs": 8, "lr": 5e-3}),
    ],
)
def test_every_mode_learns(
    toy: Path, out: Path, model: str, mode: str, more: dict[str, Any]
) -> None:
    """A third of the texts would be right by chance."""
    learning = {"shots": 60, "epochs": 4, "lr": 4e-3, "batch_size": 8}
    result = train(settings(toy, out, model=model, mode=mode, **(learning | more)))
    assert result.test_accuracy > 0.6
    assert result.validation_accuracy > 0.6


@pytest.mark.parametrize("mode", ["cls", "p-cls", "lm"])
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_query_never_holds_its_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, part: str
) -> None:
    """Other labels for the same texts change nothing of what goes in."""
    from slimcls.session import inputs as session_inputs
    from slimcls.session.inputs import Inputs, make_inputs

    seen: list[Inputs] = []

    def spy(*args: Any) -> Inputs:
        seen.append(make_inputs(*args))
        raise UserError("seen enough")

    monkeypatch.setattr(session_inputs, "make_inputs", spy)
    rows = made_up_rows(90, 3)
    for turn in (0, 1):
        folder = tmp_path / str(turn)
        folder.mkdir()
        following = {"weather": "food", "food": "travel", "travel": "weather"}
        turned = [(text, following[label] if turn else label) for text, label in rows]
        write_csv(folder / "train.csv", turned)
        write_csv(folder / "test.csv", [(f"test {text}", label) for text, label in turned[:30]])
        with pytest.raises(UserError, match="seen enough"):
            train(settings(folder, tmp_path / "runs", mode=mode, demos=0))
    encoded = []
    for inputs in seen:
        encoder: Any = inputs.encoder
        words = [tuple(ids) for ids in getattr(encoder, "label_ids", [])]
        examples, items = getattr(inputs.splits, part), getattr(inputs, part)
        for ids in items if words else []:
            assert not any(tuple(ids[-len(word) :]) == word for word in words)
        encoded.append({e.text: ids for e, ids in zip(examples, items, strict=True)})
    common = encoded[0].keys() & encoded[1].keys()
    assert len(common) >= 10 or part != "test"
    assert all(encoded[0][text] == encoded[1][text] for text in common)
    if mode != "cls":
        builder = seen[0].encoder
        assert isinstance(builder, PromptBuilder)
        for text, ids in encoded[0].items():
            prompt = builder.tokenizer.decode(ids)
            assert prompt.count("food") + prompt.count("travel") + prompt.count("weather") == 0, (
                text
            )


def test_dropout_acts_in_training_and_not_in_evaluation(toy: Path, out: Path) -> None:
    """In the run as it is, on the very batches it sees."""
    same_twice: dict[str, list[bool]] = {"training": [], "validation": []}
    step, validate = Learner.training_step, Learner.validation_step

    def twice(self: Learner, batch: Batch) -> bool:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            losses = [self.mode.logits(self.model, batch, self.read_prefix())[-1] for _ in range(2)]
        return losses[0].equal(losses[1])

    def train_spy(self: Learner, batch: Batch, batch_idx: int) -> torch.Tensor:
        same_twice["training"].append(twice(self, batch))
        return step(self, batch, batch_idx)

    def validation_spy(self: Learner, batch: Batch, batch_idx: int) -> None:
        same_twice["validation"].append(twice(self, batch))
        validate(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "training_step", train_spy)
        patch.setattr(Learner, "validation_step", validation_spy)
        train(settings(toy, out, epochs=2, mode="p-cls", seed=3))
    # The second epoch too: a validation must not leave the model without dropout.
    assert same_twice["training"] == [False] * 4
    assert same_twice["validation"] == [True] * 2


# What decides it.


def weights(result: RunResult) -> dict[str, torch.Tensor]:
    return load_file(result.folder / "model" / "model.safetensors")


def test_the_seed_decides(toy: Path, tmp_path: Path) -> None:
    made = [
        train(settings(toy, tmp_path / str(turn), seed=seed, save_model="best"))
        for turn, seed in enumerate([0, 0, 1])
    ]
    one, again, other = (weights(result) for result in made)
    assert all(one[name].equal(again[name]) for name in one), "bit for bit"
    assert not all(one[name].equal(other[name]) for name in one)
    assert made[0].folder.name == made[1].folder.name != made[2].folder.name
    tables = [pd.read_parquet(result.folder / "predictions.parquet") for result in made]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])


def test_what_is_a_run_of_its_own(toy: Path, tmp_path: Path) -> None:
    """Whatever changes what comes out; not where it is written, nor how it is watched."""
    none = {"epochs": 0, "keep": 1}
    first = train(settings(toy, tmp_path, **none))
    same = [{"logger": "tensorboard"}, {"checkpoint_seconds": 1.0}, {"force": True}]
    for more in same:
        assert train(settings(toy, tmp_path, **none, **more)).folder == first.folder
    elsewhere = train(settings(toy, tmp_path / "elsewhere", **none))
    assert elsewhere.folder.name == first.folder.name
    others = [{"lr": 2e-3}, {"seed": 1}, {"batch_size": 4}, {"clip": 0.0}, {"tune": "head"}]
    names = {train(settings(toy, tmp_path, **none, **more)).folder.name for more in others}
    copy = tmp_path / "copy" / "toy"
    copy.mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        (copy / name).write_bytes((toy / name).read_bytes())
    assert train(settings(copy, tmp_path, **none)).folder == first.folder
    write_csv(copy / "train.csv", [*made_up_rows(300, 1), ("one more about rain", "weather")])
    names.add(train(settings(copy, tmp_path, **none)).folder.name)
    assert len({*names, first.folder.name}) == len(others) + 2
    assert {"out", "logger"} <= NOT_HASHED


def test_no_epochs_test_the_untrained_cut(toy: Path, out: Path) -> None:
    result = train(settings(toy, out, epochs=0))
    assert (result.best_epoch, result.epochs_run, result.train_seconds) == (0, 0, 0)
    assert result.examples_per_second == 0
    assert 0 <= result.validation_accuracy <= 1
    assert result.validation_low <= result.validation_accuracy <= result.validation_high
    assert (result.folder / "curves.csv").read_text().splitlines() == [",".join(CURVES)]


def forced(accuracies: list[float], macro: list[float] | None = None) -> Any:
    """Makes the validations come out as given, one after the other."""
    pairs = iter(zip(accuracies, macro or accuracies, strict=True))
    return lambda confusion: next(pairs)


def test_the_best_epoch_is_tested_not_the_last(toy: Path, out: Path) -> None:
    """Epoch 2 is said to be the best, and epoch 3 to be as good."""
    kept: list[dict[str, torch.Tensor]] = []
    end = Learner.on_validation_epoch_end

    def spy(self: Learner) -> None:
        end(self)
        kept.append({name: p.detach().clone() for name, p in self.model.named_parameters()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slimcls.training.learner.accuracy_and_f1", forced([0.2, 0.7, 0.7, 0.3]))
        patch.setattr(Learner, "on_validation_epoch_end", spy)
        # All rows are in the model while it is trained, so that they can be compared.
        more = {"save_model": "best", "compact_vocabulary": False}
        result = train(settings(toy, out, epochs=4, seed=9, **more))
    assert (result.best_epoch, result.epochs_run) == (2, 4)
    assert result.validation_accuracy == 0.7
    saved = weights(result)
    assert all(saved[name].equal(kept[1][name]) for name in saved)
    assert not all(saved[name].equal(kept[3][name]) for name in saved)


@pytest.mark.parametrize(("monitor", "best", "epochs"), [("accuracy", 1, 3), ("macro-f1", 3, 5)])
def test_patience_stops_early(
    toy: Path, out: Path, monkeypatch: pytest.MonkeyPatch, monitor: str, best: int, epochs: int
) -> None:
    accuracy = [0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    macro = [0.3, 0.4, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4]
    monkeypatch.setattr("slimcls.training.learner.accuracy_and_f1", forced(accuracy, macro))
    result = train(settings(toy, out, epochs=9, patience=2, monitor=monitor))
    assert (result.best_epoch, result.epochs_run) == (best, epochs)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_schedules(toy: Path, out: Path, schedule: str) -> None:
    with seen_batches() as seen:
        train(settings(toy, out, epochs=2, batch_size=3, warmup=0.25, schedule=schedule, lr=1e-3))
    rates = [rate * 1e3 for _, rate, _ in seen]
    assert len(rates) == 16
    assert rates[:4] == pytest.approx([0, 0.25, 0.5, 0.75])
    done = [(step - 4) / 12 for step in range(4, 16)]
    expected = {
        "constant": [1.0] * 12,
        "linear": [1 - share for share in done],
        "cosine": [(1 + math.cos(math.pi * share)) / 2 for share in done],
    }
    assert rates[4:] == pytest.approx(expected[schedule])


def test_clipping_limits_the_norm(toy: Path, out: Path) -> None:
    norms: dict[float, list[float]] = {0.0: [], 0.01: []}
    clip = Learner.configure_gradient_clipping

    def spy(self: Learner, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        clip(self, optimizer, *args, **kwargs)
        gradients = [p.grad.norm() for p in self.model.parameters() if p.grad is not None]
        norms[self.config.clip].append(float(torch.stack(gradients).norm()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "configure_gradient_clipping", spy)
        for most in norms:
            train(settings(toy, out, clip=most))
    assert max(norms[0.0]) > 0.1
    assert max(norms[0.01]) == pytest.approx(0.01, rel=1e-3)


def test_class_weights(tmp_path: Path) -> None:
    assert class_weights([0, 0, 0, 1], 2).tolist() == pytest.approx([4 / 6, 2.0])
    assert len(class_weights([0, 1], 4)) == 4, "also where the last classes have no items"
    labels = [0] * 5 + [1] * 3 + [2]
    mean = sum(class_weights(labels, 3)[label] for label in labels) / len(labels)
    assert mean == pytest.approx(1)
    rows = made_up_rows(300, 4)
    rare = [row for row in rows if row[1] != "food"] + [r for r in rows if r[1] == "food"][:12]
    folder = tmp_path / "rare"
    folder.mkdir()
    write_csv(folder / "train.csv", rare)
    write_csv(folder / "test.csv", made_up_rows(60, 5))
    losses = []
    for weighted in (False, True):
        with seen_batches() as seen:
            more: dict[str, Any] = {"shots": "all", "validation_size": 20, "warmup": 0}
            train(settings(folder, tmp_path / "runs", class_weights=weighted, **more))
        losses.append([loss for _, _, loss in seen])
    assert losses[0][0] != losses[1][0]


def test_macro_f1_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    for classes, items in [(2, 9), (3, 40), (6, 25), (6, 4)]:
        truth = generator.integers(0, classes, items)
        predicted = generator.integers(0, classes, items)
        confusion = torch.zeros(classes, classes)
        for one, other in zip(truth, predicted, strict=True):
            confusion[one, other] += 1
        expected = f1_score(truth, predicted, average="macro")
        accuracy, macro = accuracy_and_f1(confusion)
        assert macro == pytest.approx(expected)
        assert accuracy == pytest.approx((truth == predicted).mean())
        logits = torch.nn.functional.one_hot(torch.tensor(predicted), classes).float()
        found = metrics(logits, truth.tolist(), [str(name) for name in range(classes)])
        assert found.macro_f1 == pytest.approx(expected)
        assert found.accuracy == pytest.approx(accuracy)


def test_validation_figures_do_not_depend_on_its_batches(toy: Path, out: Path) -> None:
    made = [train(settings(toy, out, mode="p-cls", eval_batch_size=size)) for size in (1, 7, 64)]
    assert len({result.validation_accuracy for result in made}) == 1
    assert len({result.test_accuracy for result in made}) == 1


def test_the_shared_prefix_changes_no_step(toy: Path, out: Path) -> None:
    """Without dropout, which draws other places where the prefix is read once."""
    losses, longest = [], []
    for shared in (True, False):
        with seen_batches() as seen, pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                Learner, "train", lambda self, mode=True: torch.nn.Module.train(self, False)
            )
            train(settings(toy, out, epochs=2, mode="p-cls", share_prefix=shared))
        losses.append([loss for _, _, loss in seen])
        longest.append(max(int(batch.lengths.max()) for batch, _, _ in seen))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert longest[0] < longest[1] / 2


# What Lightning does for us.


def test_two_processes(toy: Path, tmp_path: Path, command: Command) -> None:
    words = "--model tiny-gpt2 --mode cls --shots 8 --epochs 2 --lr 1e-3 --accelerator cpu"
    words += " --strategy ddp --devices 2 --batch-size 4"
    done = command("slimcls.train", "--dataset", toy, *words.split())
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    result = read_result(folder)
    assert result is not None
    assert (result.devices, result.epochs_run) == (2, 2)
    # Both processes' validation items count.
    hits = result.validation_accuracy * result.validation_items
    assert hits == pytest.approx(round(hits))
    assert done.stdout.count("test accuracy") == 1
    assert done.stderr.count("run directory") == 1
    assert pd.read_csv(folder / "curves.csv")["step"].tolist() == [3, 6]
    predictions = slimcls.load(folder).predict([row[0] for row in made_up_rows(5, 8)])
    assert len(predictions) == 5


def test_more_processes_than_validation_items(toy: Path, tmp_path: Path, command: Command) -> None:
    words = "--model tiny-gpt2 --mode cls --shots 8 --epochs 1 --accelerator cpu"
    words += " --strategy ddp --devices 2 --validation-size 1"
    done = command("slimcls.train", "--dataset", toy, *words.split())
    assert done.returncode == 2, done.stderr
    assert "fewer --devices" in done.stderr.splitlines()[-1]


def test_tensorboard(toy: Path, tmp_path: Path) -> None:
    result = train(settings(toy, tmp_path, logger="tensorboard", epochs=2))
    (events,) = (result.folder / "tensorboard").glob("events.out.tfevents.*")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(events))
    found.Reload()
    assert {"validation_accuracy", "validation_macro_f1"} <= set(found.Tags()["scalars"])
    assert len(found.Scalars("validation_accuracy")) == 2
    assert (result.folder / "curves.csv").exists()


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_logger_without_its_package(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    loggers = pytest.importorskip(f"lightning.pytorch.loggers.{name}")
    monkeypatch.setattr(loggers, f"_{name.upper()}_AVAILABLE", False)
    with pytest.raises(UserError, match=f"--logger {name}.*pip install {name}"):
        train(settings(toy, tmp_path, logger=name))


def test_bf16_on_a_processor(toy: Path, out: Path) -> None:
    result = train(settings(toy, out, precision="bf16", save_model="best"))
    assert result.precision == "bf16"
    assert {tensor.dtype for tensor in weights(result).values()} == {torch.float32}


def test_the_environment_does_not_leak(toy: Path, out: Path) -> None:
    """A run leaves no trace in this process that would change the next."""
    before = dict(os.environ)
    train(settings(toy, out, seed=12))
    assert {k: v for k, v in os.environ.items() if k not in before} == {}


# What is refused before any work, and what is found again.


def test_a_folder_that_cannot_be_written_is_found_before_heavy_imports(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code = (
        "import sys; from slimcls.train import main\n"
        "try: main(['nothing.csv', '--out', 'file/runs'])\n"
        "except Exception as error: print(error)\n"
        "print(*(sys.modules.keys() & {'torch', 'transformers', 'lightning', 'pandas', 'duckdb'}))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(slimcls.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.stdout == "--out file/runs: cannot be written (Not a directory)\n\n", done.stderr


def test_finished_before_looks_for_the_artefact(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(toy, tmp_path, save_model="best")
    first = train(config)
    assert train(config) == first
    assert f"finished before; --overwrite starts again: {first.folder}" in capsys.readouterr().err
    assert "try next" in run_summary(first)
    (first.folder / "model" / "model.safetensors").unlink()
    assert train(config) == first, "the figures stand"
    assert "finished before, but its model/ lacks the weights" in capsys.readouterr().err
    assert "its weights are gone; --overwrite trains it again" in run_summary(first)
    assert "try next" not in run_summary(first)
    assert train(dataclasses.replace(config, overwrite=True)).has_model
    assert train(settings(toy, tmp_path)).has_model, "it was not to be saved"


# What a run must not be silent about.


def test_a_run_that_learnt_nothing_says_so(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(toy, tmp_path, lr=1e-9, epochs=3, save_model="best")
    result = train(config)
    assert result.epochs_run == 3
    assert "not shown to be better than always answering" in result.warnings
    assert "the training loss never fell" in result.warnings
    card = (result.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert f"Warning: {result.warnings}." in card
    assert rival_words(result)[0] in card
    assert main(["--config", str(result.folder / "config.yaml")]) == 0
    out = capsys.readouterr().out
    assert f"warning: {result.warnings}" in out.splitlines()
    assert out.splitlines()[-1] == rival_words(result)[0]
    assert "points better than this run" in out


def test_a_run_that_was_still_learning_says_so(toy: Path, tmp_path: Path) -> None:
    learning = {"shots": 60, "lr": 4e-3, "batch_size": 8}
    result = train(settings(toy, tmp_path, epochs=2, **learning))
    assert result.best_epoch == 2
    assert result.converged is False
    assert result.warnings.startswith("training ended after 2 epochs, too early to show that")
    assert read_result(result.folder) == result


def test_untrained_is_no_training_that_failed(toy: Path, tmp_path: Path) -> None:
    assert train(settings(toy, tmp_path, mode="lm", epochs=0)).warnings == ""


def test_a_run_killed_behind_training_judges_the_same(toy: Path, tmp_path: Path) -> None:
    """Its losses come from the file that says that training is over."""
    first = train(settings(toy, tmp_path / "a", lr=1e-9, epochs=2))

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slimcls.session.work.complete", stop)
        with pytest.raises(KeyboardInterrupt):
            train(settings(toy, tmp_path / "b", lr=1e-9, epochs=2))
    assert train(settings(toy, tmp_path / "b", lr=1e-9, epochs=2)).warnings == first.warnings != ""
