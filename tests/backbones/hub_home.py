"""The loopback hub, asked by a process of its own or by this one, with a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import PATIENCE
from hub_server import TOKEN, Hub, serve_hub

#: Opens what ``find`` gives with all of its layers, so that all of it is fetched.
WHOLE = """
import json
from types import SimpleNamespace
def whole(found):
    content = json.loads((found.folder / "config.json").read_text())
    config = SimpleNamespace(**{"tie_word_embeddings": True} | content)
    return found.stored(config, range(config.n_layer), lm_head=True).files
"""

ASK = (
    WHOLE
    + """
import sys, time
from slimcls.backbones import sources
from slimcls.errors import UserError
start = time.perf_counter()
try:
    found = getattr(sources, sys.argv[3])(sys.argv[1], sys.argv[2] or None)
    weights = whole(found) if sys.argv[3] == "find" else found.weights
    print(found.fingerprint, *sorted(p.name for p in found.folder.iterdir()))
    print(*[p.name for p in weights])
except UserError as error:
    print("ERROR", error)
print(time.perf_counter() - start)
"""
)


def ask(
    url: str, home: Path, name: str, revision: str = "", how: str = "find", **extra: str
) -> tuple[list[str], float]:
    """What ``find`` and opening say in a fresh process with this hub and home, and their seconds.

    ``look`` opens nothing.
    """
    lines = run(url, home, ASK, name, revision, how, **extra)
    return lines[:-1], float(lines[-1])


def run(url: str, home: Path, code: str, *arguments: str, **extra: str) -> list[str]:
    """Lines that ``code`` prints in a fresh process."""
    dropped = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    ours = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    ours |= {"SLIMCLS_CACHE": str(home / "slimcls")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=kept | ours | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | extra,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextmanager
def at_hub(folder: Path, home: Path) -> Iterator[Hub]:
    """This process asks a hub that serves ``folder``, and keeps what it gets under ``home``."""
    from huggingface_hub import close_session, constants

    environment = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_TOKEN": TOKEN}
    environment |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
    environment |= {"SLIMCLS_CACHE": str(home / "slimcls")}
    with serve_hub(folder) as hub, pytest.MonkeyPatch.context() as patch:
        for name, value in (environment | {"HF_ENDPOINT": hub.url}).items():
            patch.setenv(name, value)
        # Read when the library is imported.
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        patch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
        patch.setattr("slimcls.backbones.ranges.WAIT", 0.01)
        close_session()
        try:
            yield hub
        finally:
            close_session()
