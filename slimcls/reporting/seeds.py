"""What has to be said of a report's seeds: were they planned, and did they choose settings too."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import pandas as pd

from slimcls.reporting.evidence import Evidence
from slimcls.runs.plans import PlannedSeeds, cut_of
from slimcls.statistics import ENOUGH_SEEDS

#: Names of one kind that are told in full; more are counted.
_TOLD = 3

SeedList = tuple[int, ...]

NO_PLAN = "no plan of a grid says whether the number of seeds was fixed beforehand"


def on_plan(runs: pd.DataFrame, plans: Mapping[str, Sequence[PlannedSeeds]] | None) -> list[str]:
    """A sentence for each way in which the seeds are not those that grids planned first.

    Levels hold for a number of seeds that was fixed before the first look: docs/statistics.md.
    """
    if plans is None:
        most = max(len(seeds) for _, _, seeds in _cells(runs))
        return [NO_PLAN] if most >= ENOUGH_SEEDS else []
    off: dict[tuple[str, SeedList, SeedList], list[str]] = {}
    for name, settings, seeds in _cells(runs):
        for grid, plan in plans.items():
            wanted = {one.seeds for one in plan if one.is_of(settings)}
            for planned in wanted - {seeds}:
                off.setdefault((grid, seeds, planned), []).append(name)
    return [_said(*key, names) for key, names in off.items()]


def _cells(runs: pd.DataFrame) -> Iterator[tuple[str, dict[str, object], SeedList]]:
    """Each cell's name for people, its settings as a plan has them, and its seeds."""
    for _, cell in runs.groupby(["task", "line", "keep", "cut"], sort=True):
        row = cell.head(1).astype(object).where(lambda one: one.notna(), None)
        (run,) = row.to_dict("records")
        settings = {str(name): value for name, value in run.items()}
        keep = "all" if run["keep"] == run["depth"] else run["keep"]
        settings |= cut_of(keep, run["select"], run["layers"])
        settings["exits"] = [int(depth) for depth in run["exits"].split(",") if depth] or None
        name = f"{run['task']}, {run['line']}, keep {run['keep']}"
        yield name, settings, tuple(sorted(set(cell.seed.tolist())))


def _said(grid: str, seeds: SeedList, planned: SeedList, names: Sequence[str]) -> str:
    what = f"{_counted(names)}: seeds {_listed(seeds)} where {grid} planned {_listed(planned)}"
    if set(seeds) < set(planned):
        return f"{what}: a look before the planned end, and each further one adds to the error"
    return f"{what}: the number of seeds was not fixed beforehand"


def _counted(names: Sequence[str]) -> str:
    more = len(names) - _TOLD
    return "; ".join([*names[:_TOLD], *([f"{more} more"] if more > 0 else [])])


def with_reported(found: Evidence) -> pd.DataFrame:
    """The choices, and which of the seeds that chose a cell's setting are reported for it too."""
    said = [
        _listed(_chosen_on(row, _of_cell(found.runs, row)))
        for row in found.choices.to_dict("records")
    ]
    return found.choices.assign(**{"reported too": said}) if said else found.choices


def _of_cell(runs: pd.DataFrame, row: Mapping[Hashable, object]) -> pd.DataFrame:
    alike = pd.Series(True, index=runs.index)
    for name in ("task", "line", "keep", "cut"):
        alike &= runs[name] == row[name]
    return runs[alike]


def _chosen_on(row: Mapping[Hashable, object], cell: pd.DataFrame) -> list[int]:
    """The seeds of a cell among those that its settings were compared on."""
    compared = str(row["compared on seeds"]).split(", ")
    seeds = sorted(set(cell.seed.tolist()))
    return seeds if compared == ["different seeds"] else [s for s in seeds if str(s) in compared]


def on_choices(choices: pd.DataFrame) -> list[str]:
    """A sentence where settings were chosen on seeds that are reported too; none elsewhere."""
    if choices.empty or not (twice := choices[choices["reported too"] != ""]).size:
        return []
    seeds = sorted({int(one) for said in twice["reported too"] for one in said.split(", ")})
    cells = f"{len(twice)} cell" + ("s" if len(twice) > 1 else "")
    return [
        f"the settings of {cells} were chosen on a seed that is reported too ({_listed(seeds)}): "
        "on its validation items, not its test items, but its figures may be a little too good"
    ]


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))
