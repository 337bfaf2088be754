"""A trained tiny run and what is exported of it, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import made_up_rows, write_csv
from exporting.traced import traced_once

from slimcls.config import RunConfig
from slimcls.export import export
from slimcls.exporting.report import Report
from slimcls.exporting.settings import ExportConfig
from slimcls.train import train

BITS = (32, 8, 4)


def make_run(folder: Path, **settings: Any) -> Path:
    defaults: dict[str, Any] = {
        "model": "tiny-gpt2", "mode": "p-cls", "keep": 2, "shots": 16, "epochs": 2, "lr": 3e-3,
        "accelerator": "cpu", "max_text_tokens": 24,
    }  # fmt: skip
    data = write_csv(folder / "toy.csv", made_up_rows(80, 2))
    config = RunConfig(dataset=str(data), out=str(folder / "runs"), **(defaults | settings))
    return train(config).folder


@pytest.fixture(scope="session", autouse=True)
def _traced_once() -> Iterator[None]:
    """Not again of the same run; test_families.py and test_onnx.py trace for themselves."""
    with traced_once():
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, Report]]:
    """The folder of each number of bits, and its report."""
    out = tmp_path_factory.mktemp("folders")
    return {
        bits: (
            out / str(bits),
            export(ExportConfig(run=str(run), out=str(out / str(bits)), bits=bits, tolerate=100)),
        )
        for bits in BITS
    }
