"""Only the kept layers travel, from whatever files, and what is kept is what the hub has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones.hub_home import at_hub
from backbones.made_models import make
from hub_server import Hub, commit_of
from safetensors.torch import load_file, save_file

from slimcls.backbones import sources, tiny
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import open_cut, read_config
from slimcls.errors import UserError

FAMILIES = ("gpt2", "opt", "opt-post", "llama", "neox")
DEPTH = 6


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub: each family's model as one file, in shards, and as a .bin."""
    folder = tmp_path_factory.mktemp("hub")
    for family in FAMILIES:
        whole = tiny.build(f"tiny-{family}")
        for kind in KINDS:
            target = folder / "models" / "org" / f"{family}-{kind}" / "main"
            shutil.copytree(whole, target)
            KINDS[kind](target)
    return folder


def in_shards(folder: Path) -> None:
    """As transformers would: several files with some tensors each, and an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-{i:05}-of-00005.safetensors" for i in range(1, 6)]
    index = {tensor: names[i * 5 // len(tensors)] for i, tensor in enumerate(sorted(tensors))}
    for name in names:
        save_file({t: tensors[t] for t in tensors if index[t] == name}, folder / name)
    text = json.dumps({"metadata": {}, "weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text)


def in_a_pickle(folder: Path) -> None:
    """As torch writes a state dict, the head with the embedding's storage."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] == "opt":
        tensors["lm_head.weight"] = tensors["model.decoder.embed_tokens.weight"]
    torch.save(tensors, folder / "pytorch_model.bin")


KINDS = {"file": lambda folder: None, "shards": in_shards, "bin": in_a_pickle}


@pytest.fixture
def hub(files: Path, tmp_path: Path) -> Iterator[Hub]:
    with at_hub(files, tmp_path) as running:
        yield running


def opened(name: str, layers: tuple[int, ...], **options: Any) -> Any:
    return open_cut(sources.find(f"org/{name}"), layers, **{"head": "lm", **options})


def weight_bytes(hub: Hub) -> int:
    return sum(n for file, n in hub.sent.items() if file.endswith((".safetensors", ".bin")))


