"""Files are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcls.errors import UserError
from slimcls.storage.files import replacing, write_text


def test_replacing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "one")
    assert path.read_text() == "one"
    half = replacing(path)
    half.__enter__().write_text("half")
    assert path.read_text() == "one"
    assert not half.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
    with replacing(path) as temporary:
        temporary.write_text("two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_replacing_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot be written .*see --out"):
        write_text(tmp_path / "file" / "below.txt", "x")
