"""Weight files: only kept bytes are read, and damaged or dangerous files are refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones.made_models import MODELS, ids, make, saved, source_of
from safetensors.torch import save_file

from slimcls.backbones import truncate, weights
from slimcls.backbones.layout import weight_files
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import open_cut
from slimcls.backbones.weights import Weights
from slimcls.errors import UserError


def as_bin(model: Any, folder: Path, *, shards: int = 1, **options: Any) -> Source:
    """``model`` as .bin files, sharded if asked, without its computed head if that is tied."""
    folder.mkdir(exist_ok=True)
    model.config.save_pretrained(folder)
    tensors = model.state_dict()
    names = list(tensors)
    if shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin", **options)
        return source_of(folder)
    where = {}
    for number in range(shards):
        file = f"pytorch_model-{number}.bin"
        part = names[number::shards]
        torch.save({name: tensors[name] for name in part}, folder / file, **options)
        where |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": where}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return source_of(folder)


def written(name: str, folder: Path, form: str) -> Source:
    model = make(name)
    if form == "safetensors":
        return saved(model, folder)
    if form == "safetensors-sharded":
        return saved(model, folder, max_shard_size="20KB")
    if form == "bin-old":
        return as_bin(model, folder, _use_new_zipfile_serialization=False)
    return as_bin(model, folder, shards=3 if form == "bin-sharded" else 1)


FORMS = ["safetensors", "safetensors-sharded", "bin", "bin-sharded", "bin-old"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["gpt2", "opt-post", "neox-parallel"])
def test_every_form_gives_the_same_model(tmp_path: Path, name: str, form: str):
    source = written(name, tmp_path / "one", form)
    if "sharded" in form:
        assert len(source.weights) > 1
    plain = open_cut(written(name, tmp_path / "two", "safetensors"), (0, 2), head="lm")
    cut = open_cut(source, (0, 2), head="lm")
    with torch.no_grad():
        assert torch.equal(cut(input_ids=ids()).logits, plain(input_ids=ids()).logits)


@pytest.mark.parametrize(
    ("name", "form"),
    [*((name, "safetensors") for name in MODELS), *(("gpt2", form) for form in FORMS[1:])],
)
def test_only_kept_tensors_are_read(
    tmp_path: Path, name: str, form: str, monkeypatch: pytest.MonkeyPatch
):
    opened = []

    class Counting(Weights):
        def __init__(self, *files: Any) -> None:
            super().__init__(*files)
            opened.append(self)

    monkeypatch.setattr(truncate, "Weights", Counting)
    source = written(name, tmp_path, form)
    cut = open_cut(source, (1, 3), head="classification", labels=["a", "b"])
    kept = sum(p.nbytes for key, p in cut.named_parameters() if key != "score.weight")
    assert opened[0].bytes_read == kept


def test_bytes_from_the_disk_are_the_kept_ones(tmp_path: Path):
    """The kernel's count of bytes read, not our own."""
    counter = Path("/proc/self/io")
    if not counter.exists():
        pytest.skip("this system does not count a process's reads")
    from slimcls.backbones.tiny import make_model

    model_type, settings = MODELS["llama"]
    wide = settings | {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 12}
    source = saved(make_model(model_type, wide), tmp_path)
    open_cut(source, (0,), head="lm")  # imports and caches are not part of the count
    before = int(counter.read_text().split()[1])
    cut = open_cut(source, (0,), head="lm")
    taken = int(counter.read_text().split()[1]) - before
    kept = sum(parameter.nbytes for parameter in cut.parameters())
    assert source.weights[0].stat().st_size > 8 * kept
    assert kept <= taken <= kept + 200_000


def test_kept_tensors_of_a_bin_do_not_hold_on_to_the_file(tmp_path: Path):
    source = written("gpt2", tmp_path, "bin")
    cut = open_cut(source, (0,), head="lm")
    expected = cut(input_ids=ids()).logits
    source.weights[0].write_bytes(b"")
    for parameter in cut.parameters():
        assert parameter.untyped_storage().nbytes() == parameter.nbytes
    assert torch.equal(cut(input_ids=ids()).logits, expected)


