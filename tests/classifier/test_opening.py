"""A folder that is damaged, foreign or meant to harm is refused in a line, before it is used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import slimcls
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.train import train


@pytest.fixture(scope="module")
def finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings: dict[str, Any] = {"model": "tiny-gpt2", "mode": "p-cls", "keep": 2, "shots": 10}
    out = tmp_path_factory.mktemp("runs")
    return train(RunConfig(dataset=str(toy), epochs=1, out=str(out), **settings)).folder / "model"


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "model"))


def put(folder: Path, name: str, **entries: object) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def with_code(folder: Path) -> None:
    code = "from pathlib import Path\nPath(__file__).with_name('RAN').touch()\nclass C: pass\n"
    (folder / "evil.py").write_text(code)
    put(folder, "config.json", model_type="evil", auto_map={"AutoConfig": "evil.C"})


def with_nan(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values())).flatten()[0] = torch.nan
    save_file(tensors, path, metadata={"format": "pt"})


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "code": (with_code, "'evil' is not supported"),
    "NaN": (with_nan, "NaN|finite"),
    "depth": (lambda f: put(f, "config.json", n_layer=10_000_000), "n_layer 10000000"),
    "context": (lambda f: put(f, "slimcls.json", context=10**9), "a context of 1000000000 tokens"),
    "template": (lambda f: put(f, "slimcls.json", template="{text}"), "must hold {label}"),
    "words": (lambda f: put(f, "slimcls.json", label_words=["\ud800", "b", "c"]), "half a surrogate pair"),
    "limit": (
        lambda f: put(f, "tokenizer_config.json", model_max_length="x"),
        "model_max_length .*is no number",
    ),
    "quantised": (
        lambda f: put(f, "config.json", quantization_config={"quant_method": "bitsandbytes"}),
        "quantised",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def asked(*_: object) -> str:
        pytest.fail("a person was asked whether to run code")

    monkeypatch.setattr("builtins.input", asked)
    damage, said = FAULTS[name]
    damage(folder)
    with pytest.raises(UserError, match=said):
        slimcls.load(folder)
    assert not (folder / "RAN").exists()


def test_answers_that_are_no_numbers(folder: Path) -> None:
    classifier = slimcls.load(folder)
    with torch.no_grad():
        classifier.model.score.weight.fill_(torch.inf)
    with pytest.raises(UserError, match="not finite"):
        classifier.predict(["a text"])
