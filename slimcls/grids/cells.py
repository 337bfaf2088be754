"""The runs of a grid: cells, groups of cells, and the settings that are chosen for a group."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from slimcls.config import CUT_SETTINGS, RunConfig
from slimcls.errors import UserError
from slimcls.roles import Role, settings_with

#: Settings that do not tell runs apart.
NO_AXES = frozenset(settings_with(Role.OUTSIDE, but=Role.HASHED))
#: One combination: settings by name, those that the file gives.
Combination = dict[str, Any]
#: Values by setting.
Axes = dict[str, list[Any]]
By = Literal["validation_accuracy", "validation_macro_f1"]


@dataclass(frozen=True, kw_only=True)
class Search:
    """Settings that are chosen on validation data, for each group of runs by itself."""

    over: tuple[str, ...]
    """The searched settings."""
    by: By = "validation_accuracy"
    budget: int | None = None
    """Most candidates a group; they are drawn from all, the same for every group."""
    at: Combination | None = None
    """Settings of the groups that search. The others, which differ from one of these in their cut
    alone, take what it chooses. None: every group searches for itself."""
    seeds: tuple[int, ...] = ()
    """Seeds that serve the choice alone. None: each group's first one chooses, and is reported."""

    def is_made_by(self, run: RunConfig) -> bool:
        """Whether the run's group searches, and takes nothing from another."""
        return self.at is None or _has(run, self.at)


def _has(run: RunConfig, settings: Combination) -> bool:
    return all(getattr(run, name) == value for name, value in settings.items())


@dataclass(frozen=True, eq=False)
class Cell:
    """One run that a grid may come to."""

    run: RunConfig
    label: str
    """What tells it from the grid's others, for people."""


@dataclass(frozen=True)
class Grid:
    """All runs that a grid may come to: every candidate setting with every seed."""

    name: str
    cells: tuple[Cell, ...]
    """In the order of the file: the first axis varies slowest."""
    search: Search | None = None

    @property
    def reported(self) -> list[Cell]:
        """All cells but those of seeds that serve a choice alone."""
        return [cell for cell in self.cells if cell.run.seed not in self._apart]

    @property
    def _apart(self) -> tuple[int, ...]:
        return self.search.seeds if self.search else ()

    def groups(self) -> list[Group]:
        """Cells that differ in nothing but the seed and the searched settings."""
        over = self.search.over if self.search else ()
        found = alike(self.cells, NO_AXES | {"seed", *over})
        groups = [_group(cells, over, self._apart) for cells in found.values()]
        if self.search is None or self.search.at is None:
            return groups
        at = self.search.at
        searching = [g for g in groups if _has(g.cells[0].run, at)]
        return [g if g in searching else _following(g, searching, at) for g in groups]


@dataclass(frozen=True)
class Group:
    """The cells of one cut, mode and task: candidate settings times seeds."""

    cells: tuple[Cell, ...]
    over: tuple[str, ...]
    trials: tuple[Cell, ...] = ()
    """Every candidate with the seeds that serve the choice alone, where there are such."""
    guide: Group | None = None
    """The group whose choice this one takes; None where it searches for itself."""

    @property
    def candidates(self) -> tuple[Cell, ...]:
        """Every candidate with the seeds that choose; none where another group searches."""
        if self.guide or self.trials:
            return self.trials
        return tuple(cell for cell in self.cells if cell.run.seed == self.cells[0].run.seed)

    @property
    def searches(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.candidates) > 1

    def tried(self) -> list[tuple[Cell, ...]]:
        """The candidates, those that differ in their seed alone together."""
        found: dict[str, list[Cell]] = {}
        for cell in self.candidates:
            found.setdefault(repr(self.settings(cell)), []).append(cell)
        return [tuple(cells) for cells in found.values()]

    def of(self, settings: Combination) -> tuple[Cell, ...]:
        """The cells with these searched settings, every seed."""
        return tuple(cell for cell in self.cells if self.settings(cell) == settings)

    def settings(self, cell: Cell) -> Combination:
        """The searched settings of a cell."""
        return {name: getattr(cell.run, name) for name in self.over}


def _group(cells: Sequence[Cell], over: tuple[str, ...], apart: tuple[int, ...]) -> Group:
    chosen_on = [cell for cell in cells if cell.run.seed in apart]
    return Group(tuple(cell for cell in cells if cell not in chosen_on), over, tuple(chosen_on))


def alike(cells: Sequence[Cell], free: frozenset[str]) -> dict[str, list[Cell]]:
    """Cells by all their settings but the free ones."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        settings = dataclasses.asdict(cell.run).items()
        rest = {name: value for name, value in settings if name not in free}
        found.setdefault(repr(rest), []).append(cell)
    return found


def _following(group: Group, searching: Sequence[Group], at: Combination) -> Group:
    """The group with the one whose choice it takes. Raises UserError where there is none."""
    free = NO_AXES | CUT_SETTINGS | {"seed", *group.over}
    for guide in searching:
        if len(alike([guide.cells[0], group.cells[0]], free)) == 1:
            return dataclasses.replace(group, guide=guide)
    wanted = ", ".join(f"{name} {value}" for name, value in at.items())
    raise UserError(
        f"choose: at: {group.cells[0].label} has no cell with {wanted}, alike in all but its cut, "
        "to take its settings from"
    )


#: What every label says, ahead of the other settings that vary.
_LEADING = ("dataset", "mode", "model")
_CUT = ("keep", "layers")


def label(settings: Combination, varying: Sequence[str]) -> str:
    """Data, mode, model and cut, then whatever else varies, then the seed."""
    data, model = Path(str(settings["dataset"])).stem, Path(str(settings["model"])).name
    words = [data, str(settings["mode"]), model]
    layers = settings["layers"]
    cut = f"layers {','.join(map(str, layers))}" if layers else f"keep {settings['keep'] or 2}"
    rest = [name for name in varying if name not in (*_LEADING, *_CUT, "seed")]
    return " ".join([*words, cut, *(f"{name} {settings[name]}" for name in (*rest, "seed"))])
