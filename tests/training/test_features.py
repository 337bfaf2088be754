"""A head trained on kept features is the head that is trained behind the backbone.

Whatever was kept before, by whom and in whatever order, a run's numbers are the same to the last
bit, because a vector's are.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor
from training.test_golden import FAMILIES
from training.test_resume import assert_same, only_run, start, stop_in_training
from transformers import AutoModelForSequenceClassification, AutoTokenizer, GPT2Model

from slimcls.backbones import sources
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.modes import make_mode
from slimcls.classifier.trunk import last_tokens, read_prefix
from slimcls.config import RunConfig
from slimcls.data.batches import Batch, Items, collate
from slimcls.log import Log
from slimcls.storage.vectors import Vectors
from slimcls.train import train
from slimcls.training import features, frozen, tuning
from slimcls.training.features import Features
from slimcls.training.learner import Learner
from slimcls.training.loop import Work, fit

PREFIX = [5, 17, 33, 200, 9, 41]
LABELS = ["a", "b", "c"]


def settings(family: str, **more: Any) -> RunConfig:
    base: dict[str, Any] = {
        "dataset": "made up", "model": family, "mode": "cls", "tune": "head", "keep": 3,
        "layers": [0, 1, 2], "lr": 1e-2, "epochs": 2, "batch_size": 4, "precision": "32",
        "accelerator": "cpu", "seed": 7,
    }  # fmt: skip
    return RunConfig(**(base | more))


def texts(count: int, seed: int, longest: int = 30) -> list[list[int]]:
    chance = random.Random(seed)
    return [
        [chance.randrange(5, 500) for _ in range(chance.randint(1, longest))] for _ in range(count)
    ]


def opened(family: str) -> tuple[Any, Source]:
    """A model whose head alone is trained, and where it comes from."""
    source = sources.find(family, None)
    model = open_cut(
        source, (0, 1, 2), head="classification", labels=LABELS, seed=7, pad_token_id=0
    )
    tuning.choose_trained(model, settings(family))
    return model, source


@pytest.fixture(scope="module")
def models() -> dict[str, tuple[Any, Source]]:
    return {family: opened(family) for family in FAMILIES}


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which no features are kept yet."""
    monkeypatch.setattr(frozen, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads after a test is that of before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def made(
    model: tuple[Any, Source], items: list[list[int]], prefix: list[int], precision: str
) -> Tensor:
    """Vectors by an object that knows none yet."""
    family = model[1].name
    return Features(model[0], settings(family), model[1], "cpu", Log(quiet=True)).of(
        items, prefix, precision
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("precision", "prefix"), [("32", []), ("32", PREFIX), ("bf16", PREFIX)])
def test_a_vector_has_the_same_bits_whatever_it_was_computed_with(
    family: str,
    precision: str,
    prefix: list[int],
    models: dict[str, tuple[Any, Source]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    threads: None,
) -> None:
    items = texts(60, 1)
    orders = {
        "all": [items],
        "backwards": [items[::-1]],
        "alone": [[ids] for ids in items[:5]],
        "with others": [items[:20] + texts(100, 2), items],
    }
    found: dict[tuple[int, ...], Tensor] = {}
    for count, (order, parts) in enumerate(orders.items()):
        torch.set_num_threads(1 + count % 3)
        monkeypatch.setattr(frozen, "cache_dir", lambda order=order: tmp_path / order)
        for part in parts:
            for ids, vector in zip(
                part, made(models[family], part, prefix, precision), strict=True
            ):
                assert found.setdefault(tuple(ids), vector).equal(vector), order
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prefix", [[], PREFIX])
def test_a_vector_is_the_hidden_state_that_goes_into_the_head(
    family: str, prefix: list[int], models: dict[str, tuple[Any, Source]], empty_cache: Path
) -> None:
    model, items = models[family][0], texts(20, 3)
    base = getattr(model, model.base_model_prefix)
    batch = collate([(place, ids, 0) for place, ids in enumerate(items)], 0)
    with torch.no_grad():
        read = read_prefix(base, torch.tensor(prefix)) if prefix else None
        plain = last_tokens(base, batch, read)[:, 0]
    found = made(models[family], items, prefix, "32")
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)
    assert not found.requires_grad


def losses_and_predictions(
    family: str, config: RunConfig, prefix: list[int], kept: bool, folder: Path
) -> tuple[list[float], list[int], Tensor]:
    """Losses of all steps and predicted validation classes of a fit, and the head it leaves."""
    model, source = opened(family)
    mode = make_mode(config.mode, None, [])
    if config.class_weights:
        mode.class_weights = torch.tensor([0.2, 1.0, 3.0])
    train, validation = texts(48, 4), texts(20, 5)
    labels = [(len(ids) + ids[0]) % 3 for ids in [*train, *validation]]
    if kept:
        kept_features = Features(model, config, source, "cpu", Log(quiet=True))
        mode = kept_features.mode(mode, [*train, *validation], prefix, config.precision)
        prefix = []
    losses: list[float] = []
    predicted: list[int] = []
    step, scored = Learner.training_step, type(mode).logits

    def spy(self: Learner, batch: Batch, batch_idx: int) -> Tensor:
        loss = step(self, batch, batch_idx)
        losses.append(float(loss.detach()))
        return loss

    def logits(self: Any, *args: Any) -> Tensor:
        found = scored(self, *args)
        if not torch.is_grad_enabled():
            predicted.extend(found[-1].argmax(1).tolist())
        return found

    (folder / "checkpoints").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "training_step", spy)
        patch.setattr(type(mode), "logits", logits)
        fit(Work(
            model, mode, config, Items(train, labels[:48]), Items(validation, labels[48:]),
            prefix, folder, Log(quiet=True),
        ))  # fmt: skip
    return losses, predicted, model.score.weight.detach().clone()


