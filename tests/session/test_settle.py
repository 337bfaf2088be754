"""Settings left open get values from the model and the device, never from a timing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from slimcls.backbones import sources
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.session.selection import selection_of
from slimcls.session.settle import settle
from slimcls.training.rates import LEARNING_RATES, learning_rate

#: Layers of tiny-gpt2.
DEPTH = 6


def resolved(tokens: float = 10, **settings: Any) -> RunConfig:
    config = RunConfig(dataset="sst2", **({"model": "tiny-gpt2"} | settings))
    source = sources.find("tiny-gpt2")
    return settle(config, selection_of(config).layers(source, None), DEPTH, tokens)


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def gpu(monkeypatch: pytest.MonkeyPatch, *, bf16: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *emulated: bf16)


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({}, [0, 1]),
        ({"keep": "all"}, [0, 1, 2, 3, 4, 5]),
        ({"keep": 3}, [0, 1, 2]),
        ({"layers": [1, 4]}, [1, 4]),
    ],
)
def test_layers(settings: dict[str, Any], layers: list[int]) -> None:
    config = resolved(**settings)
    assert (config.layers, config.keep) == (layers, len(layers))


def test_resolving_twice_is_resolving_once(no_device: None) -> None:
    config = resolved(mode="lm")
    assert settle(config, config.layers or [], DEPTH, 10) == config
    assert None not in (config.keep, config.layers, config.lr, config.lm_loss)
    assert "auto" not in (config.precision, config.accelerator)


@pytest.mark.parametrize(
    ("mode", "given", "loss"),
    [("lm", None, "label-words"), ("lm", "sequence", "sequence"), ("cls", None, None)],
)
def test_loss(mode: str, given: str | None, loss: str | None) -> None:
    assert resolved(mode=mode, lm_loss=given).lm_loss == loss


def test_learning_rate_of_its_way_of_tuning_and_depth() -> None:
    for tune, rows in LEARNING_RATES.items():
        depths = [most for most, _ in rows]
        assert depths == sorted(depths)
        assert depths[-1] == 1
        name = "last-1" if tune == "last" else tune
        for keep in (1, 2, 6):
            config = resolved(keep=keep, tune=name)
            expected = next(rate for most, rate in rows if keep / DEPTH <= most)
            assert config.lr == learning_rate(name, keep, DEPTH) == expected
    assert resolved(lr=3e-4).lr == 3e-4


@pytest.mark.parametrize(
    ("tune", "keep", "rate"),
    [("full", 2, 1e-4), ("full", 6, 1e-4), ("last-1", 1, 1e-4), ("lora", 2, 1e-3)],
)
def test_learning_rate_behind_a_probe(tune: str, keep: int, rate: float) -> None:
    """No drawn head has to be learnt from nothing: layers need no higher rate than deep cuts."""
    assert resolved(keep=keep, tune=tune, mode="cls", probe_first=True).lr == rate
    assert resolved(keep=keep, tune=tune, mode="cls", probe_first=True, lr=3e-4).lr == 3e-4


def test_a_processor(no_device: None) -> None:
    assert resolved().accelerator == resolved(accelerator="cpu").accelerator == "cpu"
    assert resolved().precision == "32"
    assert resolved(precision="bf16").precision == "bf16"
    for name in ("gpu", "mps"):
        with pytest.raises(UserError, match=f"--accelerator {name}: this machine has none"):
            resolved(accelerator=name)
    with pytest.raises(UserError, match="only on a GPU, not on cpu"):
        resolved(precision="16")


@pytest.mark.parametrize(
    ("has", "tokens", "settings", "precision"),
    [
        (["amx_bf16"], 16, {}, "bf16"),
        (["avx512_bf16"], 16, {}, "bf16"),
        (["avx512_f", "amx_tile"], 32, {}, "32"),
        (["amx_bf16"], 15, {}, "32"),
        (["amx_bf16"], 15, {"batch_size": 18}, "bf16"),
        (["amx_bf16"], 250, {"batch_size": 1}, "32"),
        (["amx_bf16"], 5, {"batch_tokens": 256}, "bf16"),
        (["amx_bf16"], 5, {"batch_tokens": 200}, "32"),
        (["amx_bf16"], 32, {"precision": "32"}, "32"),
        (["amx_bf16"], 0.01, {}, "32"),
    ],
)
def test_a_processor_that_multiplies_bf16(
    no_device: None,
    monkeypatch: pytest.MonkeyPatch,
    has: list[str],
    tokens: float,
    settings: dict[str, Any],
    precision: str,
) -> None:
    """Abilities and shapes decide: instructions, and tokens of a step."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(has, True))
    assert resolved(tokens, **settings).precision == precision


@pytest.mark.parametrize(("bf16", "precision"), [(True, "bf16"), (False, "32")])
def test_a_gpu(monkeypatch: pytest.MonkeyPatch, bf16: bool, precision: str) -> None:
    gpu(monkeypatch, bf16=bf16)
    config = resolved()
    assert (config.accelerator, config.precision) == ("gpu", precision)
    assert resolved(accelerator="cpu").precision == "32"
    assert resolved(precision="16").precision == "16"
    assert resolved(precision="32").precision == "32"


def test_mps(no_device: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    config = resolved()
    assert (config.accelerator, config.precision) == ("mps", "32")
