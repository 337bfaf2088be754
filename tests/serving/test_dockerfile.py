"""The Dockerfile says what the repository has: no engine is here to build it."""

from __future__ import annotations

import json
import re

from conftest import ROOT

from slimcls.cli import parse
from slimcls.serve import EXTRA
from slimcls.serving.settings import ServeConfig

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.M)
              for word in line.split()]  # fmt: skip
    assert copied
    assert [
        name for name in copied if not (ROOT / name).exists() or f"!{name}" not in ignored
    ] == []
    assert f"/src[{EXTRA}]" in TEXT


def test_the_image_answers_as_nobody_at_the_port_it_says() -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", TEXT, re.M)
    assert int(user) > 0
    assert TEXT.index("USER") < TEXT.index("\nCMD")
    words = json.loads(re.findall(r"^CMD (.*)$", TEXT, re.M)[0])
    assert words[:2] == ["slimcls", "serve"]
    config = parse(ServeConfig, words[2:], prog="slimcls serve", positional=("run",), extra="")
    assert config.host == "0.0.0.0", "from outside the container"
    assert f"EXPOSE {config.port}" in TEXT
    assert f"127.0.0.1:{config.port}/health" in TEXT