OTHERS: list[dict[str, Any]] = [
    {"class_weights": True},
    {"batch_tokens": 60},
    {"monitor": "macro-f1", "patience": 1, "epochs": 5},
    {"schedule": "cosine", "warmup": 0.0, "clip": 0.0, "weight_decay": 0.3},
]


@pytest.mark.parametrize(
    ("family", "mode", "more"),
    [(family, mode, {}) for family in FAMILIES for mode in ("cls", "p-cls")]
    + [("tiny-llama", "cls", more) for more in OTHERS],
)
def test_the_head_learns_as_it_does_behind_the_backbone(
    family: str, mode: str, more: dict[str, Any], tmp_path: Path, empty_cache: Path
) -> None:
    config, prefix = settings(family, mode=mode, **more), PREFIX if mode == "p-cls" else []
    plain = losses_and_predictions(family, config, prefix, False, tmp_path / "plain")
    kept = losses_and_predictions(family, config, prefix, True, tmp_path / "kept")
    assert len(kept[0]) == len(plain[0]) >= 12
    assert kept[0] == pytest.approx(plain[0], abs=1e-5)
    assert kept[1] == plain[1]
    torch.testing.assert_close(kept[2], plain[2], atol=1e-4, rtol=0)
    start = opened(family)[0].score.weight
    assert (kept[2] - start).abs().max() > 1e-2, "it has learned"


@pytest.mark.parametrize("family", ["tiny-gpt2", "tiny-opt-post"])
def test_half_precision_is_that_of_training(family: str, tmp_path: Path, empty_cache: Path) -> None:
    """Both ways round alike; how many rows a product has decides how bfloat16 is summed."""
    config = settings(family, precision="bf16")
    plain = losses_and_predictions(family, config, [], False, tmp_path / "plain")
    kept = losses_and_predictions(family, config, [], True, tmp_path / "kept")
    exact = losses_and_predictions(family, settings(family), [], True, tmp_path / "exact")
    apart = torch.tensor([kept[0], plain[0], exact[0]])
    assert (apart[0] - apart[1]).abs().max() < 5e-3
    assert (apart[0] - apart[2]).abs().max() > 0


