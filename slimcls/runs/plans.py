"""What a grid planned before its first run: the seeds of each cut, kept beside the runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimcls.config import RunConfig
from slimcls.errors import UserError

#: Folder beside the run directories: a file a grid.
FOLDER = "plans"


@dataclass(frozen=True)
class PlannedSeeds:
    """The seeds with which a grid meant to run one task, mode and depth."""

    dataset: str
    mode: str
    keep: int | str
    """Kept layers, or ``all``."""
    seeds: tuple[int, ...]


def planned_seeds(runs: Iterable[RunConfig]) -> list[PlannedSeeds]:
    """The seeds of a grid's cells, by task, mode and depth; in the cells' order."""
    found: dict[tuple[str, str, int | str], set[int]] = {}
    for run in runs:
        key = (run.dataset, run.mode, "all" if run.keep is None else run.keep)
        found.setdefault(key, set()).add(run.seed)
    return [PlannedSeeds(*key, tuple(sorted(seeds))) for key, seeds in found.items()]


def keep_plan(out: Path, grid: str, plan: list[PlannedSeeds]) -> None:
    """Add a plan to ``plans/GRID.json`` where it differs from the last one there.

    What was planned first stays first: a report goes by that. Raises UserError for a file that is
    damaged or cannot be written.
    """
    from slimcls.storage.files import write_text

    path = out / FOLDER / f"{grid}.json"
    plans = _read(path) if path.is_file() else []
    if not plans or plans[-1] != plan:
        rows = [[asdict(row) for row in one] for one in (*plans, plan)]
        write_text(path, json.dumps(rows, indent=1) + "\n")


def read_plans(out: Path) -> dict[str, list[PlannedSeeds]] | None:
    """What each grid of an output folder planned first, by its name; None where no plan is kept.

    Raises UserError for a file that is damaged.
    """
    files = sorted((out / FOLDER).glob("*.json"))
    found = {path.stem: plans[0] for path in files if (plans := _read(path))}
    return found or None


def _read(path: Path) -> list[list[PlannedSeeds]]:
    try:
        plans = json.loads(path.read_text(encoding="utf-8"))
        return [[_row(**row) for row in plan] for plan in plans]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); delete it, and its plan is lost"
        ) from None


def _row(seeds: list[int], **rest: Any) -> PlannedSeeds:
    return PlannedSeeds(seeds=tuple(map(int, seeds)), **rest)
