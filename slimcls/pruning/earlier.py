"""Figures that an earlier start of a pruning command found, so that it goes on from there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcls.errors import UserError
from slimcls.pruning.settings import PruneConfig
from slimcls.storage.json_files import parse_json

if TYPE_CHECKING:
    from slimcls.layers.samples import Sample
    from slimcls.pruning.evaluation import Known, Labelled


def what_decides(config: PruneConfig, held_out: Sample, labelled: Labelled | None) -> list[Any]:
    """What decides the figures of a model."""
    items = [config.demos, config.test_size, config.max_text_tokens, config.seed]
    return [held_out.fingerprint, *([labelled.fingerprint, *items] if labelled else [])]


def figures(config: PruneConfig, about: list[Any]) -> tuple[Known, Any]:
    """Figures that an earlier start has found, and what keeps new ones."""
    from slimcls.pruning.evaluation import Figures

    path = Path(config.out) / "known.json"
    kept, write = kept_file(path, about)
    try:
        known = {name: Figures(**figures) for name, figures in kept.items()}
    except TypeError:
        raise _unreadable(path) from None

    def keep() -> None:
        kept.update({name: dataclasses.asdict(one) for name, one in known.items()})
        write()

    return known, keep


def kept_file(path: Path, about: list[Any]) -> tuple[dict[str, Any], Callable[[], None]]:
    """What a file holds of an earlier start with the same settings, and what writes it."""
    from slimcls.storage.files import write_text

    kept: dict[str, Any] = {}
    if path.is_file():
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
            other, kept = content["about"] != about, content["figures"]
        except (OSError, ValueError, KeyError, TypeError):
            raise _unreadable(path) from None
        if other:
            raise UserError(
                f"--out {path.parent}: holds figures of other settings; name another folder"
            )
        if not isinstance(kept, dict):
            raise _unreadable(path)

    def write() -> None:
        write_text(path, json.dumps({"about": about, "figures": kept}, indent=1))

    return kept, write


def _unreadable(path: Path) -> UserError:
    return UserError(f"{path}: cannot be read; delete it, or name another --out")
