"""Training on the rows in use gives every weight that training on all rows gives, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcls.backbones import sources, vocabulary
from slimcls.backbones.truncate import open_cut
from slimcls.backbones.vocabulary import Compact
from slimcls.classifier.modes import make_mode
from slimcls.config import RunConfig
from slimcls.data.batches import Items
from slimcls.log import Log
from slimcls.training import learner
from slimcls.training.learner import Learner, clip_gradients
from slimcls.training.left import BEST, TRAINED
from slimcls.training.loop import Work, fit

FAMILIES = ["tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"]
WORDS = [[700], [701, 44], [702, 9]]
PREFIX = [5, 17, 33, 200, 9, 41]
ITEMS, STEPS_AN_EPOCH = 200, 50
RATES = [0.0, 1e-3, 7e-4, 3.3e-4, 0.0, 1e-5]


def opened(family: str, mode: str) -> Any:
    return open_cut(
        sources.find(family, None), (0, 1), head="lm" if mode == "lm" else "classification",
        labels=["a", "b", "c"], seed=7, pad_token_id=0,
    )  # fmt: skip


def items(count: int, seed: int) -> Items:
    """Token ids from 5 to 299, of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 14, (count,), generator=generator).tolist()
    ids = [torch.randint(5, 300, (size,), generator=generator).tolist() for size in sizes]
    return Items(ids, [place % 3 for place in range(count)])


def work(family: str, mode: str, folder: Path, **more: Any) -> Work:
    config = RunConfig(**{
        "dataset": "made up", "model": family, "mode": mode, "epochs": 1, "lr": 1e-3,
        "seed": 7, "batch_size": 4, "precision": "32", "accelerator": "cpu", "clip": 0.1,
        "keep": 2, "layers": [0, 1], **more,
    })  # fmt: skip
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    prefix = [] if mode == "cls" or config.lm_loss == "sequence" else PREFIX
    strategy = make_mode(mode, config.lm_loss, WORDS)
    model = opened(family, mode)
    return Work(model, strategy, config, items(ITEMS, 1), items(9, 2), prefix, folder, Log())


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


