"""Where tensors lie in a file, from a few of its bytes; whatever else it holds is not run."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save

from slimcls.backbones import archive, directory
from slimcls.backbones.archive import Damaged, begin_in, tensors_in_archive
from slimcls.backbones.directory import Directory, Tensor, tensors_in_safetensors
from slimcls.backbones.ranges import NotInParts, RemoteFile


class Held:
    """A file as a hub would give it, and which ranges were asked for."""

    def __init__(self, content: bytes) -> None:
        self.content, self.size, self.hash = content, len(content), "h"
        self.asked: list[tuple[int, int]] = []

    def read(self, start: int, stop: int) -> bytes:
        assert 0 <= start < stop <= self.size
        self.asked.append((start, stop))
        return self.content[start:stop]


def remote(content: bytes) -> RemoteFile:
    return cast("RemoteFile", Held(content))


def pickled(value: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


TENSORS = {
    "a": torch.arange(12.0).view(3, 4),
    "half": torch.arange(5).to(torch.float16),
    "b": torch.arange(3).to(torch.bfloat16),
    "flags": torch.tensor([True, False]),
    "empty": torch.zeros(0, 4),
    "one": torch.tensor(3.0),
}


def read_back(content: bytes, tensors: dict[str, Tensor]) -> dict[str, bytes]:
    file = io.BytesIO(content)
    found = {}
    for name, tensor in tensors.items():
        file.seek(begin_in(file, tensor))
        found[name] = file.read(tensor.nbytes)
    return found


def bytes_of(tensors: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {
        n: bytes(t.contiguous().view(-1).view(torch.uint8).tolist()) for n, t in tensors.items()
    }


@pytest.mark.parametrize("guess", [64, 1 << 18])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_every_tensor_is_found(kind: str, guess: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (directory, archive):
        monkeypatch.setattr(module, "GUESS", guess)
    tensors = {n: t for n, t in TENSORS.items() if t.ndim or kind == "bin"}
    content = save(tensors) if kind == "safetensors" else pickled(tensors)
    read = tensors_in_safetensors if kind == "safetensors" else tensors_in_archive
    found = read(remote(content))
    assert {n: t.shape for n, t in found.items()} == {n: tuple(t.shape) for n, t in tensors.items()}
    assert read_back(content, found) == bytes_of(tensors)
    again = Directory.from_json(Directory("h", len(content), found).to_json())
    assert again.tensors == found


def test_views_of_one_storage_and_parameters_are_told_apart() -> None:
    whole = torch.arange(20.0)
    named = {"first": whole[:4], "rest": whole[4:].view(4, 4), "p": torch.nn.Parameter(whole[2:4])}
    content = pickled(named)
    found = tensors_in_archive(remote(content))
    assert read_back(content, found) == bytes_of({n: t.detach() for n, t in named.items()})
    assert len({tensor.start for tensor in found.values()}) == 1


def test_a_state_dict_of_a_module_is_read() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    content = pickled(module.state_dict())
    assert read_back(content, tensors_in_archive(remote(content))) == bytes_of(module.state_dict())


class Hostile:
    """Would make a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_nothing_of_a_pickle_is_run(tmp_path: Path) -> None:
    for value in ({"a": Hostile(tmp_path / "made")}, Hostile(tmp_path / "made")):
        with pytest.raises(NotInParts, match="it holds more than tensors"):
            tensors_in_archive(remote(pickled(value)))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [
        pickled(TENSORS, _use_new_zipfile_serialization=False),
        pickle.dumps({"a": 1}),
        pickled({"a": torch.zeros(2, 3).t()}),
        pickled({"a": 1}),
        pickled([torch.zeros(2)]),
        pickled({1: torch.zeros(2)}),
        pickled({"a": torch.zeros(2).to_sparse()}),
        pickled(TENSORS)[:-30],
        b"PK\5\6" + b"\0" * 18,
        b"x" * 400,
    ],
)
def test_other_forms_are_left_to_be_fetched_whole(content: bytes) -> None:
    with pytest.raises(NotInParts):
        tensors_in_archive(remote(content))


def test_a_packed_archive_is_left(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(pickled(TENSORS))) as old, zipfile.ZipFile(
        tmp_path / "packed", "w", zipfile.ZIP_DEFLATED
    ) as new:  # fmt: skip
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(NotInParts):
        tensors_in_archive(remote((tmp_path / "packed").read_bytes()))


def test_a_long_archive_is_read_by_its_long_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As zip archives beyond 4 GB are, here from the first byte on."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)
    path = tmp_path / "long"
    with zipfile.ZipFile(io.BytesIO(pickled(TENSORS))) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            with new.open(name, "w", force_zip64=True) as entry:
                entry.write(old.read(name))
    content = path.read_bytes()
    assert b"PK\6\6" in content
    found = tensors_in_archive(remote(content))
    assert read_back(content, found) == bytes_of(TENSORS)


def test_a_changed_byte_is_damage() -> None:
    content = pickled({"a": torch.ones(100)})
    found = tensors_in_archive(remote(content))["a"]
    place = begin_in(io.BytesIO(content), found)
    for at in (place + 7, found.start):
        spoiled = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(Damaged):
            begin_in(io.BytesIO(spoiled), found)
    with pytest.raises(Damaged):
        begin_in(io.BytesIO(content[: place + 50]), found)


def with_header(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return len(text).to_bytes(8, "little") + text + data


def entry(start: int, stop: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (with_header({"a": entry(0, 8, [2]), "b": entry(12, 16, [1])}, bytes(16)), "b does not"),
        (with_header({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12)), "b does not"),
        (with_header({"a": entry(0, 8, [3])}, bytes(8)), "a does not lie"),
        (with_header({"a": entry(0, 8, [2])}, bytes(9)), "not as long as"),
        (with_header({"a": entry(0, 8, [8], "F8_E5M2")}, bytes(8)), "numbers of type F8_E5M2"),
        (with_header({"a": {"shape": [2]}}, bytes(8)), "cannot be read"),
        (with_header([1], bytes(8)), "cannot be read"),
        (with_header(b"{", bytes(8)), "cannot be read"),
        ((1 << 60).to_bytes(8, "little") + b"{}", "not one of safetensors"),
        (b"ab", "not one of safetensors|cannot be read"),
    ],
)
def test_headers_that_lie_are_not_believed(content: bytes, words: str) -> None:
    with pytest.raises(NotInParts, match=words):
        tensors_in_safetensors(remote(content))
