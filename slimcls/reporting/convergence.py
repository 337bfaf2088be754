"""Had the runs learnt what they could? Where not, depth is confounded with convergence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from slimcls.reporting.study import Study

#: Runs whose warnings are told in full.
_TOLD = 3

#: Share of the cuts' runs that ended too early, from which on it has to be said.
_MANY = 0.5


def convergence(study: Study) -> pd.DataFrame:
    """A row a cell: in how many seeds training ended too early, and the loss it ended at.

    The loss is the mean over seeds with the least and the greatest, empty without ``curves.csv``.
    """
    runs = study.found.runs
    runs = runs.assign(last=_last(runs), loss=[_final_loss(Path(one)) for one in runs.folder])
    rows = [
        {
            "task": cell.task.iloc[0],
            "mode": cell.line.iloc[0],
            "kept": cell.keep.iloc[0],
            "epochs": f"{cell.epochs_run.max()}",
            "ended too early": f"{cell['last'].sum()} of {len(cell)}",
            "training loss at the end": _spread(cell.loss),
        }
        for _, cell in runs.groupby(["task", "line", "keep"], sort=True)
    ]
    return pd.DataFrame(rows)


def on_convergence(runs: pd.DataFrame) -> list[str]:
    """A sentence where many cuts had not come to an end; none elsewhere."""
    cuts = runs[(runs.keep < runs.depth) & (runs.epochs_run > 1)]
    last = int(_last(cuts).sum())
    if cuts.empty or last < _MANY * len(cuts):
        return []
    full = runs[(runs.keep == runs.depth) & (runs.epochs_run > 1)]
    said = f"{last} of {len(cuts)} runs of cuts ended before validation had stopped improving"
    beside = f" ({_last(full).sum()} of {len(full)} at full depth)" if len(full) else ""
    return [f"{said}{beside}: depth is confounded with convergence, longer runs may lose less"]


def on_warnings(runs: pd.DataFrame) -> list[str]:
    """What speaks against taking a run for a result, as the run said it itself; a few in full."""
    warned = runs[runs.warnings != ""]
    said = [f"{run}: {text}" for run, text in zip(warned.run, warned.warnings, strict=True)]
    more = len(said) - _TOLD
    return [*said[:_TOLD], *([f"{more} more runs have warnings"] if more > 0 else [])]


def _last(runs: pd.DataFrame) -> pd.Series:
    """Runs that ended too early; those of an earlier slimcls do not say it themselves."""
    return ~runs.converged.fillna(runs.best_epoch < runs.epochs_run).astype(bool)


def _final_loss(folder: Path) -> float:
    """The mean loss of a run's last epoch; nan where its curves are not there."""
    path = folder / "curves.csv"
    if not path.is_file():
        return float("nan")
    losses = pd.read_csv(path)["train_loss"]
    return float(losses.iloc[-1]) if len(losses) else float("nan")


def _spread(losses: pd.Series) -> str:
    if np.isnan(losses).all():
        return ""
    return f"{losses.mean():.2f} ({losses.min():.2f} to {losses.max():.2f})"
