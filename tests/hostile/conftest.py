"""What hostile cases and spoiled files start from."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from conftest import made_up_rows, write_csv
from hostile.table import QUICK

from slimcls.__main__ import main


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rev.csv and a finished run of it in each mode."""
    folder = tmp_path_factory.mktemp("world")
    data = write_csv(folder / "rev.csv", made_up_rows(90, 3))
    for mode in ("cls", "p-cls"):
        words = shlex.split(QUICK.replace("--mode cls", f"--mode {mode}"))
        words[-1] = str(folder / f"runs-{mode}")
        assert main(["train", "--dataset", str(data), *words]) == 0
        (run,) = (folder / f"runs-{mode}").iterdir()
        (folder / mode).symlink_to(run)
    return folder
