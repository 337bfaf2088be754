"""Paths as people give them: expanded, or one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcls.errors import UserError
from slimcls.storage.paths import user_path


def test_paths_are_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/a b", "--out") == tmp_path / "a b"
    assert user_path("runs", "--out") == Path("runs")
    assert user_path("data/größe.csv", "--out") == Path("data/größe.csv")
    (tmp_path / "file").touch()
    assert user_path(str(tmp_path / "file" / "below"), "x") == tmp_path / "file" / "below"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("~nouser/x", "no user nouser"),
        ("x" * 5000, "too long"),
        ("xy/" * 3000, "more than 200 folders deep"),
        ("out/" + "x" * 300, "too long"),
        ("/".join(["x" * 200] * 30), "too long"),
        ("x/" * 900, "more than 200 folders deep"),
        ("a\0b", "no file can have that name"),
        ("a\ud800b", "no file can have that name"),
    ],
)
def test_what_no_file_system_takes_is_one_short_line(name: str, words: str) -> None:
    with pytest.raises(UserError) as found:
        user_path(name, "--out")
    said = str(found.value)
    assert said.startswith("--out ")
    assert words in said
    assert len(said) < 200
    assert said.isprintable()
