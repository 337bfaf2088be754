"""A folder for the loopback hub, and a process of its own that asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import PATIENCE

ASK = """
import sys, time
from slimcls.backbones import sources
from slimcls.errors import UserError
start = time.perf_counter()
try:
    found = getattr(sources, sys.argv[3])(sys.argv[1], sys.argv[2] or None)
    print(found.fingerprint, *sorted(p.name for p in found.folder.iterdir()))
    print(*[p.name for p in found.weights])
except UserError as error:
    print("ERROR", error)
print(time.perf_counter() - start)
"""


def ask(
    url: str, home: Path, name: str, revision: str = "", how: str = "find", **extra: str
) -> tuple[list[str], float]:
    """What ``find`` says in a fresh process with this hub and this home, and its seconds."""
    lines = run(url, home, ASK, name, revision, how, **extra)
    return lines[:-1], float(lines[-1])


def run(url: str, home: Path, code: str, *arguments: str, **extra: str) -> list[str]:
    """Lines that ``code`` prints in a fresh process."""
    dropped = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    ours = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
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