def test_a_batch_is_computed_by_one_thread(
    models: dict[str, tuple[Any, Source]],
    empty_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    threads: None,
) -> None:
    """Kernels on large batches begin their threads' parts in the middle of vector registers."""
    seen = []

    def spy(*args: Any) -> Tensor:
        seen.append(torch.get_num_threads())
        return last_tokens(*args)

    monkeypatch.setattr(features, "last_tokens", spy)
    torch.set_num_threads(3)
    made(models["tiny-gpt2"], texts(200, 1), [], "32")
    assert set(seen) == {1}
    assert len(seen) > 5
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prefix", [[], PREFIX])
def test_texts_that_fill_the_context(
    family: str, prefix: list[int], models: dict[str, tuple[Any, Source]], empty_cache: Path
) -> None:
    room = models[family][0].config.max_position_embeddings - len(prefix)
    items = [[9] * room, [9] * (room - 1), [9] * (room - 2)]
    assert made(models[family], items, prefix, "32").isfinite().all()


def test_whatever_decides_a_vector_decides_where_it_lies() -> None:
    model, source = opened("tiny-gpt2")

    def folder(prefix: list[int], precision: str, **more: Any) -> Path:
        found = Features(model, settings("tiny-gpt2", **more), source, "cpu", Log(quiet=True))
        return found._frozen._store(prefix, precision).folder

    others = [
        folder([], "32"), folder(PREFIX, "32"), folder(PREFIX[:-1], "32"), folder([], "bf16"),
        folder([], "32", layers=[0, 1, 3]), folder([], "32", random_blocks=True),
        folder([], "32", random_blocks=True, seed=8),
    ]  # fmt: skip
    assert len(set(others)) == len(others)
    same = [{"lr": 0.5}, {"seed": 8}, {"epochs": 9, "batch_size": 2}, {"class_weights": True}]
    assert {folder([], "32", **more) for more in same} == {others[0]}


def run(toy: Path, out: Path, **more: Any) -> Path:
    """The directory of a finished run that trains the head of a tiny model."""
    base: dict[str, Any] = {
        "model": "tiny-gpt2", "mode": "cls", "tune": "head", "keep": 2, "shots": 20, "epochs": 3,
        "lr": 1e-2, "batch_size": 8, "accelerator": "cpu", "precision": "32",
    }  # fmt: skip
    return train(RunConfig(dataset=str(toy), out=str(out), **(base | more))).folder


@pytest.mark.parametrize("mode", ["cls", "p-cls"])
def test_a_run_has_the_same_bits_whatever_was_kept_before(
    mode: str, toy: Path, tmp_path: Path, empty_cache: Path
) -> None:
    cold = run(toy, tmp_path / "cold", mode=mode)
    warm = run(toy, tmp_path / "warm", mode=mode)
    assert_same(warm, cold)
    for number, file in enumerate(sorted(empty_cache.rglob("*.safetensors"))):
        file.write_bytes(file.read_bytes()[: -7 * number - 1])
    assert_same(run(toy, tmp_path / "damaged", mode=mode), cold)
    empty_cache.rename(tmp_path / "away")
    run(toy, tmp_path / "others", mode=mode, seed=1, shots=50, save_model="none")
    run(toy, tmp_path / "others", mode=mode, precision="bf16", save_model="none")
    assert_same(run(toy, tmp_path / "behind others", mode=mode), cold)


