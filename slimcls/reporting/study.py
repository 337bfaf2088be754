"""A folder of runs, read and compared: what report, figures and notebooks start from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from slimcls import runs
from slimcls.reporting import evidence, seeds
from slimcls.reporting.comparisons import Comparisons, compare_runs
from slimcls.reporting.evidence import Evidence
from slimcls.runs import choices, plans
from slimcls.runs.choices import Choice
from slimcls.runs.plans import PlannedSeeds
from slimcls.statistics import SeedItems


@dataclass(frozen=True)
class Study:
    """Runs, what they compare to, and what each predicted."""

    folder: Path
    margin: float
    """Loss of accuracy that does not matter, as a share."""
    found: Evidence
    compared: Comparisons
    predictions: pd.DataFrame
    """A row a run and test item: run, id, label, prediction, probabilities, tokens."""
    unread: tuple[str, ...]
    """Files of the folder that cannot be used, and why."""
    on_seeds: tuple[str, ...] = ()
    """What has to be said of the seeds, in sentences."""


def read_study(folder: str | Path, margin: float = 0.02) -> Study:
    """Read the runs of a folder with what grids have chosen, choose the rest, and compare.

    Runs whose predictions are missing, broken or of a single item are left out, and named in
    ``unread``. Raises UserError where the folder holds no fine-tuned run that is left, or a damaged
    file of choices or of a plan.
    """
    folder = Path(folder)
    unread: list[str] = []
    frame = runs.load(folder, unread.append)
    found = evidence.gather(frame, _choices(folder))
    predictions = runs.predictions(pd.concat([found.runs, found.baselines]), unread.append)
    items = predictions.run.value_counts()
    alone = sorted(items.index[items < 2])
    unread += [f"{run}: a single test item has no interval; left out" for run in alone]
    found = evidence.one_a_seed(found, set(items.index[items > 1]))
    found = replace(found, choices=seeds.with_reported(found))
    used = pd.concat([found.runs, found.baselines])
    predictions = predictions[predictions.run.isin(used.run)]
    compared = compare_runs(found, _right(used, predictions), margin)
    said = (*seeds.on_plan(found.runs, _plans(folder)), *seeds.on_choices(found.choices))
    return Study(folder, margin, found, compared, predictions, tuple(unread), said)


def _places(folder: Path, kept: str) -> list[Path]:
    """Where grids keep something: here, and the folders that are read along with this one."""
    return [folder, *(place.parent for place in sorted(folder.glob(f"*/{kept}")))]


def _choices(folder: Path) -> list[Choice]:
    """What grids have chosen."""
    return [one for place in _places(folder, choices.FOLDER) for one in choices.read_choices(place)]


def _plans(folder: Path) -> dict[str, list[PlannedSeeds]] | None:
    """What each grid planned first, by its name; None where no plan is kept."""
    found: dict[str, list[PlannedSeeds]] = {}
    for place in _places(folder, plans.FOLDER):
        before = "" if place == folder else f"{place.name}/"
        found |= {f"{before}{grid}": plan for grid, plan in (plans.read_plans(place) or {}).items()}
    return found or None


def _right(used: pd.DataFrame, predictions: pd.DataFrame) -> dict[str, SeedItems]:
    """What each run got right, by its name."""
    seeds = dict(zip(used.run, used.seed, strict=True))
    right = predictions.label == predictions.prediction
    return {
        str(run): SeedItems(int(seeds[run]), rows.id.to_numpy(), right[rows.index].to_numpy())
        for run, rows in predictions.groupby("run", sort=False)
    }


def classes(study: Study, task: str) -> list[str]:
    """The classes of a task's test items, and what was predicted of them, sorted."""
    of_task = study.found.runs[study.found.runs.task == task]
    rows = study.predictions[study.predictions.run.isin(of_task.run)]
    return sorted(set(rows.label) | set(rows.prediction))


def confusion_counts(
    study: Study, task: str, line: str, keep: int, labels: list[str]
) -> NDArray[np.int64]:
    """Counts (true class, predicted class) of a cell, all its seeds together; classes as given."""
    cell = study.found.runs.query("task == @task and line == @line and keep == @keep")
    rows = study.predictions[study.predictions.run.isin(cell.run)]
    counts = pd.crosstab(rows.label, rows.prediction)
    return counts.reindex(index=labels, columns=labels, fill_value=0).to_numpy()