#: Long runs for one mode of each family, a short one for the others.
LONG = {("tiny-gpt2", "lm"), ("tiny-opt", "cls"), ("tiny-opt-post", "lm"), ("tiny-llama", "p-cls"),
        ("tiny-neox", "lm")}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("mode", "more"),
    [
        ("cls", {"schedule": "cosine", "weight_decay": 0.3}),
        ("p-cls", {"weight_decay": 0.1}),
        ("lm", {"schedule": "constant"}),
    ],
)
def test_every_weight_is_that_of_the_plain_way(
    family: str, mode: str, more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, a schedule, weight decay and a norm that is clipped."""
    epochs = 4 if (family, mode) in LONG else 1
    more = more | {"epochs": epochs}
    norms: list[float] = []
    total = torch.nn.utils.get_total_norm

    def spy(*args: Any) -> torch.Tensor:
        norms.append(float(total(*args)))
        return total(*args)

    monkeypatch.setattr(torch.nn.utils, "get_total_norm", spy)
    found, rows = [], []
    for compact in (True, False):
        done = work(family, mode, tmp_path / str(compact), compact_vocabulary=compact, **more)
        before = weights(done.model)
        fitted = fit(done)
        assert fitted.steps == STEPS_AN_EPOCH * epochs
        rows.append(rows_in(done.folder))
        found.append(weights(done.model))
    assert rows[0] < rows[1] == 1024, "or nothing was compact"
    steps = len(norms) // 2
    assert norms[:steps] == norms[steps:], "the same norm both ways"
    assert sum(norm > 0.1 for norm in norms) > steps, "or nothing was clipped"
    assert_equal(*found)
    assert found[0].keys() == before.keys()
    embedding = next(name for name in before if before[name].shape[0] == 1024)
    assert not found[0][embedding][900].equal(before[embedding][900]), "an unread row decays"


def rows_in(folder: Path) -> int:
    """Rows of the embedding that was trained."""
    from safetensors.torch import load_file

    return max(t.shape[0] for t in load_file(folder / "checkpoints" / BEST).values() if t.dim() > 1)


@pytest.mark.parametrize(
    "more",
    [
        {"compact_vocabulary": False},
        {"mode": "lm", "lm_loss": "label-token"},
        {"mode": "lm", "lm_loss": "sequence"},
        {"tune": "last-1"},
    ],
)
def test_where_all_rows_are_trained_or_none(more: dict[str, Any], tmp_path: Path) -> None:
    done = work("tiny-gpt2", **({"mode": "cls", "folder": tmp_path, "batch_size": 100} | more))
    if "tune" in more:
        done.model.requires_grad_(False).transformer.h[1].requires_grad_(True)
    fit(done)
    assert rows_in(tmp_path) == (128 if "tune" in more else 1024)
    assert not hasattr(done.model.get_input_embeddings(), "places")


def test_a_run_that_stopped_after_training_is_restored_too(tmp_path: Path) -> None:
    first = work("tiny-llama", "p-cls", tmp_path, batch_size=50)
    fit(first)
    again = work("tiny-llama", "p-cls", tmp_path, batch_size=50)
    assert (tmp_path / "checkpoints" / TRAINED).exists()
    fit(again)
    assert_equal(weights(first.model), weights(again.model))


def test_the_best_epoch_decays_by_its_own_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of three epochs is said to be the best."""
    found = []
    for compact in (True, False):
        scores = iter([(0.9, 0.9), (0.5, 0.5), (0.2, 0.2)])
        monkeypatch.setattr(learner, "accuracy_and_f1", lambda _, scores=scores: next(scores))
        more = {"compact_vocabulary": compact, "epochs": 3, "batch_size": 40, "weight_decay": 0.5}
        done = work("tiny-opt", "cls", tmp_path / str(compact), **more)
        fitted = fit(done)
        assert (fitted.best_step, fitted.steps) == (5, 15)
        found.append(weights(done.model))
    assert_equal(*found)


def test_the_norm_is_that_of_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole and compact hand the very same tensors to the sum, whatever its order does to bits."""
    seen: list[list[torch.Tensor]] = []
    total = torch.nn.utils.get_total_norm
    monkeypatch.setattr(
        torch.nn.utils, "get_total_norm", lambda g: seen.append([t.clone() for t in g]) or total(g)
    )
    ids = torch.tensor([[7, 9, 7, 300]])
    for read in (None, [0, 7, 9, 50, 300, 301]):
        model = opened("tiny-gpt2", "cls")
        compact = Compact(model, read) if read else None
        model.transformer(input_ids=ids).last_hidden_state.square().sum().backward()
        expected = total([p.grad for p in model.parameters() if p.grad is not None])
        clip_gradients(model, 1e-3)
        after = total([p.grad for p in model.parameters() if p.grad is not None])
        assert expected > 1
        torch.testing.assert_close(after, torch.tensor(1e-3), rtol=1e-3, atol=0)
        assert (compact is None) == (model.get_input_embeddings().weight.shape[0] == 1024)
    assert all(one.equal(other) for one, other in zip(*seen, strict=True))
    assert 3 in {len(t) for t in seen[0]}, "rows of the tokens that occurred"


def test_a_gradient_that_is_no_number_is_not_left_out() -> None:
    model = opened("tiny-gpt2", "cls")
    weight = model.get_input_embeddings().weight
    weight.grad = torch.zeros_like(weight)
    weight.grad[3] = float("nan")
    model.score.weight.grad = torch.ones_like(model.score.weight)
    clip_gradients(model, 1.0)
    assert model.score.weight.grad.isnan().all()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0, 1), max_size=40), st.floats(0, 0.9), st.integers(0, 2**31), st.booleans()
)
def test_decay_is_what_the_optimiser_does_without_a_gradient(
    rates: list[float], weight_decay: float, seed: int, accelerator: bool
) -> None:
    """Also the way that accelerators take."""
    matrix = torch.randn(37, 16, generator=torch.Generator().manual_seed(seed))
    weight = torch.nn.Parameter(matrix.clone())
    weight.grad = torch.zeros_like(weight)
    optimizer = torch.optim.AdamW([weight], lr=1.0, weight_decay=weight_decay, fused=True)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    if accelerator and weight_decay:
        decayed = vocabulary._stepped(matrix, rates, weight_decay)
    else:
        vocabulary.decay(matrix, rates, weight_decay)
        decayed = matrix
    assert torch.equal(decayed, weight.detach())


def test_more_than_a_piece_is_decayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "CHUNK", 100)
    matrix = torch.ones(50, 16)
    vocabulary.decay(matrix, [0.5, 0.0, 0.25], 0.5)
    assert matrix.eq(0.75 * 0.875).all()


def test_rates_are_those_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = Learner.training_step

    def spy(self: Learner, *args: Any) -> torch.Tensor:
        seen.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(Learner, "training_step", spy)
    for schedule in ("constant", "linear", "cosine"):
        seen.clear()
        done = work("tiny-gpt2", "cls", tmp_path / schedule, batch_size=40, schedule=schedule)
        fitted = fit(done)
        assert learner.rates(done.config, fitted.steps, 5) == seen


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["cls", "lm"])
def test_a_compact_model_computes_the_same_and_is_made_whole(family: str, mode: str) -> None:
    model = opened(family, mode)
    before, names = weights(model), [name for name, _ in model.named_parameters()]
    tied = family != "tiny-neox"
    base = getattr(model, model.base_model_prefix)
    ids = torch.tensor([[6, 8, 0, 290], [8, 8, 0, 0]])
    with torch.no_grad():
        plain = base(input_ids=ids).last_hidden_state
        compact = Compact(model, [0, 6, 8, 9, 290])
        assert [name for name, _ in model.named_parameters()] == names
        assert torch.equal(base(input_ids=ids).last_hidden_state, plain)
        assert vocabulary.rows_of(model, torch.tensor([9, 290])).tolist() == [3, 4]
        if mode == "lm":
            head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
            assert (head.weight is embedding.weight) == tied
            assert len(head.weight) == 5
        with pytest.raises(IndexError):
            base(input_ids=torch.tensor([[7]]))
    compact.restore(RATES, 0.0)
    assert_equal(weights(model), before)
    assert [name for name, _ in model.named_parameters()] == names
    assert vocabulary.rows_of(model, torch.tensor([290])).tolist() == [290]
    with torch.no_grad():
        assert torch.equal(base(input_ids=ids).last_hidden_state, plain)


def test_what_does_not_pay() -> None:
    from transformers import GPT2Config, OPTConfig

    gpt2 = GPT2Config(vocab_size=100, n_embd=32)
    assert vocabulary.pays(gpt2, 99)
    assert not vocabulary.pays(gpt2, 100)
    assert not vocabulary.pays(GPT2Config(vocab_size=100, n_embd=36), 50)
    assert not vocabulary.pays(OPTConfig(vocab_size=100, hidden_size=32, word_embed_proj_dim=20), 9)
    assert vocabulary.in_use([[3, 1], [3]], [[]], ((9,),)) == [1, 3, 9]
