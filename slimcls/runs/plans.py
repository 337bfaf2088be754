"""What a grid planned before its first run: the seeds of each cut, kept beside the runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from slimcls.backbones.selectors import named_by_hand
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.roles import Role, settings_without
from slimcls.storage.json_files import parse_json

#: Folder beside the run directories: a file a grid.
FOLDER = "plans"

#: Settings, besides the cut, that tell apart what may have seeds of its own.
_TELLING = settings_without(
    Role.REPEAT | Role.SEARCHED | Role.CUT | Role.NEUTRAL | Role.ARITHMETIC | Role.OUTSIDE
)
#: Of those, what a run fills in where a grid leaves it open.
_OPEN = ("lm_loss",)
#: The column of a result that says whether a teacher was learnt from: which one, no plan knows.
_TAUGHT = "taught"


@dataclass(frozen=True)
class PlannedSeeds:
    """The seeds with which a grid meant to run one cut of a model, on one task in one way."""

    settings: Mapping[str, object]
    """What tells these runs from the grid's others, the cut as :func:`cut_of` has it."""
    seeds: tuple[int, ...]

    def is_of(self, run: Mapping[str, object]) -> bool:
        """Whether a run with these settings, cut as :func:`cut_of` has it, was planned here."""
        told = {**run, _TAUGHT: bool(run[_TAUGHT])}
        return all(told[name] == value for name, value in self.settings.items())


def cut_of(keep: object, select: str, layers: Sequence[int] | None) -> dict[str, object]:
    """What makes a cut another: its rule, how many layers stay, and which if named outright.

    ``keep`` is ``all`` where the model is not cut: whatever would have chosen is then no matter.
    """
    if keep == "all":
        return {"keep": "all", "select": "first", "layers": None}
    named = list(layers or ()) if named_by_hand(select, layers) else None
    return {"keep": keep, "select": select, "layers": named}


def planned_seeds(runs: Iterable[RunConfig]) -> list[PlannedSeeds]:
    """The seeds of a grid's cells, by all that tells cells apart; in the cells' order."""
    found: dict[str, tuple[dict[str, object], set[int]]] = {}
    for run in runs:
        told = {name: getattr(run, name) for name in _TELLING}
        told = {name: v for name, v in told.items() if v is not None or name not in _OPEN}
        told |= cut_of(run.keep, run.select, run.layers)
        told[_TAUGHT] = run.teacher is not None
        found.setdefault(repr(told), (told, set()))[1].add(run.seed)
    return [PlannedSeeds(told, tuple(sorted(seeds))) for told, seeds in found.values()]


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
        plans = parse_json(path.read_text(encoding="utf-8"))
        return [[_row(**row) for row in plan] for plan in plans]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); delete it, and its plan is lost"
        ) from None


def _row(settings: Mapping[str, object], seeds: Iterable[int]) -> PlannedSeeds:
    known = {*_TELLING, _TAUGHT, *cut_of("all", "first", None)}
    if foreign := sorted(set(settings) - known):
        raise ValueError(f"{foreign[0]} is no setting that a plan has")
    return PlannedSeeds(dict(settings), tuple(map(int, seeds)))
