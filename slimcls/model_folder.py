"""A folder that plain transformers opens, written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slimcls.errors import UserError


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, which takes the place of ``folder`` when all went well.

    Raises UserError where the disk is full or the folder cannot be written.
    """
    from safetensors import SafetensorError

    temporary = folder.with_name(f".{folder.name}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        # safetensors lets the owner alone read what it writes.
        for path in temporary.glob("*.safetensors"):
            path.chmod((temporary / "config.json").stat().st_mode)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder}: cannot be written ({error}); see --out") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Weights, configuration and tokenizer."""
    from slimcls.backbones.quiet import no_bars

    with no_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
