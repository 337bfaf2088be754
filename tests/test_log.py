"""What a person is told stands in the log too."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcls.log import Log


def test_a_log_keeps_what_was_said_before_it_had_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log()
    log.say("one")
    assert not list(tmp_path.iterdir())
    log.keep(tmp_path / "log.txt")
    log.say("two")
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"
    assert capsys.readouterr().err == "one\ntwo\n"
    quiet = Log(quiet=True)
    quiet.keep(tmp_path / "log.txt")
    quiet.say("three")
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"
    assert capsys.readouterr().err == ""
