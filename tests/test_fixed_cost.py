"""What a run must not import: it would cost every run and serve none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

IDLE = ("sklearn", "peft", "bitsandbytes", "duckdb", "datasets", "matplotlib", "scipy.stats")

CODE = """
import sys
import torch, transformers, lightning
before = set(sys.modules)
from slimcls.train import main
main(sys.argv[1:])
new = {name for name in sys.modules if name not in before}
print("imported:", *sorted(name for name in {IDLE} if name in new))
""".replace("{IDLE}", repr(IDLE))


@pytest.mark.parametrize("mode", ["cls", "lm"])
def test_a_plain_run_imports_only_what_it_uses(toy: Path, tmp_path: Path, mode: str) -> None:
    words = ["--dataset", str(toy), "--model", "tiny-gpt2", "--keep", "1", "--epochs", "1"]
    words += ["--shots", "5", "--mode", mode, "--out", str(tmp_path), "--accelerator", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported:"
