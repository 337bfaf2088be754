"""A head that begins where a regression on the states of untrained layers ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from slimcls.backbones import sources
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.exits import add_exits, ends_of, exits_of
from slimcls.classifier.modes import Mode, class_weights, make_mode
from slimcls.config import RunConfig
from slimcls.data.batches import Items, collate
from slimcls.errors import Interrupted, UserError
from slimcls.rivals import probe
from slimcls.train import train
from slimcls.training import loop
from slimcls.training.probed_head import set_heads

FAMILIES = ["tiny-gpt2", "tiny-opt", "tiny-llama"]
PREFIX = [5, 17, 33, 200, 9]


def items(seed: int, count: int = 90, classes: int = 3) -> Items:
    """Texts in which two tokens of five are of the class, and the others of any."""
    generator = np.random.default_rng(seed)
    labels = [place % classes for place in range(count)]
    ids = []
    for label in labels:
        size = generator.integers(3, 12)
        own = generator.integers(20 + 9 * label, 29 + 9 * label, size)
        any_ = generator.integers(20, 20 + 9 * classes, size)
        ids.append(np.where(generator.random(size) < 0.4, own, any_).tolist())
    return Items(ids, labels)


def opened(family: str, exits: list[int] | None = None) -> Any:
    model: Any = open_cut(
        sources.find(family, None), range(2), head="classification", labels=["a", "b", "c"], seed=3,
        pad_token_id=0,
    )  # fmt: skip
    if exits:
        add_exits(model, exits)
    return model


def begun(model: Any, mode: Mode, prefix: list[int] | None = None, size: int = 16) -> list[float]:
    return set_heads(
        model, mode, items(0), items(1, 60), prefix or [], batch_size=size, device="cpu"
    )


def whole(model: Any, mode: Mode, part: Items, prefix: list[int]) -> torch.Tensor:
    """Logits (depths, items, classes), each item alone, whatever it begins with in it."""
    model.eval()
    batches = [collate([(0, [*prefix, *ids], 0)], 0) for ids in part.ids]
    with torch.no_grad():
        return torch.cat([mode.logits(model, batch, None) for batch in batches], 1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "pool", "prefix", "exits"),
    [("cls", None, [], None), ("cls", "mean", [], None), ("p-cls", None, PREFIX, None),
     ("cls", None, [], [1])],
    ids=["last", "mean", "prompt", "exits"],
)  # fmt: skip
def test_heads_say_what_a_regression_says(
    family: str, name: str, pool: Any, prefix: list[int], exits: list[int] | None
) -> None:
    """One of the path's strengths, fitted here by itself to states that are read one by one."""
    model, mode = opened(family, exits), make_mode(name, None, [], pool)
    states: list[list[np.ndarray]] = []
    for part in (items(0), items(1, 60)):
        batches = [collate([(0, [*prefix, *ids], 0)], 0) for ids in part.ids]
        model.eval()
        with torch.no_grad():
            read = [mode.states(model, batch, None) for batch in batches]
        states.append([torch.cat(at).numpy() for at in zip(*read, strict=True)])
    right = begun(model, mode, prefix)
    said = whole(model, mode, items(1, 60), prefix)
    truth = torch.tensor(items(1, 60).labels)
    assert len(right) == len(said) == 1 + len(exits or [])
    for at, accuracy in enumerate(right):
        assert float((said[at].argmax(1) == truth).float().mean()) == pytest.approx(accuracy)
        learnt, unseen = states[0][at], states[1][at]
        scaler = StandardScaler(with_mean=False).fit(learnt)
        apart = []
        for strength in probe.STRENGTHS:
            alone = LogisticRegression(C=strength, fit_intercept=False, max_iter=2000, tol=1e-6)
            alone.fit(scaler.transform(learnt), items(0).labels)
            logs = torch.from_numpy(alone.predict_log_proba(scaler.transform(unseen))).float()
            apart.append(float((said[at].log_softmax(1) - logs).abs().max()))
        assert min(apart) < 0.05, "probabilities to five per cent"


