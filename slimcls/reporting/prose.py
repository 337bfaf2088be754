"""What a study says, in sentences that are computed from its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from slimcls.escaping import in_markdown
from slimcls.reporting.comparisons import rivals_of
from slimcls.reporting.study import Study
from slimcls.reporting.tables import interval, rows_of
from slimcls.reporting.verdicts import UNTUNED

#: What is said of cuts with a verdict; the others have their own word.
_SAID = {
    "good enough": "good enough",
    "worse": "shown to lose more than {margin} points",
    "cannot tell": "what the runs cannot tell",
    "no reference": "without a reference that beats every cheap rival",
}


def setting(study: Study) -> str:
    """Model, texts a class and seeds, as a figure has them above it."""
    runs = study.found.runs
    shots = sorted({str(shots) for shots in runs.shots})
    seeds = sorted(set(runs.seed))
    return (
        f"{_listed(sorted(set(runs.model)))}, {_listed(shots)} texts a class, "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {_listed(seeds)}"
    )


def answers(study: Study) -> list[str]:
    """A paragraph of Markdown a task and mode: full depth, each cut's loss, the rivals.

    Accuracies are shares of the test texts, differences points of accuracy, brackets 95 %
    intervals.
    """
    return [
        " ".join(_said(study, str(task), str(line), cells))
        for (task, line), cells in study.compared.cells.groupby(["task", "line"], sort=True)
    ]


def against_first(selections: pd.DataFrame) -> list[str]:
    """A paragraph a task, mode and depth: which rules' cuts stand above or below the first layers.

    ``selections`` is the table of :class:`slimcls.reporting.comparisons.Comparisons`. Each interval
    is by itself, so a few of many may show a difference by chance.
    """
    said = []
    for (task, family, keep), rows in selections.groupby(["task", "family", "keep"], sort=True):
        words = [
            f"**{in_markdown(f'{task}, {family}')}, {_layers(int(str(keep)))}, against the first.**"
        ]
        parts = {
            "Above": rows[rows.low > 0],
            "Below": rows[rows.high < 0],
            "No difference is shown": rows[(rows.low <= 0) & (rows.high >= 0)],
        }
        for word, part in parts.items():
            each = [f"{in_markdown(row.rule)} {interval(row)}" for row in rows_of(part)]
            if each:
                words.append(f"{word}: {_listed(each)}.")
        said.append(" ".join(words))
    return said


def _said(study: Study, task: str, line: str, cells: pd.DataFrame) -> Iterator[str]:
    compared, margin = study.compared, f"{100 * study.margin:g}"
    of_task = compared.cells[compared.cells.task == task]
    full = of_task[(of_task.family == cells.family.iloc[0]) & (of_task.keep == of_task.depth)]
    yield f"**{in_markdown(f'{task}, {line}')}.**"
    for row in full.to_dict("records")[:1]:
        yield f"All {row['depth']} layers are right on {_accuracy(row)}."
    cuts = compared.differences.query("task == @task and line == @line")
    if cuts.empty and (cells.keep < cells.depth).any():
        yield "No cut has a run at full depth to compare with."
    elif len(cuts):
        yield from _verdicts(cuts.sort_values("keep"), margin)
    runs = study.found.runs.query("task == @task and line == @line")
    rivals = rivals_of(runs, study.found.baselines).groupby("method").test_accuracy.mean()
    if len(rivals):
        best_first = rivals.sort_values(ascending=False).items()
        names = [f"{UNTUNED[str(name)]} {accuracy:.3f}" for name, accuracy in best_first]
        yield f"Rivals: {_listed(names)}."


def _verdicts(cuts: pd.DataFrame, margin: str) -> Iterator[str]:
    """The smallest that is good enough, or that there is none; then all, by their verdict."""
    good = cuts[cuts.verdict == "good enough"]
    if good.empty:
        yield f"No cut is shown to be good enough at a margin of {margin} points."
    else:
        least: Any = good.iloc[0]
        yield (
            f"The smallest cut that is good enough keeps {_layers(least.keep)} and saves "
            f"{least.params_saved:.1%} of the parameters."
        )
    for verdict, rows in cuts.groupby("verdict", sort=False):
        each = [_loss(row) for row in rows_of(rows)]
        word = _SAID.get(str(verdict), str(verdict)).format(margin=margin)
        yield f"{word[0].upper()}{word[1:]}: {_listed(each)}."


def _accuracy(row: dict[Any, Any]) -> str:
    return f"{row['accuracy']:.3f} ({row['low']:.3f} to {row['high']:.3f}) of the test texts"


def _loss(row: Any) -> str:
    """``2 layers -1.2 (-2.9 to +0.5)``; where nothing was shown, what would have been."""
    said = f"{_layers(row.keep)} {interval(row)}"
    if row.verdict != "cannot tell":
        return said
    return f"{said}, where {100 * row.smallest_detectable:.1f} could have been shown"


def _layers(keep: int) -> str:
    return f"{keep} layer{'' if keep == 1 else 's'}"


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(str, names))