@pytest.mark.parametrize("mode", ["cls", "p-cls"])
def test_another_learning_rate_needs_no_backbone(
    mode: str, toy: Path, tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, rows = GPT2Model.forward, []

    def spy(self: Any, input_ids: Tensor, **more: Any) -> Any:
        # In training prefix and items are one sequence.
        rows.append(len(getattr(more.get("past_key_values"), "items", input_ids)))
        return forward(self, input_ids=input_ids, **more)

    monkeypatch.setattr(GPT2Model, "forward", spy)
    monkeypatch.setattr(Classifier, "latency", lambda self, texts: 1.0)
    first = run(toy, tmp_path, mode=mode)
    assert sum(rows) >= 60 + 60 + 30, "every text goes through it once"
    assert sum(rows) < 60 + 60 + 60 + 200, "and once only, beside what fills batches up"
    rows.clear()
    second = run(toy, tmp_path, mode=mode, lr=1e-3)
    assert second != first
    assert rows == []
    read = [pd.read_csv(folder / "curves.csv") for folder in (first, second)]
    assert (read[0]["train_loss"] != read[1]["train_loss"]).all()
    run(toy, tmp_path, mode=mode, recompute_features=True)
    assert sum(rows) >= 3 * (60 + 30) + 60


@pytest.mark.parametrize(
    "more",
    [
        {}, {"mode": "p-cls"}, {"mode": "p-cls", "share_prefix": False}, {"class_weights": True},
        {"epochs": 0}, {"monitor": "macro-f1", "patience": 1, "batch_tokens": 60},
    ],
)  # fmt: skip
def test_a_run_finds_what_it_finds_the_plain_way(
    more: dict[str, Any], toy: Path, tmp_path: Path, empty_cache: Path
) -> None:
    kept = run(toy, tmp_path, **more)
    plain = run(toy, tmp_path, recompute_features=True, **more)
    curves = [pd.read_csv(folder / "curves.csv") for folder in (kept, plain)]
    columns = [name for name in curves[0] if name != "train_seconds"]
    pd.testing.assert_frame_equal(curves[0][columns], curves[1][columns], atol=1e-5, rtol=0)
    found = [pd.read_parquet(folder / "predictions.parquet") for folder in (kept, plain)]
    assert found[0]["prediction"].equals(found[1]["prediction"])
    rows = [pd.read_parquet(folder / "result.parquet").iloc[0] for folder in (kept, plain)]
    for name in ("validation_accuracy", "validation_macro_f1", "test_accuracy", "best_epoch"):
        assert rows[0][name] == rows[1][name]


def test_the_saved_model_is_the_whole_one(toy: Path, tmp_path: Path, empty_cache: Path) -> None:
    folder = run(toy, tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    test = pd.read_csv(toy / "test.csv")
    found = pd.read_parquet(folder / "predictions.parquet")
    (temperature,) = pd.read_parquet(folder / "result.parquet").fitted_temperature
    with torch.no_grad():
        for row in found.head(10).itertuples():
            ids = tokenizer(test["text"][row.id], return_tensors="pt")
            theirs = (model(**ids).logits / temperature).softmax(-1)[0]
            ours = torch.tensor(row.probabilities, dtype=torch.float32)
            torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)


def test_stopped_while_features_are_computed(
    toy: Path, tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(toy, tmp_path / "whole")
    empty_cache.rename(tmp_path / "away")
    add, portions = Vectors.add, []

    def stop(self: Vectors, vectors: dict[bytes, Tensor]) -> None:
        portions.append(len(vectors))
        if len(portions) == 3:
            raise KeyboardInterrupt
        add(self, vectors)

    with monkeypatch.context() as patch:
        patch.setattr(frozen, "KEEP_EVERY", 0.0)
        patch.setattr(Vectors, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            run(toy, tmp_path / "stopped")
    assert len(list(empty_cache.rglob("*.safetensors"))) == 2
    assert_same(run(toy, tmp_path / "stopped"), whole)
    log = (only_run(tmp_path / "stopped") / "log.txt").read_text()
    assert f"features: {sum(portions[:2])} from the cache" in log


def test_kill_9_in_training(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    words = "--tune head --checkpoint-seconds 0"
    process = start(toy, tmp_path / "killed", *words.split())
    stop_in_training(process, tmp_path / "killed", signal.SIGKILL, 0.1)
    process.communicate()
    killed = only_run(tmp_path / "killed")
    assert not (killed / "result.parquet").exists()
    torch.set_num_threads(1)
    same: dict[str, Any] = {
        "mode": "p-cls", "shots": 60, "epochs": 8, "lr": 1e-3, "precision": "auto",
        "accelerator": "auto", "checkpoint_seconds": 0.0,
    }  # fmt: skip
    assert run(toy, tmp_path / "killed", **same) == killed
    monkeypatch.setattr(frozen, "cache_dir", lambda: tmp_path / "cache")
    assert_same(killed, run(toy, tmp_path / "whole", **same))


def test_a_cache_that_cannot_be_written_costs_time_only(
    toy: Path, tmp_path: Path, empty_cache: Path
) -> None:
    whole = run(toy, tmp_path / "whole")
    empty_cache.rename(tmp_path / "away")
    empty_cache.write_text("a file where a folder should be")
    other = run(toy, tmp_path / "other")
    assert_same(other, whole)
    assert "features cannot be kept in" in (other / "log.txt").read_text()
