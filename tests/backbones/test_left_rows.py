"""A model that is opened with some rows of its token matrices is saved as the whole one is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones.made_models import BATTERY, MODELS, ids, make, saved
from safetensors.torch import load_file, save_file

from slimcls.backbones import saved as saving
from slimcls.backbones.families import family_of
from slimcls.backbones.left_rows import left_out, left_rows_of
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import open_cut
from slimcls.backbones.vocabulary import Compact, decay, matrices
from slimcls.errors import UserError

#: Tied and untied heads, a projection behind the embedding, padding that is a row's number.
NAMES = [
    "gpt2",
    "opt-post",
    "llama",
    "llama-untied",
    "neox-parallel",
    "gemma3_text",
    "phi",
    "bloom",
]
#: The tokens of :func:`ids`, and the pad token.
ROWS = sorted({1, 5, 90, *ids().flatten().tolist()})
RATES = [1e-2, 0.0, 3e-3, 5e-4]


class NoTokenizer:
    """Stands where a tokenizer is saved beside a model."""

    def save_pretrained(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{}")


@pytest.fixture(scope="module", params=NAMES)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    assert request.param in MODELS | BATTERY
    return saved(make(request.param), tmp_path_factory.mktemp(request.param))


def both(source: Source, head: str) -> tuple[Any, Any]:
    """The cut with all rows, and with some."""
    given: Any = {"head": head, "labels": ["a", "b", "c"], "pad_token_id": 1}
    return open_cut(source, (0, 2), **given), open_cut(source, (0, 2), rows=ROWS, **given)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(model: Any, folder: Path, **more: Any) -> dict[str, bytes]:
    folder.mkdir()
    saving.save(model, NoTokenizer(), folder, **more)
    return files(folder)


@pytest.mark.parametrize("head", ["lm", "classification"])
def test_its_states_are_the_same_and_other_tokens_are_refused(source: Source, head: str):
    whole, some = both(source, head)
    assert {len(matrix) for matrix in matrices(some)} == {len(ROWS)}
    assert left_out(whole) == 0
    for model in (whole, some):
        model.zero_grad()
        model.base_model(input_ids=ids()).last_hidden_state.square().sum().backward()
    with torch.no_grad():
        theirs, ours = (m.base_model(input_ids=ids()).last_hidden_state for m in (whole, some))
    assert torch.equal(ours, theirs)
    count = sum(p.numel() for p in some.parameters()) + left_out(some)
    assert count == sum(p.numel() for p in whole.parameters())
    gradients = [model.get_input_embeddings().weight.grad for model in (whole, some)]
    assert torch.equal(gradients[1], gradients[0][ROWS])
    unknown = min(set(range(96)) - set(ROWS))
    with pytest.raises(IndexError):
        some(input_ids=torch.tensor([[unknown]]))
    with pytest.raises(IndexError):
        Compact(some, [ROWS[0], unknown])


@pytest.mark.parametrize("head", ["lm", "classification"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_it_is_saved_as_the_whole_one_byte_for_byte(
    source: Source, head: str, dtype: torch.dtype | None, tmp_path: Path
):
    """After training changed some rows and decayed all, one after the other, twice."""
    whole, some = both(source, head)
    for model in (whole, some):
        for _ in range(2):
            compact = Compact(model, [5, 90])
            with torch.no_grad():
                for matrix in matrices(model):
                    matrix += torch.arange(matrix.numel()).view_as(matrix) / 1000
            compact.restore(RATES, 0.1)
            if left := left_rows_of(model):
                left.decays.append((tuple(RATES), 0.1, "cpu"))
        if dtype:
            saving.round_weights(model, dtype)
    expected = written(whole, tmp_path / "whole", dtype=dtype)
    assert written(some, tmp_path / "some", dtype=dtype) == expected
    assert "model.safetensors" in expected


def test_a_language_model_becomes_the_same_classifier(source: Source, tmp_path: Path):
    whole, some = both(source, "lm")
    if not family_of(whole.config).lm_head_bias:
        made = [saving.as_classifier(model, [5, 90], ["a", "b"]) for model in (whole, some)]
        found = [written(m, tmp_path / n) for m, n in zip(made, ("whole", "some"), strict=True)]
        assert found[0] == found[1]


def test_files_in_parts_and_their_index(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(saving, "SHARD", 20_000)
    whole, some = both(source, "lm")
    theirs = json.loads(written(whole, tmp_path / "whole")["model.safetensors.index.json"])
    found = written(some, tmp_path / "some")
    index = json.loads(found["model.safetensors.index.json"])
    tensors = [load_file(tmp_path / "some" / n) for n in found if n.endswith(".safetensors")]
    assert len(tensors) > 1
    size = sum(tensor.nbytes for one in tensors for tensor in one.values())
    assert index["metadata"] == theirs["metadata"]
    assert index["metadata"]["total_size"] == size
    expected: dict[str, torch.Tensor] = {}
    for path in (tmp_path / "whole").glob("*.safetensors"):
        expected |= load_file(path)
    ours = {name: value for one in tensors for name, value in one.items()}
    assert ours.keys() == expected.keys() == index["weight_map"].keys()
    assert all(torch.equal(ours[name], expected[name]) for name in ours)


@pytest.mark.fault("spoiled files")
def test_files_that_changed_since_are_one_line(tmp_path: Path):
    source = saved(make("llama"), tmp_path / "model")
    _, some = both(source, "lm")
    os.utime(source.weights[0], ns=(1, 1))
    with pytest.raises(UserError, match="its files have changed since it was opened"):
        written(some, tmp_path / "out")
    source.weights[0].unlink()
    with pytest.raises(UserError, match="No such file"):
        written(some, tmp_path / "again")


def test_a_row_that_no_text_reads_is_looked_at_all_the_same(tmp_path: Path):
    source = saved(make("llama"), tmp_path / "model")
    tensors = load_file(source.weights[0])
    unknown = min(set(range(96)) - set(ROWS))
    tensors["model.embed_tokens.weight"][unknown, 3] = float("nan")
    save_file(tensors, source.weights[0], metadata={"format": "pt"})
    with pytest.raises(UserError, match="numbers that are not finite"):
        both(source, "lm")


def test_a_row_beyond_the_range_of_a_type_is_one_line(tmp_path: Path):
    source = saved(make("llama"), tmp_path / "model")
    tensors = load_file(source.weights[0])
    unknown = min(set(range(96)) - set(ROWS))
    tensors["model.embed_tokens.weight"][unknown, 3] = 1e6
    save_file(tensors, source.weights[0], metadata={"format": "pt"})
    some = open_cut(source, (0,), head="lm", rows=ROWS)
    with pytest.raises(UserError, match=r"beyond the range of float16; use bfloat16"):
        written(some, tmp_path / "out", dtype=torch.float16)


def test_decay_by_pieces_is_decay():
    """Pieces begin at rows, and rows are whole vector registers."""
    matrix = torch.randn(300, 32)
    pieces = [part.clone() for part in matrix.split(7)]
    decay(matrix, RATES, 0.1)
    for piece in pieces:
        decay(piece, RATES, 0.1)
    assert torch.equal(torch.cat(pieces), matrix)
