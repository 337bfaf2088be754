"""Plain texts to score, heal and measure toys on, and a toy that is damaged."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from conftest import ROOT
from safetensors.torch import load_file, save_file

from slimcls.backbones import sources

TINY = ("tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox")


def write_texts(path: Path, count: int = 60, seed: int = 0) -> Path:
    """A file of different texts, one a line, of words that the toys' tokenizer knows."""
    words = (ROOT / "slimcls/backbones/tiny_corpus.txt").read_text().split()
    chance = random.Random(seed)
    lines = [" ".join(chance.choices(words, k=chance.randint(8, 40))) for _ in range(count)]
    path.write_text("\n".join(lines) + "\n")
    return path


def damaged(folder: Path) -> Path:
    """A model folder with a NaN in layer 4 of 6."""
    copy = folder / "damaged"
    shutil.copytree(sources.find("tiny-llama", None).folder, copy)
    weights = load_file(copy / "model.safetensors")
    weights["model.layers.4.mlp.up_proj.weight"][0] = float("nan")
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    return copy
