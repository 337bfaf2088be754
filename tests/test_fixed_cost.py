"""What a run must not import: it would cost every run and serve none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

IDLE = ("sklearn", "peft", "bitsandbytes", "duckdb", "datasets", "matplotlib", "scipy.stats")

#: What a run needs and classifying does not.
TRAINING = ("lightning", "torchmetrics", "pandas", "pyarrow", "pydantic")

CODE = """
import sys
import {first}
before = set(sys.modules)
from slimcls.__main__ import main
assert main(sys.argv[1:]) == 0
new = {{name for name in sys.modules if name not in before}}
print("imported:", *sorted(name for name in {idle} if name in new))
"""


def imported(first: str, idle: tuple[str, ...], *words: str) -> str:
    """What a command imported of ``idle`` behind the modules ``first``; it must end well."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    code = CODE.format(first=first, idle=repr(idle))
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_run_and_what_classifies_with_it_import_what_they_use(toy: Path, tmp_path: Path) -> None:
    words = ["--dataset", str(toy), "--model", "tiny-gpt2", "--keep", "1", "--epochs", "1"]
    words += [
        "--no-baseline",
        "--shots",
        "5",
        "--mode",
        "lm",
        "--out",
        str(tmp_path),
        "--accelerator",
        "cpu",
    ]
    before = "torch, transformers, lightning"
    assert imported(before, IDLE, "train", *words) == "imported:"
    (run,) = (path for path in tmp_path.iterdir() if (path / "model").is_dir())
    assert imported("sys", IDLE + TRAINING, "predict", str(run), "rain and wind") == "imported:"
