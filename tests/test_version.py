"""The version, and the commit of a checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import slimcls
from slimcls import version


def test_the_package_gives_its_version() -> None:
    assert slimcls.__version__ == version.__version__


def test_a_checkout_says_its_commit_and_whether_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    module = tmp_path / "slimcls" / "version.py"
    monkeypatch.setattr(version, "__file__", str(module))
    assert version.checkout_commit() == "", "an installed package lies in no checkout"
    module.parent.mkdir()
    module.write_text("one")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    assert version.checkout_commit() == git("rev-parse", "HEAD")
    module.write_text("another")
    assert version.checkout_commit() == git("rev-parse", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", "")
    assert version.checkout_commit() == "", "without git nobody knows"
