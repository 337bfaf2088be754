"""Where cuts err: by class, by length, by item. Items go by their ids, never by their texts."""

from __future__ import annotations

import pandas as pd

from slimcls.reporting.evidence import full_depth
from slimcls.reporting.study import Study

#: Parts of about the same number of items that lengths are sorted into.
PARTS = 4


def answers(study: Study) -> pd.DataFrame:
    """A row a run and test item: task, line, keep, seed, id, label, prediction, tokens, right."""
    runs = study.found.runs[["run", "task", "line", "keep", "depth", "seed"]]
    rows = study.predictions.drop(columns="probabilities").merge(runs, on="run")
    return rows.assign(right=rows.label == rows.prediction)


def right_by_class(study: Study) -> pd.DataFrame:
    """Share of each class's items that were right (recall), kept layers across, over all seeds."""
    rows = answers(study)
    return rows.pivot_table(index=["task", "line", "label"], columns="keep", values="right").round(
        3
    )


def right_by_length(study: Study) -> pd.DataFrame:
    """Share right by the tokens that went in, prompt included: four parts of a line's items."""
    rows = answers(study)
    parts = rows.groupby(["task", "line"]).tokens.transform(_part)
    shown = rows.assign(tokens=parts)
    return shown.pivot_table(
        index=["task", "line", "tokens"], columns="keep", values="right"
    ).round(3)


def _part(tokens: pd.Series) -> pd.Series:
    """Each item's quarter as ``least to most`` tokens; ties stay together."""
    parts = pd.qcut(tokens, PARTS, labels=False, duplicates="drop")
    ends = tokens.groupby(parts).agg(["min", "max"])
    return parts.map({part: f"{low:4d} to {high:4d}" for part, low, high in ends.itertuples()})


def lost_items(study: Study, task: str, line: str, keep: int) -> pd.DataFrame:
    """Items that full depth had right and the cut wrong, in most seeds first.

    Columns: id (row in the test split), label, tokens, lost (seeds), compared (seeds).
    """
    rows = answers(study)
    runs = study.found.runs[study.found.runs.task == task]
    family = runs[runs.line == line].family
    full = rows[rows.run.isin(full_depth(runs[runs.family.isin(family)]).run)]
    cut = rows[(rows.task == task) & (rows.line == line) & (rows.keep == keep)]
    both = cut.merge(full, on=["seed", "id"], suffixes=("", "_full"))
    both = both.assign(lost=both.right_full & ~both.right)
    items = both.groupby("id").agg(
        label=("label", "first"),
        tokens=("tokens", "first"),
        lost=("lost", "sum"),
        compared=("lost", "size"),
    )
    found = items[items.lost > 0].reset_index()
    return found.sort_values(["lost", "id"], ascending=[False, True], ignore_index=True)


def exchanged(study: Study) -> pd.DataFrame:
    """A row a cut: items that only full depth had right, only the cut, both, neither; all seeds."""
    rows = answers(study).merge(study.found.runs[["run", "family"]], on="run")
    full = rows[rows.run.isin(full_depth(study.found.runs).run)]
    full = full[["task", "family", "seed", "id", "right"]]
    both = rows[rows.keep < rows.depth].merge(
        full, on=["task", "family", "seed", "id"], suffixes=("", "_full")
    )
    counted = both.assign(
        only_full=both.right_full & ~both.right,
        only_cut=both.right & ~both.right_full,
        both=both.right & both.right_full,
        neither=~both.right & ~both.right_full,
    )
    names = ["only_full", "only_cut", "both", "neither"]
    return counted.groupby(["task", "line", "keep"])[names].sum().reset_index()
