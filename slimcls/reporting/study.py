"""A folder of runs, read and compared: what report, figures and notebooks start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from slimcls import runs
from slimcls.reporting import evidence
from slimcls.reporting.comparisons import Comparisons, compare
from slimcls.reporting.evidence import Evidence
from slimcls.runs import choices
from slimcls.runs.choices import Choice
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


def read(folder: str | Path, margin: float = 0.02) -> Study:
    """Read the runs of a folder with what grids have chosen, choose the rest, and compare.

    Runs whose predictions are missing, broken or of a single item are left out, and named in
    ``unread``. Raises UserError where the folder holds no fine-tuned run that is left, or a damaged
    file of choices.
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
    used = pd.concat([found.runs, found.baselines])
    predictions = predictions[predictions.run.isin(used.run)]
    compared = compare(found, _right(used, predictions), margin)
    return Study(folder, margin, found, compared, predictions, tuple(unread))


def _choices(folder: Path) -> list[Choice]:
    """What grids have chosen, here and in the folders that are read along with this one."""
    places = [folder, *(place.parent for place in sorted(folder.glob(f"*/{choices.FOLDER}")))]
    return [choice for place in places for choice in choices.read_choices(place)]


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


def confusion(
    study: Study, task: str, line: str, keep: int, labels: list[str]
) -> NDArray[np.int64]:
    """Counts (true class, predicted class) of a cell, all its seeds together; classes as given."""
    cell = study.found.runs.query("task == @task and line == @line and keep == @keep")
    rows = study.predictions[study.predictions.run.isin(cell.run)]
    counts = pd.crosstab(rows.label, rows.prediction)
    return counts.reindex(index=labels, columns=labels, fill_value=0).to_numpy()
