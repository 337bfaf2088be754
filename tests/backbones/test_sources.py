"""Names become files; what cannot be one is refused in a line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slimcls.backbones import sources, tiny
from slimcls.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A local copy of a tiny model."""
    return Path(shutil.copytree(tiny.build("tiny-gpt2"), tmp_path / "mine"))


@pytest.mark.parametrize("name", tiny.TINY)
def test_tiny_models_are_found(name: str):
    sources.check_name(name, None)
    source = sources.find(name)
    assert source.name == name
    assert source.note == "random weights"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", source.fingerprint)
    assert [file.name for file in source.weights] == ["model.safetensors"]
    assert source.weights[0].stat().st_size < 700_000


def test_issue_names_are_known():
    names = (
        "gpt2 gpt2-medium gpt2-large gpt2-xl opt-125m opt-350m opt-1.3b smollm2-135m gemma3-270m"
    )
    assert set(names.split()) <= set(sources.KNOWN)
    assert sources.KNOWN["gpt2-xl"] == "openai-community/gpt2-xl"
    assert sources.KNOWN["opt-1.3b"] == "facebook/opt-1.3b"


@pytest.mark.parametrize(
    "name", ["gpt2-xl", "HuggingFaceTB/SmolLM2-135M", "smollm2-135m", "gemma3-270m"]
)
def test_names_that_can_be_models(name: str):
    sources.check_name(name, None)


def test_hub_models_have_revisions():
    sources.check_name("gpt2", "main")


@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [
        ("gpt2-xxl", None, "did you mean 'gpt2-xl'"),
        ("gemma3-270", None, "did you mean 'gemma3-270m'"),
        ("smolm2-135m", None, "did you mean 'smollm2-135m'"),
        ("nothing-like-it", None, "known: gemma3-270m, gpt2"),
        ("./none", None, "there is no such folder"),
        ("/none/at/all", None, "there is no such folder"),
        ("~/none-at-all", None, "there is no such folder"),
        ("a/b/c", None, "there is no such folder"),
        ("~nouser/x", None, "there is no user nouser"),
        ("m" * 5000, None, "is too long a name for a file"),
        ("a\0b", None, "no file can have that name"),
        ("org/na me", None, "unknown model"),
        ("", None, "unknown model"),
        ("smollm2-135m", "main", "--revision main: only hub models"),
        ("tiny-gpt2", "main", "--revision main: only hub models"),
    ],
)
def test_names_that_cannot(name: str, revision: str | None, words: str):
    with pytest.raises(UserError, match=re.escape(words)):
        sources.check_name(name, revision)


def test_folder_without_config(tmp_path: Path):
    with pytest.raises(UserError, match=r"no config\.json there"):
        sources.check_name(str(tmp_path), None)


def test_folder_without_weights(folder: Path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights"):
        sources.find(str(folder))


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("{", "not a readable index"),
        ('{"weight_map": {}}', "must name files beside it"),
        ('{"weight_map": {"a": "../model.safetensors"}}', "must name files beside it"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "gone.safetensors, which is not there"),
        ('{"weight_map": [1]}', "not a readable index"),
    ],
)
def test_faults_in_an_index(folder: Path, index: str, words: str):
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UserError, match=re.escape(words)):
        sources.find(str(folder))


def test_safetensors_is_preferred(folder: Path):
    (folder / "pytorch_model.bin").write_text("never read")
    assert [file.name for file in sources.find(str(folder)).weights] == ["model.safetensors"]


def test_local_folder_wins_over_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder.parent)
    assert sources.find("mine").folder == folder.resolve()
    with pytest.raises(UserError, match="--revision"):
        sources.find("mine", "main")


def test_fingerprint_is_of_contents(folder: Path, tmp_path: Path):
    first = sources.find(str(folder)).fingerprint
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert sources.find(str(copy)).fingerprint == first
    (copy / "README.md").write_text("words change nothing")
    assert sources.find(str(copy)).fingerprint == first
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert sources.find(str(copy)).fingerprint != first
        (copy / name).write_bytes(content)
        assert sources.find(str(copy)).fingerprint == first


@pytest.mark.parametrize("built", [True, False])
def test_a_check_comes_before_the_weights_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, built: bool
):
    seen: list[Path] = []

    def refuse(place: Path) -> None:
        seen.append(place)
        raise UserError("too few layers")

    monkeypatch.setattr(sources, "content_hash", lambda files: pytest.fail("weights were read"))
    with pytest.raises(UserError, match="too few layers"):
        sources.find("tiny-gpt2" if built else str(folder), None, refuse)
    assert (seen[0] / "config.json").is_file()


def test_unreadable_file(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(files: object) -> str:
        raise PermissionError(13, "Permission denied", str(folder / "model.safetensors"))

    monkeypatch.setattr(sources, "content_hash", refuse)
    with pytest.raises(UserError, match=r"model\.safetensors: Permission denied"):
        sources.find(str(folder))


def test_offline_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="not cached whole") as refusal:
        sources.find("org/surely-not-cached")
    assert "HF_HUB_OFFLINE is set" in str(refusal.value)


def test_names_are_checked_without_heavy_imports():
    code = (
        "import sys; from slimcls.backbones import sources; sources.check_name('gpt2-xl', 'main')\n"
        "sources.find('tiny-gpt2')\n"
        "print(*{'torch', 'transformers', 'huggingface_hub', 'datasets'} & set(sys.modules))"
    )
    tiny.build("tiny-gpt2")
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
