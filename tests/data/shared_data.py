"""Where real data sets and the real GPT-2 tokenizer are, for tests that need them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[3] / "shared"


def data_dir() -> Path:
    """The folder for --data-dir; skips the test where there is none."""
    folder = Path(os.environ.get("SLIMCLS_TEST_DATA") or _BESIDE / "data")
    if not (folder / "trec" / "train.parquet").is_file():
        pytest.skip("no real data: set SLIMCLS_TEST_DATA to a folder with trec/train.parquet")
    return folder


def gpt2_tokenizer_folder() -> Path:
    """The folder of the real GPT-2 tokenizer; skips the test where there is none."""
    folder = Path(os.environ.get("SLIMCLS_TEST_MODELS") or _BESIDE / "models") / "gpt2-tokenizer"
    if not (folder / "tokenizer.json").is_file():
        pytest.skip("no GPT-2 tokenizer: set SLIMCLS_TEST_MODELS to a folder with gpt2-tokenizer")
    return folder