def parts_of(home: Path) -> list[str]:
    return sorted(path.parent.name for path in (home / "slimcls").rglob("parts/*/*/*/sha256"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_from_the_hub_is_the_cut_of_the_whole(
    hub: Hub, tmp_path: Path, family: str, kind: str
) -> None:
    whole = sources.find(f"tiny-{family}")
    for layers, head in (((1, 4), "lm"), ((0, 1), "classification")):
        options = {"head": head, "labels": ["a", "b"], "pad_token_id": 1}
        ours = opened(f"{family}-{kind}", layers, **options).state_dict()
        theirs = open_cut(whole, layers, **options).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert {"layer-000", "layer-001", "layer-004", "rest"} <= set(parts_of(tmp_path))
    assert not {"layer-002", "layer-003", "layer-005"} & set(parts_of(tmp_path))
    assert not list((tmp_path / "hub").rglob("*.safetensors")), "never in the hub's cache"
    assert not list((tmp_path / "hub").rglob("*.bin"))
    assert not list((tmp_path / "slimcls").rglob("*.unfinished*"))


def test_the_head_travels_where_it_is_wanted_and_its_own(hub: Hub, tmp_path: Path) -> None:
    opened("neox-file", (0,), head="classification", labels=["a", "b"])
    assert parts_of(tmp_path) == ["layer-000", "rest"]
    opened("neox-file", (0,))
    assert parts_of(tmp_path) == ["head", "layer-000", "rest"]


def test_more_layers_fetch_only_themselves(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimcls.backbones.directory.GUESS", 1 << 12)
    monkeypatch.setattr("slimcls.backbones.pieces.GAP", 0)
    source = sources.find("org/gpt2-file")
    config = read_config(source)
    promised = source.missing(config, (0, 2), lm_head=True)
    asked = weight_bytes(hub)
    open_cut(source, (0, 2), head="lm")
    assert weight_bytes(hub) - asked == sum(promised.values())
    assert source.missing(config, (0, 2), lm_head=True) == {}
    more = source.missing(config, (0, 1, 2), lm_head=True)
    assert len(more) == 1
    before = weight_bytes(hub)
    open_cut(source, (0, 1, 2), head="lm")
    assert weight_bytes(hub) - before == sum(more.values())
    again = len(hub.requests)
    open_cut(source, (1, 2), head="classification", labels=["a", "b"])
    assert len(hub.requests) == again


def test_only_shards_that_hold_kept_tensors_are_asked(hub: Hub) -> None:
    opened("llama-shards", (0,))
    asked = {path.rsplit("/", 1)[1] for _, path in hub.requests if "safetensors" in path}
    index = json.loads(
        (hub.folder / "models/org/llama-shards/main/model.safetensors.index.json").read_text()
    )["weight_map"]
    needed = {f for n, f in index.items() if ".layers." not in n or ".layers.0." in n}
    assert needed < set(index.values())
    assert asked - {"model.safetensors.index.json"} == needed


def test_the_fingerprint_is_that_of_a_whole_copy(hub: Hub) -> None:
    name, commit = "opt-file", commit_of(hub.folder, "models", "org/opt-file", "main")
    assert sources.find(f"org/{name}").fingerprint == f"hub:{commit}"
    opened(name, (0,))
    assert sources.find(f"org/{name}").fingerprint == f"hub:{commit}"
    opened("opt-file", tuple(range(DEPTH)))
    assert sources.find(f"org/{name}").fingerprint == f"hub:{commit}"


def test_all_layers_come_whole_where_none_is_here(hub: Hub, tmp_path: Path) -> None:
    source = sources.find("org/gpt2-file")
    size = (hub.folder / "models/org/gpt2-file/main/model.safetensors").stat().st_size
    promised = source.missing(read_config(source), range(DEPTH), lm_head=True)
    # Header and gaps are no part's.
    assert sum(promised.values()) == size
    opened("gpt2-file", tuple(range(DEPTH)))
    assert list((tmp_path / "hub").rglob("model.safetensors"))
    assert parts_of(tmp_path) == []
    assert opened("gpt2-file", (2,)) is not None
    assert parts_of(tmp_path) == [], "a whole copy is used first"
    assert sources.find("org/gpt2-file").weights


def test_all_layers_take_what_lacks_where_some_are_here(hub: Hub, tmp_path: Path) -> None:
    opened("gpt2-file", (0,))
    ours = opened("gpt2-file", tuple(range(DEPTH))).state_dict()
    assert len(parts_of(tmp_path)) == DEPTH + 1
    theirs = open_cut(sources.find("tiny-gpt2"), range(DEPTH), head="lm").state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not list((tmp_path / "hub").rglob("model.safetensors"))


def test_parts_work_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    opened("llama-file", (0, 2))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = len(hub.requests)
    source = sources.find("org/llama-file")
    open_cut(source, (0, 2), head="lm")
    open_cut(source, (2,), head="classification", labels=["a", "b"])
    with pytest.raises(UserError) as refusal:
        open_cut(source, (0, 1), head="lm")
    assert "layer-000, layer-002, rest is" in str(refusal.value)
    assert "HF_HUB_OFFLINE is set" in str(refusal.value)
    assert len(hub.requests) == before
    assert sources.look("org/llama-file").only_config is False


def test_a_pinned_commit_with_its_layers_needs_no_question(hub: Hub) -> None:
    commit = commit_of(hub.folder, "models", "org/gpt2-bin", "main")
    open_cut(sources.find("org/gpt2-bin", commit), (0,), head="lm")
    before = len(hub.requests)
    open_cut(sources.find("org/gpt2-bin", commit), (0,), head="lm")
    assert len(hub.requests) == before


def test_servers_without_ranges_give_the_whole_with_a_line(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.ranges = False
    source = sources.find("org/opt-file")
    size = (hub.folder / "models/org/opt-file/main/model.safetensors").stat().st_size
    assert sum(source.missing(read_config(source), (0,), lm_head=True).values()) == size
    open_cut(source, (0,), head="lm")
    assert "org/opt-file is fetched whole: the server sends model.safetensors whole only" in (
        capsys.readouterr().err
    )
    assert list((tmp_path / "hub").rglob("model.safetensors"))
    assert parts_of(tmp_path) == []


def test_each_range_of_a_redirected_file_is_asked_anew(hub: Hub, tmp_path: Path) -> None:
    hub.signs = True
    opened("gpt2-file", (0, 3))
    assert parts_of(tmp_path) == ["layer-000", "layer-003", "rest"]
    asked = [path for way, path in hub.requests if way == "GET" and path.endswith(".safetensors")]
    here = [path for path in asked if "/resolve/" in path]
    assert len(here) == len(asked) - len(here) >= 4


def spoil(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_part_that_was_spoiled_is_fetched_again(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = opened("gpt2-file", (0,)).state_dict()
    (part,) = (tmp_path / "slimcls").rglob("layer-000/model.safetensors")
    spoil(part)
    again = opened("gpt2-file", (0,)).state_dict()
    assert all(torch.equal(good[name], again[name]) for name in good)
    assert "layer-000 was damaged and is fetched again" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_a_line(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "slimcls").write_text("no folder")
    with pytest.raises(UserError, match=r"SLIMCLS_CACHE|cannot be written"):
        opened("gpt2-file", (0,))


def test_old_buffers_and_tied_heads_do_not_travel(files: Path, tmp_path: Path) -> None:
    folder = files / "models" / "org" / "old" / "main"
    shutil.copytree(tiny.build("tiny-gpt2"), folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()
    for layer in range(DEPTH):
        tensors[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 512, 512)
    save_file(tensors, folder / "model.safetensors")
    with at_hub(files, tmp_path) as hub:
        source: Source = sources.find("org/old")
        sizes = source.missing(read_config(source), (0, 1), lm_head=True)
        cut = open_cut(source, (0, 1), head="lm")
        assert sum(sizes.values()) == sum(t.nbytes for t in cut.parameters())
        assert hub.sent["model.safetensors"] < sum(sizes.values()) + (1 << 19)


def test_names_that_do_not_fit_are_told_without_the_blocks_that_were_cut(
    files: Path, tmp_path: Path
) -> None:
    folder = files / "models" / "org" / "odd" / "main"
    shutil.copytree(tiny.build("tiny-gpt2"), folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["transformer.h.5.extra"] = torch.ones(3)
    save_file(tensors, folder / "model.safetensors")
    with at_hub(files, tmp_path), pytest.raises(UserError, match=r"h\.5\.extra is unknown"):
        opened("odd", (0,))


def test_made_models_are_deep_enough() -> None:
    assert make("gpt2").config.n_layer >= 4
