"""Plain texts to score, heal and measure toys on."""

from __future__ import annotations

import random
from pathlib import Path

from conftest import ROOT

TINY = ("tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox")


def write_texts(path: Path, count: int = 60) -> Path:
    """A file of different texts, one a line, of words that the toys' tokenizer knows."""
    words = (ROOT / "slimcls/backbones/tiny_corpus.txt").read_text().split()
    chance = random.Random(0)
    lines = [" ".join(chance.choices(words, k=chance.randint(8, 40))) for _ in range(count)]
    path.write_text("\n".join(lines) + "\n")
    return path
