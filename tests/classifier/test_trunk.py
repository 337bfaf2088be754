"""What the last block leaves out is what nobody reads: scores and gradients stay the same."""

from __future__ import annotations

import functools
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModel

from slimcls.backbones import sources
from slimcls.backbones.families import blocks_of, family_of
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.modes import make_mode
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.trunk import (
    check_compiler,
    compiled,
    hidden_states,
    last_tokens,
    read_prefix,
    reading,
)
from slimcls.config import RunConfig
from slimcls.data.batches import Batch, collate
from slimcls.errors import UserError
from slimcls.train import train

FAMILIES = ["tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"]
PREFIX = torch.tensor([5, 17, 33, 200, 9, 41, 77, 12])


def opened(family: str, keep: int = 2) -> Any:
    source = sources.find(family, None)
    return open_cut(source, range(keep), head="lm", pad_token_id=0, dtype=torch.float64)


def batch_of(sizes: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(1)
    ids = [torch.randint(5, 500, (size,), generator=generator).tolist() for size in sizes]
    return collate([(place, item, 0) for place, item in enumerate(ids)], 0)


def whole(base: Any, batch: Batch, count: int, prefix: torch.Tensor = PREFIX[:0]) -> torch.Tensor:
    """The same hidden states by plain transformers: the prefix in every item, nothing left out."""
    repeated = prefix.expand(len(batch.lengths), -1)
    ids = torch.cat([repeated, batch.input_ids], dim=1)
    hidden = base(input_ids=ids, use_cache=False).last_hidden_state[:, len(prefix) :]
    return torch.stack([h[n - count : n] for h, n in zip(hidden, batch.lengths, strict=True)])


@pytest.mark.usefixtures("exact_norms")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("keep", [1, 3])
@pytest.mark.parametrize("prefixed", [False, True])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("longest", [12, 40])
def test_the_same_states_and_gradients(
    family: str, keep: int, prefixed: bool, count: int, longest: int
) -> None:
    batch = batch_of([7, 3, longest, 5])
    found = []
    for plainly in (True, False):
        model = opened(family, keep)
        base = getattr(model, model.base_model_prefix)
        if plainly:
            states = whole(base, batch, count, PREFIX if prefixed else PREFIX[:0])
        else:
            states = last_tokens(base, batch, Prefix(PREFIX) if prefixed else None, count)
        states.square().sum().backward()
        found.append([states, *(p.grad for p in model.parameters() if p.grad is not None)])
    assert found[0][0].shape[:2] == (4, count)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("longest", [12, 40])
def test_a_prefix_read_before_gives_the_same_states(family: str, longest: int) -> None:
    model = opened(family, 3)
    base, batch = getattr(model, model.base_model_prefix), batch_of([7, 3, longest, 5])
    with torch.no_grad():
        states = last_tokens(base, batch, read_prefix(base, PREFIX), 2)
        torch.testing.assert_close(states, whole(base, batch, 2, PREFIX), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("model_type", ["mistral", "qwen2", "qwen3", "smollm3"])
@pytest.mark.parametrize("longest", [12, 40])
def test_a_sliding_window_slides_over_the_prefix_too(model_type: str, longest: int) -> None:
    more = {"qwen2": {"use_sliding_window": True, "max_window_layers": 1}}
    more["qwen3"] = more["qwen2"]
    # Of SmolLM3's layers those without rotary positions slide.
    more["smollm3"] = {"use_sliding_window": True, "no_rope_layer_interval": 2}
    config = AutoConfig.for_model(
        model_type, hidden_size=32, intermediate_size=48, num_hidden_layers=3, vocab_size=512,
        pad_token_id=0, num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=6,
        **more.get(model_type, {}),
    )  # fmt: skip
    torch.manual_seed(0)
    base = AutoModel.from_config(config).double().eval()
    batch = batch_of([7, 3, longest, 5])
    states = last_tokens(base, batch, Prefix(PREFIX), 3)
    torch.testing.assert_close(states, whole(base, batch, 3, PREFIX), rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        states = last_tokens(base, batch, read_prefix(base, PREFIX), 3)
    torch.testing.assert_close(states, whole(base, batch, 3, PREFIX), rtol=1e-9, atol=1e-9)
    config.sliding_window, wide = 5, states
    torch.manual_seed(0)
    states = last_tokens(AutoModel.from_config(config).double(), batch, Prefix(PREFIX), 3)
    assert not torch.allclose(states, wide), "or no window slides"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_block_sees_only_what_is_read(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(family)
    base, batch = getattr(model, model.base_model_prefix), batch_of([7, 3, 12])
    tokens: list[tuple[int, int]] = []

    def count(module: Any, block: int) -> None:
        forward = module.forward

        def spy(x: torch.Tensor) -> torch.Tensor:
            tokens.append((block, x.flatten(0, -2).shape[0]))
            return forward(x)

        monkeypatch.setattr(module, "forward", spy)

    paths = family_of(model.config).per_token
    for number, block in enumerate(blocks_of(model)):
        for path in paths:
            count(attrgetter(path)(block), number)
    with torch.no_grad():
        prefix = read_prefix(base, PREFIX)
        assert sorted(tokens) == [(0, 8)] * len(paths) + [(1, 0)] * len(paths)
        tokens.clear()
        last_tokens(base, batch, prefix)
        assert sorted(tokens) == [(0, 36)] * len(paths) + [(1, 3)] * len(paths)
        hidden_states(base, batch)
    assert tokens[-1] == (1, 36), "all of them again afterwards"


def test_an_error_inside_leaves_no_hook() -> None:
    base = opened("tiny-gpt2").transformer
    with pytest.raises(IndexError), torch.no_grad(), reading(base, torch.tensor([99])):
        base(input_ids=PREFIX[None])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in base.modules())


@pytest.mark.parametrize("family", ["tiny-gpt2", "tiny-llama"])
@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_any_lengths(family: str, sizes: list[int]) -> None:
    model = opened(family)
    base, batch = getattr(model, model.base_model_prefix), batch_of(sizes)
    with torch.no_grad():
        torch.testing.assert_close(last_tokens(base, batch), whole(base, batch, 1))


# Compiled.


def can_compile() -> bool:
    try:
        check_compiler()
    except UserError:
        return False
    return True


def losses_and_gradients(model: Any, sizes: list[list[int]], shared: bool) -> list[torch.Tensor]:
    """Of batches of these sizes, one after the other."""
    found = []
    for batch in map(batch_of, sizes):
        model.zero_grad()
        prefix = Prefix(PREFIX) if shared else None
        loss = make_mode("cls", None, []).loss(model, batch, prefix)
        loss.backward()
        found += [loss.detach(), *(p.grad.clone() for p in model.parameters())]
    return found


def classifier() -> Any:
    source = sources.find("tiny-llama", None)
    return open_cut(source, [0], head="classification", labels=["a", "b"], pad_token_id=0)


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_compiled_is_the_same_function(
    shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken apart and put together by torch.compile, but for machine code, which takes minutes."""
    monkeypatch.setattr("slimcls.classifier.trunk.check_compiler", lambda: None)
    taken_apart = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr("slimcls.classifier.trunk.torch.compile", taken_apart)
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    model, sizes = classifier(), [[7, 3, 12], [4, 4, 9, 20], [5, 2]]
    base, names = model.model, model.state_dict().keys()
    plain = losses_and_gradients(model, sizes, shared)
    calls = []
    with compiled(base):
        forward = base.compiled_forward
        base.compiled_forward = lambda **more: calls.append(1) or forward(**more)
        fast = losses_and_gradients(model, sizes, shared)
        assert model.state_dict().keys() == names
        with torch.no_grad():
            last_tokens(base, batch_of([3, 4]))
    assert len(calls) == len(sizes), "evaluation is not compiled"
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 1 + shared, "short and long"
    assert not hasattr(base, "compiled_forward")
    for one, other in zip(plain, fast, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="no C++ compiler on this machine")
def test_compiled_steps_are_the_same() -> None:
    torch.compiler.reset()
    model = classifier()
    plain = losses_and_gradients(model, [[7, 3, 12]], False)
    with compiled(model.model):
        fast = losses_and_gradients(model, [[7, 3, 12]], False)
    for one, other in zip(plain, fast, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("slimcls.classifier.trunk.shutil.which", lambda name: None)


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_nothing_is_begun(toy: Path, tmp_path: Path) -> None:
    settings = {"dataset": str(toy), "model": "tiny-gpt2", "mode": "cls", "accelerator": "cpu"}
    with pytest.raises(UserError, match=r"^--compile: no C\+\+ compiler"):
        train(RunConfig(compile=True, out=str(tmp_path), **settings))
    assert not list(tmp_path.rglob("config.yaml"))


def test_a_compiler_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.exc import CppCompileError

    base = opened("tiny-gpt2").transformer
    monkeypatch.setattr("slimcls.classifier.trunk.check_compiler", lambda: None)
    with pytest.raises(UserError, match=r"--compile: torch\.compile failed"), compiled(base):
        raise CppCompileError(["c++"], "no such header")
    with pytest.raises(KeyError), compiled(base):
        raise KeyError
