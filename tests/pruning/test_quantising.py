"""8 and 4 bits: what was quantised is counted, measured, and refused where it is nothing."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pruning.texts import TINY, write_texts

from slimcls import prune as verb
from slimcls.backbones import sources
from slimcls.backbones.truncate import open_cut
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.pruning import bits, quantising
from slimcls.pruning.evaluation import Figures
from slimcls.pruning.settings import PruneConfig
from slimcls.train import train

pytest.importorskip("bitsandbytes", reason="the extra quant is not installed")

WORDS = torch.tensor([[5, 9, 17, 3, 21, 8, 40]])


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    return model(WORDS).logits


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("bits", [8, 4])
def test_every_matrix_of_the_blocks_is_quantised(name: str, bits: int) -> None:
    """GPT-2's Conv1D included; numbers stay close, bytes go."""
    model = open_cut(sources.find(name, None), range(6), head="lm")
    before, held = logits(model), quantising.held_bytes(model)
    stored = quantising.stored_bytes(model)
    matrices = sum(
        parameter.numel()
        for path, parameter in model.named_parameters()
        if parameter.dim() == 2 and any(f".{i}." in path for i in range(6))
    )
    done = quantising.quantise(model, bits)
    assert done.weights == matrices
    assert done.modules == {"tiny-gpt2": 4, "tiny-llama": 7, "tiny-neox": 4}.get(name, 6) * 6
    off = (logits(model) - before).norm() / before.norm()
    # Toys have rows of 32 numbers, so that two rows share a scale, and code books of some weight.
    assert 0 < off < {8: 0.03, 4: 1.0}[bits]
    assert quantising.held_bytes(model) < held - matrices * 2
    assert quantising.stored_bytes(model) < stored - matrices * 1.5


@pytest.mark.parametrize(("bits", "error", "size"), [(8, 0.015, 1.01), (4, 0.12, 0.6)])
def test_a_matrix_of_real_size_loses_what_its_bits_say(
    bits: int, error: float, size: float
) -> None:
    random = torch.Generator().manual_seed(0)
    module = torch.nn.Linear(576, 1536, bias=False)
    with torch.inference_mode():
        module.weight.copy_(torch.randn(1536, 576, generator=random))
        inputs = torch.randn(20, 576, generator=random)
        expected = module(inputs)
        small = quantising._replacement(bits)(module)
        off = (small(inputs) - expected).norm() / expected.norm()
    assert 0 < off < error
    assert quantising.held_bytes(small) < size * module.weight.numel()


def test_nothing_to_quantise_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    model = open_cut(sources.find("tiny-gpt2", None), range(6), head="lm")
    monkeypatch.setattr(quantising, "_is_projection", lambda module: False)
    with pytest.raises(UserError, match="could be quantised"):
        quantising.quantise(model, 8)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(quantising, "import_module", missing)
    assert importlib.import_module is not missing
    model = open_cut(sources.find("tiny-gpt2", None), [0], head="lm")
    with pytest.raises(UserError, match=r"pip install 'slimcls\[quant\]'"):
        quantising.quantise(model, 4)


def test_both_orders_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = write_texts(tmp_path / "texts.txt")
    words = [
        "--model",
        "tiny-gpt2",
        "--text",
        str(texts),
        "--out",
        str(tmp_path / "q"),
        "--samples",
    ]
    more = ["8", "--held-out", "4", "--evaluate", "--quantise", "--keep", "4"]
    assert verb.main([*words, *more]) == 0
    assert "| 4 bits, then removal | 4 |" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "q" / "bits.csv").set_index("step")
    assert len(table) == 8
    assert table.loc["removal", "matrices"] == 0
    assert table.loc["8 bits, then removal", "matrices"] == 24
    assert table.loc["removal, then 8 bits", "matrices"] == 16
    assert table.memory_mb["4 bits"] < table.memory_mb["8 bits"] < table.memory_mb["as it is"]
    assert table.memory_mb["removal, then 4 bits"] == table.memory_mb["4 bits, then removal"]


def test_layers_are_chosen_on_the_model_as_it_stands() -> None:
    looked: list[bool] = []

    def choose(model: Any) -> tuple[int, ...]:
        looked.append(any("bitsandbytes" in type(m).__module__ for m in model.modules()))
        return (0, 1)

    source, nothing = sources.find("tiny-gpt2", None), float("nan")
    figures = Figures(nothing, nothing, nothing, nothing)
    subject = bits.Subject(
        lambda: open_cut(source, range(6), head="lm"), choose, lambda model: figures
    )
    known: dict[str, Any] = {}
    bits.compare(subject, known, lambda: None)
    steps = [name for name in known if "removal" in name]
    assert looked == [name.endswith("bits, then removal") for name in steps]
    assert sum(looked) == 2


@pytest.mark.parametrize("criterion", ["greedy-loss", "angular"])
def test_criteria_without_gradients_look_at_quantised_weights(
    criterion: str, tmp_path: Path
) -> None:
    texts = write_texts(tmp_path / "texts.txt")
    known = {"model": "tiny-llama", "text": str(texts), "out": str(tmp_path / "q"), "keep": 4}
    more = {"samples": 4, "held_out": 4, "evaluate": True, "quantise": True}
    table = verb.quantise(PruneConfig(**known, **more, select=criterion)).set_index("step")
    assert table.layers["4 bits, then removal"] == 4


@pytest.mark.parametrize("mode", ["cls", "lm"])
def test_a_fine_tuned_classifier_is_measured_on_its_own_items(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    trained: dict[str, Any] = {"dataset": str(toy), "model": "tiny-llama", "mode": mode}
    out = str(tmp_path / "runs")
    run = train(RunConfig(**trained, keep=4, shots=8, epochs=2, out=out))
    texts = write_texts(tmp_path / "texts.txt")
    known: dict[str, Any] = {
        "classifier": str(run.folder),
        "text": str(texts),
        "out": str(tmp_path / "q"),
    }
    wanted = {"evaluate": True, "quantise": True, "keep": 3, "samples": 8, "select": "bi-last"}
    config = PruneConfig(**known, **wanted)
    table = verb.quantise(config).set_index("step")
    assert table.accuracy["as it is"] == pytest.approx(run.test_accuracy)
    assert table.perplexity.isna().all()
    monkeypatch.setattr(quantising, "quantise", lambda *args: pytest.fail("measured again"))
    assert verb.quantise(config).set_index("step").equals(table)
    monkeypatch.undo()
    other = train(RunConfig(**trained, keep=5, shots=8, epochs=1, out=out))
    with pytest.raises(UserError, match="figures of other settings"):
        verb.quantise(PruneConfig(**(known | wanted | {"classifier": str(other.folder)})))
    known |= wanted | {"keep": 4, "out": str(tmp_path / "r")}
    with pytest.raises(UserError, match="--select bi-last has nothing to choose"):
        verb.quantise(PruneConfig(**known))
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"evaluate": True, "quantise": True}, "--quantise: give --keep"),
        ({"keep": 2, "quantise": True}, "go with --evaluate"),
        ({"keep": 2, "classifier": "x"}, "--classifier goes with"),
        ({"evaluate": True, "quantise": True, "keep": 2, "select": "taylor"}, "have no gradient"),
        (
            {"evaluate": True, "quantise": True, "keep": 2, "accelerator": "gpu"},
            "--quantise measures on the CPU",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PruneConfig(**({"model": "tiny-gpt2", "text": "x.txt", "out": "o"} | more))