class Evil:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def _truncated(folder: Path, form: str) -> Source:
    source = written("gpt2", folder, form)
    content = source.weights[0].read_bytes()
    source.weights[0].write_bytes(content[: len(content) * 2 // 3])
    return source


def _overwritten(folder: Path, form: str, content: bytes) -> Source:
    source = written("gpt2", folder, form)
    source.weights[0].write_bytes(content)
    return source


FAULTS = {
    "truncated safetensors": lambda f: _truncated(f, "safetensors"),
    "truncated shard": lambda f: _truncated(f, "safetensors-sharded"),
    "empty safetensors": lambda f: _overwritten(f, "safetensors", b""),
    "short safetensors": lambda f: _overwritten(f, "safetensors", b"\x08\0\0"),
    "header too long": lambda f: _overwritten(f, "safetensors", b"\xff" * 64),
    "header no JSON": lambda f: _overwritten(f, "safetensors", b"\x08\0\0\0\0\0\0\0notjson!"),
    "a web page": lambda f: _overwritten(f, "safetensors", b"<html>not found</html>"),
    "a git-lfs pointer": lambda f: _overwritten(f, "bin", b"version https://git-lfs\noid sha"),
    "truncated bin": lambda f: _truncated(f, "bin"),
    "truncated old bin": lambda f: _truncated(f, "bin-old"),
    "empty bin": lambda f: _overwritten(f, "bin", b""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_files_are_refused_before_anything_is_built(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
):
    source = FAULTS[fault](tmp_path)
    monkeypatch.setattr(truncate, "filled", lambda *a: pytest.fail("a model was built"))
    with pytest.raises(UserError) as refusal:
        open_cut(source, (0,), head="lm")
    assert str(tmp_path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", ["zip", "old", "bare"])
def test_a_bin_with_code_in_it_does_not_run(tmp_path: Path, protocol: str):
    source = written("gpt2", tmp_path, "bin")
    trace = tmp_path / "trace"
    content = {"transformer.wte.weight": torch.ones(1), "x": Evil(trace)}
    if protocol == "bare":
        source.weights[0].write_bytes(pickle.dumps(content))
    else:
        new = protocol == "zip"
        torch.save(content, source.weights[0], _use_new_zipfile_serialization=new)
    with pytest.raises(UserError, match="more than tensors"):
        open_cut(source, (0,), head="lm")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"transformer.wte.weight": torch.ones(1), "epoch": 3}, "'epoch' is a int"),
        ({"state_dict": {"a": torch.ones(1)}}, "'state_dict' is a dict"),
        ([torch.ones(1)], "holds a list"),
    ],
)
def test_a_bin_with_more_than_tensors_is_refused(tmp_path: Path, content: Any, words: str):
    source = written("gpt2", tmp_path, "bin")
    torch.save(content, source.weights[0])
    with pytest.raises(UserError) as refusal:
        open_cut(source, (0,), head="lm")
    assert words in str(refusal.value)


def test_tensor_bytes_come_from_the_right_place(tmp_path: Path):
    source = written("gpt2", tmp_path, "safetensors-sharded")
    full = make("gpt2").state_dict()
    with Weights(source.weights) as weights:
        for name, shape in weights.shapes.items():
            assert torch.equal(weights.read(name, torch.float32), full[name])
            assert shape == tuple(full[name].shape)


@pytest.mark.parametrize("piece", [5, 64, 1 << 24])
def test_pieces_come_together_in_every_type_and_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
):
    monkeypatch.setattr(weights, "_PIECE", piece)
    drawn = torch.Generator().manual_seed(0)
    tensors = {
        f"{dtype}-{shape}": torch.randn(shape, generator=drawn).to(dtype)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
        for shape in ((), (0, 3), (1,), (7, 11), (3, 5, 2))
    }
    # Types that no weight has stand behind the others, and are read all the same.
    tensors |= {"counts": torch.arange(9), "flags": torch.tensor([True, False])}
    save_file(tensors, tmp_path / "model.safetensors")
    with Weights([tmp_path / "model.safetensors"]) as opened:
        for name, tensor in tensors.items():
            assert torch.equal(opened.read(name, tensor.dtype), tensor), name


def test_a_file_cut_short_while_it_is_open_is_one_line(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(1000), "b": torch.ones(1000)}, path)
    with Weights([path]) as opened:
        with path.open("r+b") as file:
            file.truncate(6000)
        assert opened.read("a", torch.float32).sum() == 1000
        with pytest.raises(UserError, match=r"cannot read b \(the file ends too early\)"):
            opened.read("b", torch.float32)


def test_a_deep_index_is_one_line(tmp_path: Path):
    (tmp_path / "model.safetensors.index.json").write_text("[" * 50_000)
    with pytest.raises(UserError, match="not a readable index of weight files"):
        weight_files(["model.safetensors.index.json"], "M", lambda name: tmp_path / name)
