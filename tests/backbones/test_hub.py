"""Models from a hub: only needed files, offline in a moment, every refusal in one line."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
from backbones.hub_home import ask, run
from hub_server import TOKEN, commit_of, serve, serve_hub

from slimcls.backbones import tiny
from slimcls.storage.network import out_of_reach


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's folder: a model in all formats at two revisions, a gated one, a faulty one."""
    folder = tmp_path_factory.mktemp("hub")
    for revision in ("main", "v2", "refs/pr/1"):
        target = folder / "models" / "org" / "small" / revision
        shutil.copytree(tiny.build("tiny-gpt2"), target)
        for other in ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "README.md"):
            (target / other).write_text("not needed")
    gated = folder / "models" / "org" / "gated" / "main"
    shutil.copytree(tiny.build("tiny-gpt2"), gated)
    (gated / ".gated").touch()
    bare = folder / "models" / "org" / "bare" / "main"
    bare.mkdir(parents=True)
    (bare / "README.md").write_text("nothing here")
    return folder


def test_fetches_what_is_needed_once_and_goes_on_offline(files: Path, tmp_path: Path):
    commit = commit_of(files, "models", "org/small", "main")
    with serve_hub(files) as hub:
        (first, weights), _ = ask(hub.url, tmp_path, "org/small")
        sent = hub.fetched()
        again, _ = ask(hub.url, tmp_path, "org/small")
        url = hub.url
        assert hub.fetched() == sent
    assert first.startswith(f"hub:{commit} ")
    assert weights == "model.safetensors"
    assert not {"pytorch_model.bin", "tf_model.h5", "README.md"} & set(sent)
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= set(sent)
    assert again == [first, weights]
    offline, _ = ask(url, tmp_path, "org/small")
    assert offline == [first, weights]
    pinned, _ = ask(url, tmp_path, "org/small", commit)
    assert pinned == [first, weights]


@pytest.mark.parametrize("revision", ["v2", "refs/pr/1"])
def test_revisions(files: Path, tmp_path: Path, revision: str):
    with serve(files) as url:
        (first, _), _ = ask(url, tmp_path, "org/small", revision)
    assert first.startswith("hub:" + commit_of(files, "models", "org/small", revision))
    (offline, _), _ = ask(url, tmp_path, "org/small", revision)
    assert offline == first


def test_a_cached_commit_needs_no_question(files: Path, tmp_path: Path):
    commit = commit_of(files, "models", "org/small", "main")
    with serve_hub(files) as hub:
        ask(hub.url, tmp_path, "org/small")
        before = len(hub.requests)
        ask(hub.url, tmp_path, "org/small", commit)
        assert len(hub.requests) == before


@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [
        ("org/none", "", ["org/none", "no such model on the hub"]),
        ("org/small", "v9", ["--revision v9", "no such branch"]),
        ("org/gated", "", ["access by request", "hf auth login", "HF_TOKEN"]),
        ("org/bare", "", ["no config.json"]),
    ],
)
def test_refusals(files: Path, tmp_path: Path, name: str, revision: str, words: list[str]):
    with serve(files) as url:
        lines, _ = ask(url, tmp_path, name, revision)
    assert len(lines) == 1
    assert lines[0].startswith("ERROR")
    assert all(word in lines[0] for word in words), lines


def rewritten_config(files: Path, name: str, **entries: object) -> None:
    """A further model on the hub: the tiny one with other entries in config.json."""
    folder = shutil.copytree(tiny.build("tiny-gpt2"), files / "models" / "org" / name / "main")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | entries))


@pytest.mark.parametrize(
    ("name", "entries", "words"),
    [
        ("odd", {"model_type": "mamba"}, "architecture 'mamba' is not supported"),
        ("packed", {"quantization_config": {"bits": 4}}, "org/packed: its weights are quantised"),
    ],
)
def test_what_config_json_rules_out_costs_no_download(
    files: Path, tmp_path: Path, name: str, entries: dict[str, object], words: str
):
    rewritten_config(files, name, **entries)
    with serve_hub(files) as hub:
        lines, _ = ask(hub.url, tmp_path, f"org/{name}")
        assert hub.fetched() == ["config.json"]
    assert len(lines) == 1
    assert words in lines[0]