def test_the_regression_weighs_classes_where_the_loss_does() -> None:
    """As one of scikit-learn's own that is balanced; the rare class is named more often."""
    thirds, unseen = items(0), items(1, 60)
    kept = [place for place, label in enumerate(thirds.labels) if label or place < 15]
    train = Items([thirds.ids[at] for at in kept], [thirds.labels[at] for at in kept])
    said, inputs = {}, []
    for weigh in (False, True):
        model, mode = opened("tiny-llama"), make_mode("cls", None, [])
        inputs = [_read(model, mode, part) for part in (train, unseen)]
        if weigh:
            mode.class_weights = class_weights(train.labels, 3)
        set_heads(model, mode, train, unseen, [], batch_size=16, device="cpu")
        said[weigh] = whole(model, mode, unseen, [])[0]
    rare = {weigh: int((found.argmax(1) == 0).sum()) for weigh, found in said.items()}
    assert rare[True] > rare[False]
    scaler = StandardScaler(with_mean=False).fit(inputs[0])
    apart = []
    for strength in probe.STRENGTHS:
        alone = LogisticRegression(
            C=strength, fit_intercept=False, max_iter=2000, tol=1e-6, class_weight="balanced"
        )
        alone.fit(scaler.transform(inputs[0]), train.labels)
        logs = torch.from_numpy(alone.predict_log_proba(scaler.transform(inputs[1]))).float()
        apart.append(float((said[True].log_softmax(1) - logs).abs().max()))
    assert min(apart) < 0.05, "probabilities to five per cent"


def test_the_strength_is_chosen_by_the_weighed_log_loss() -> None:
    chance = np.random.default_rng(0)
    inputs = chance.normal(size=(60, 4)).astype(np.float32)
    labels = [int(row[0] + chance.normal() > 1) for row in inputs]
    weights = [1.0, 5.0]
    found, _, loss = probe.best_regression(
        inputs, labels, inputs[:30], labels[:30], 2, weights=weights
    )
    likely = found.predict_proba(inputs[:30])[range(30), labels[:30]]
    each = [weights[label] for label in labels[:30]]
    assert loss == pytest.approx(-np.average(np.log(likely), weights=each), rel=1e-4)


def _read(model: Any, mode: Mode, part: Items) -> np.ndarray:
    """What the head reads of items (items, hidden), each alone."""
    model.eval()
    with torch.no_grad():
        read = [mode.states(model, collate([(0, ids, 0)], 0), None)[-1] for ids in part.ids]
    return torch.cat(read).numpy()


def test_layers_stay_and_exits_have_heads_of_their_own() -> None:
    model, mode = opened("tiny-llama", [1]), make_mode("cls", None, [])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    begun(model, mode)
    assert model.training, "as it was"
    changed = {name for name, now in model.state_dict().items() if not now.equal(before[name])}
    assert changed == {"score.weight", "exits.0.score.weight"}
    (exit_,) = exits_of(model)
    assert not exit_.score.weight.equal(model.score.weight)  # type: ignore[union-attr, arg-type]
    assert len(ends_of(model)) == 2


def test_the_model_ends_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """What prepares training holds its weights there; only this moves it, there and back."""
    model, went = opened("tiny-llama"), []
    moved = torch.nn.Module.to

    def to(self: torch.nn.Module, where: Any) -> Any:
        went.append(str(where))
        return moved(self, "cpu")

    monkeypatch.setattr(torch.nn.Module, "to", to)
    mode = make_mode("cls", None, [])
    set_heads(model, mode, items(0), items(1, 60), [], batch_size=16, device="cuda")
    assert went == ["cuda", "cpu"]


def test_batches_do_not_matter() -> None:
    one, other = opened("tiny-llama"), opened("tiny-llama")
    mode = make_mode("cls", None, [])
    assert begun(one, mode, size=64) == begun(other, mode, size=7)
    torch.testing.assert_close(one.score.weight, other.score.weight, rtol=1e-2, atol=1e-3)


def test_a_class_that_training_never_shows_keeps_what_was_drawn() -> None:
    model, mode = opened("tiny-llama"), make_mode("cls", None, [])
    drawn = model.score.weight.detach().clone()
    set_heads(
        model, mode, items(0, classes=2), items(1, 60, classes=2), [], batch_size=16, device="cpu"
    )
    assert model.score.weight[2].equal(drawn[2])
    assert not model.score.weight[:2].equal(drawn[:2])


