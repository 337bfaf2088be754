"""Whatever a network does: a file is the one the hub announced, or there is one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from backbones.hub_home import WHOLE, run
from hub_server import Hub, commit_of, serve_hub

from slimcls.backbones import tiny

#: Finds each model named and opens all of it, and says what came of it in a line.
FIND = (
    WHOLE
    + """
import sys, time
from slimcls.backbones import sources
from slimcls.errors import UserError
wait, time.sleep = time.sleep, lambda seconds: wait(0.01)
for word in sys.argv[1:]:
    name, _, revision = word.partition("@")
    try:
        found = sources.find(name, revision or None)
        whole(found)
        print(found.fingerprint)
    except UserError as error:
        print("ERROR", error)
"""
)

NAMES = ("flip", "flips", "junk", "text", "texts", "kept")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    for name in NAMES:
        shutil.copytree(tiny.build("tiny-gpt2"), folder / "models" / "org" / name / "main")
    return folder


def find(hub: Hub, home: Path, *names: str, **extra: str) -> list[str]:
    return run(hub.url, home, FIND, *(f"org/{name}" for name in names), **extra)


def fingerprint(files: Path, name: str) -> str:
    return "hub:" + commit_of(files, "models", f"org/{name}", "main")


def held(home: Path, name: str, file: str) -> bytes:
    """A file of a model in the hub's cache."""
    (path,) = home.glob(f"hub/models--org--{name}/snapshots/*/{file}")
    return path.read_bytes()


def test_damaged_files_are_fetched_again_once(files: Path, tmp_path: Path) -> None:
    with serve_hub(files) as hub:
        hub.faults = {
            "org/flip model.safetensors": ["flip"],
            "org/flips model.safetensors": ["flip", "flip"],
            "org/junk model.safetensors": ["junk"],
            "org/text tokenizer.json": ["flip"],
            "org/texts config.json": ["junk", "junk"],
        }
        flip, flips, junk, text, texts = find(
            hub, tmp_path, "flip", "flips", "junk", "text", "texts"
        )
        assert flip == fingerprint(files, "flip")
        assert junk == fingerprint(files, "junk")
        assert text == fingerprint(files, "text")
        for line, file in ((flips, "flips: model.safetensors"), (texts, "texts: config.json")):
            assert line.startswith("ERROR")
            assert f"--model org/{file} arrived damaged twice" in line
        mended = {
            "flip": "model.safetensors",
            "junk": "model.safetensors",
            "text": "tokenizer.json",
        }
        for name, file in mended.items():
            good = (files / "models" / "org" / name / "main" / file).read_bytes()
            assert held(tmp_path, name, file) == good
        assert not list(tmp_path.glob("hub/models--org--flips/snapshots/*/model.safetensors"))
        # Nothing bad was kept: a good hub is enough.
        assert find(hub, tmp_path, "flips", "texts") == [
            fingerprint(files, "flips"), fingerprint(files, "texts"),
        ]  # fmt: skip


def test_what_is_damaged_in_the_cache_goes(files: Path, tmp_path: Path) -> None:
    commit = commit_of(files, "models", "org/kept", "main")
    with serve_hub(files) as hub:
        assert find(hub, tmp_path, "kept") == [f"hub:{commit}"]
        good = held(tmp_path, "kept", "model.safetensors")
        for asked in ("kept", f"kept@{commit}"):
            damage(tmp_path, "kept", "model.safetensors")
            assert find(hub, tmp_path, asked) == [f"hub:{commit}"]
            assert held(tmp_path, "kept", "model.safetensors") == good
        damage(tmp_path, "kept", "model.safetensors")
        (offline,) = find(hub, tmp_path, "kept", HF_HUB_OFFLINE="1")
        assert "model.safetensors in the hub's cache was damaged and is deleted" in offline
        assert "connect once" in offline
        assert find(hub, tmp_path, "kept") == [f"hub:{commit}"]


def damage(home: Path, name: str, file: str) -> None:
    (path,) = home.glob(f"hub/models--org--{name}/snapshots/*/{file}")
    content = path.read_bytes()
    path.resolve().write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


_TWICE = (
    WHOLE
    + """
import hashlib, sys
from slimcls.backbones import sources
from slimcls.storage import cache
read = []
real = cache.hashlib.file_digest
cache.hashlib.file_digest = lambda file, kind: read.append(file.name) or real(file, kind)
for _ in range(2):
    whole(sources.find("org/kept"))
    print(len([name for name in read if "models--" in name]))
    read.clear()
"""
)


def test_a_large_file_is_hashed_once(files: Path, tmp_path: Path) -> None:
    with serve_hub(files) as hub:
        assert run(hub.url, tmp_path, _TWICE) == ["1", "0"]


def test_networks_that_fail_are_one_line(files: Path, tmp_path: Path) -> None:
    with serve_hub(files) as hub:
        hub.faults = {
            "org/flip": ["html"],
            "org/flips": ["broken"],
            "org/junk": ["list"],
            "org/text config.json": ["stall"] * 9,
        }
        lines = find(hub, tmp_path, "flip", "flips", "junk", "text", HF_HUB_DOWNLOAD_TIMEOUT="1")
        assert all(line.startswith("ERROR --model org/") for line in lines)
        for line in lines[:3]:
            assert "did not answer as the hub does" in line
            assert "login page" in line
        assert "timed out" in lines[3]
        hub.faults = {}
        assert find(hub, tmp_path, "flip", "text") == [
            fingerprint(files, "flip"), fingerprint(files, "text"),
        ]  # fmt: skip


def test_a_model_without_its_main_branch(files: Path, tmp_path: Path) -> None:
    (files / "models" / "org" / "branchless" / "v1").mkdir(parents=True)
    with serve_hub(files) as hub:
        (line,) = find(hub, tmp_path, "branchless")
    assert line.startswith("ERROR --model org/branchless: has no branch main")
    assert "None" not in line