_CHECKED = """
import sys
from slimcls.backbones import sources, truncate
from slimcls.backbones.selectors import check_keep
from slimcls.errors import UserError
def check(folder):
    depth = truncate.depth_of(truncate.config_in(folder, sys.argv[1]))
    check_keep(depth, int(sys.argv[2]), "first")
try:
    print(sources.find(sys.argv[1], None, check).fingerprint)
except UserError as error:
    print("ERROR", error)
"""


def test_a_check_refuses_before_the_download_and_of_cached_copies(files: Path, tmp_path: Path):
    with serve_hub(files) as hub:
        refused = run(hub.url, tmp_path, _CHECKED, "org/small", "7")
        assert hub.fetched() == ["config.json"]
        (found,) = run(hub.url, tmp_path, _CHECKED, "org/small", "6")
        assert "tokenizer.json" in hub.fetched()
        assert "model.safetensors" not in hub.fetched()
    assert refused == ["ERROR --keep 7: the model has 6 layers; at most that many can stay"]
    assert found.startswith("hub:")
    # Its weights were never asked for: without a network there is no model.
    (offline,) = run(hub.url, tmp_path, _CHECKED, "org/small", "6")
    assert offline.startswith("ERROR --model org/small: not cached whole on this machine")


def test_token_opens_a_gated_model(files: Path, tmp_path: Path):
    with serve(files) as url:
        (first, _), _ = ask(url, tmp_path, "org/gated", HF_TOKEN=TOKEN)
    assert first.startswith("hub:")


def test_no_network_is_one_line(tmp_path: Path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        lines, _ = ask(url, tmp_path, "gpt2-xl")
    assert len(lines) == 1
    assert "openai-community/gpt2-xl: not cached whole" in lines[0]
    assert "does not answer" in lines[0]
    assert "smollm2-135m" in lines[0]


def test_half_a_model_in_the_cache_is_not_taken(files: Path, tmp_path: Path):
    with serve(files) as url:
        (first, _), _ = ask(url, tmp_path, "org/small")
    commit = first.split()[0].removeprefix("hub:")
    for weights in tmp_path.rglob(f"snapshots/{commit}/model.safetensors"):
        weights.unlink()
    lines, _ = ask(url, tmp_path, "org/small")
    assert "not cached whole" in lines[0]


def test_offline_switch_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert out_of_reach() == "HF_HUB_OFFLINE is set"


def test_proxy_is_asked_instead(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        proxy.listen()
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert out_of_reach() == ""


_DATASET = """
import sys
from datasets import load_dataset
d = load_dataset("org/words", revision=sys.argv[1], split="train")
print(len(d), d[0]["text"])
"""


def test_datasets_library_reads_the_same_server(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "hub" / "datasets" / "org" / "words"
    for revision, path in (("main", "data"), ("refs/convert/parquet", "default/train")):
        name = "train-00000-of-00001.parquet" if revision == "main" else "0000.parquet"
        (folder / revision / path).mkdir(parents=True)
        table = pa.table({"text": [revision, "b"], "label": [0, 1]})
        pq.write_table(table, folder / revision / path / name)
    with serve(tmp_path / "hub") as url:
        for revision in ("main", "refs/convert/parquet"):
            assert run(url, tmp_path / "home", _DATASET, revision)[-1] == f"2 {revision}"


def test_a_look_fetches_no_weights(files: Path, tmp_path: Path):
    commit = commit_of(files, "models", "org/small", "main")
    with serve_hub(files) as hub:
        (first, weights), _ = ask(hub.url, tmp_path, "org/small", how="look")
        assert hub.fetched() == ["config.json"]
        assert (first.split()[0], weights) == (f"hub:{commit}", "")
        ask(hub.url, tmp_path, "org/small")
        (_, weights), _ = ask(hub.url, tmp_path, "org/small", how="look")
        url = hub.url
    assert weights == "model.safetensors", "a whole copy is one"
    (_, weights), _ = ask(url, tmp_path, "org/small", how="look")
    assert weights == "model.safetensors"
