"""A model with its tokenizer as a folder that plain transformers opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write weights, configuration and tokenizer into ``folder``, which is there already."""
    from slimcls.backbones.quiet import no_bars

    with no_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