@pytest.mark.parametrize(
    "more",
    [{"mode": "p-cls"}, {"mode": "cls", "pool": "mean"}, {"mode": "cls", "tune": "lora"},
     {"mode": "cls", "exits": [1, 2]}, {"mode": "p-cls", "tune": "last-1"}],
    ids=lambda more: "-".join(map(str, more.values())),
)  # fmt: skip
def test_training_goes_on_from_there(more: dict[str, Any], toy: Path, tmp_path: Path) -> None:
    """At a rate of next to nothing it says what the regression says, and no drawn head does."""
    settings: dict[str, Any] = {
        "dataset": str(toy), "model": "tiny-llama", "keep": 2, "shots": 40, "epochs": 1,
        "lr": 1e-9, "accelerator": "cpu", "baseline": False, "save_model": "none",
    } | more  # fmt: skip
    found = train(RunConfig(out=str(tmp_path), probe_first=True, **settings))
    drawn = train(RunConfig(out=str(tmp_path), **settings))
    assert found.folder != drawn.folder
    log = (found.folder / "log.txt").read_text()
    said = log.split("validation accuracy before training: ")[1].split("\n")[0].split(", ")
    assert len(said) == len(more.get("exits", [1]))
    # What averages as a layer rounds, and so may a text or two.
    near = 0.03 if more.get("pool") else 0.0011
    assert found.outcome.validation_accuracy == pytest.approx(float(said[-1]), abs=near)
    losses = [pd.read_csv(run.folder / "curves.csv").train_loss[0] for run in (found, drawn)]
    assert losses[0] < losses[1] - 0.05
    assert "validation accuracy before training" not in (drawn.folder / "log.txt").read_text()


def test_stopped_and_gone_on_with_it_is_the_same(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {
        "dataset": str(toy), "model": "tiny-gpt2", "mode": "cls", "keep": 2, "shots": 40,
        "epochs": 3, "accelerator": "cpu", "baseline": False, "probe_first": True,
        "checkpoint_seconds": 0.0,
    }  # fmt: skip
    undisturbed = train(RunConfig(out=str(tmp_path / "a"), **settings))
    batch_end = loop.Resume.on_train_batch_end
    steps = iter(range(99))

    def stopping(self: loop.Resume, *given: Any, **named: Any) -> None:
        batch_end(self, *given, **named)
        if next(steps) == 4:
            raise Interrupted(2, "stopped")

    monkeypatch.setattr(loop.Resume, "on_train_batch_end", stopping)
    with pytest.raises(Interrupted):
        train(RunConfig(out=str(tmp_path / "b"), **settings))
    monkeypatch.undo()
    again = train(RunConfig(out=str(tmp_path / "b"), **settings))
    card = (again.folder / "model" / "README.md").read_text()
    assert "The head began as a logistic regression on the layers as they were." in card
    log = (again.folder / "log.txt").read_text()
    assert "going on from" in log
    assert log.count("fitting logistic regression") == 1, "what is gone on from has the heads"
    for name in ("predictions.parquet", "validation.parquet"):
        pd.testing.assert_frame_equal(
            *(pd.read_parquet(run.folder / name) for run in (undisturbed, again))
        )
    assert again.outcome.validation_accuracy == undisturbed.outcome.validation_accuracy


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"mode": "lm"}, "--probe-first: not with --mode lm, whose label words are the head"),
        ({"tune": "head"}, "--probe-first: not with --tune head, which finds the same head"),
        ({"devices": 2, "strategy": "ddp"}, "--probe-first: not with --devices 2, each of which"),
        ({"num_nodes": 2, "strategy": "ddp"}, "--probe-first: not with --num-nodes 2, each"),
        ({"epochs": 0}, "--probe-first: not with --epochs 0, which trains nothing"),
        ({"teacher": "runs/full"}, "--probe-first: not with --teacher runs/full, in whose place"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_does_not_go_together_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}"):
        RunConfig(dataset="trec", probe_first=True, **more)
