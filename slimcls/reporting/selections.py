"""Which layers: cuts by other rules against the first layers, at the same depth."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from slimcls.reporting import evidence
from slimcls.reporting.unequal_seeds import difference, seeds_of, unused
from slimcls.statistics import SeedItems

#: The rule that the others are compared with: what a model is cut by where nobody says how.
REFERENCE = "first"

COLUMNS = (
    "task", "family", "keep", "rule", "cut", "difference", "low", "high", "seed_sd", "seeds",
    "items", "caveat",
)  # fmt: skip


def against_first(
    runs: pd.DataFrame, items: Mapping[str, SeedItems]
) -> tuple[pd.DataFrame, list[str]]:
    """Paired differences of cuts that keep as many layers as a cut to the first ones, and others.

    Args:
        runs: sorted runs, as in :class:`slimcls.reporting.evidence.Evidence`.
        items: what each run got right, by the run's name.

    Returns:
        A row a task, family, depth and rule: ``difference`` is the rule's accuracy minus that of
        the first layers, over the seeds of either; ``low`` and ``high`` its 95 % interval, each
        comparison by itself. Empty where no depth was cut by the first layers and another rule.
        And what could not be compared, in sentences.
    """
    rows: list[dict[str, object]] = []
    faults: list[str] = []
    for (task, family), alike in evidence.families(runs):
        for (keep, rule, cut), cell, first in _pairs(alike):
            try:
                one = difference(_items(cell, items), _items(first, items))
            except ValueError as error:
                faults.append(f"{task}, {family}, keep {keep}, {rule} against first: {error}")
                continue
            said = f"{task}, {family}, keep {keep}, {rule} against first"
            faults += [f"{said}: {left}" for left in unused(one, cell, first)]
            values = (
                one.mean,
                one.low,
                one.high,
                one.seed_sd,
                seeds_of(one),
                one.items,
                one.caveat,
            )
            rows.append(dict(zip(COLUMNS, (task, family, keep, rule, cut, *values), strict=True)))
    return pd.DataFrame(rows, columns=list(COLUMNS)), faults


def _pairs(
    alike: pd.DataFrame,
) -> list[tuple[tuple[int, str, str], pd.DataFrame, pd.DataFrame]]:
    """Depth, rule and layers of each cut by another rule, its runs, and the first layers' runs."""
    cuts = alike[alike.keep < alike.depth]
    first = cuts[cuts.rule == REFERENCE]
    others = cuts[cuts.rule != REFERENCE].groupby(["keep", "rule", "cut"], sort=True)
    pairs = []
    for _, rows in others:
        keep = int(rows.keep.iloc[0])
        if (first.keep == keep).any():
            key = keep, str(rows.rule.iloc[0]), str(rows["cut"].iloc[0])
            pairs.append((key, rows, first[first.keep == keep]))
    return pairs


def _items(rows: pd.DataFrame, items: Mapping[str, SeedItems]) -> list[SeedItems]:
    return [items[run] for run in rows.run]
