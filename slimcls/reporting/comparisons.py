"""From sorted runs to claims: paired differences to full depth, baselines beaten, verdicts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from slimcls.reporting import evidence, selections
from slimcls.reporting.evidence import Evidence
from slimcls.reporting.unequal_seeds import difference, seeds_of, unused
from slimcls.reporting.verdicts import CHEAP, UNTUNED, ComparedCut, CutFamily, Verdict, judge
from slimcls.runs.schema import WITHOUT_MODEL
from slimcls.statistics import ENOUGH_SEEDS, Estimate, SeedItems, mean_accuracy

#: A family's cuts by one rule: (task, line).
LineKey = tuple[str, str]


@dataclass(frozen=True)
class Comparisons:
    """What the runs show, as tables; see the functions that make them for the columns.

    Beside each interval, ``caveat`` says what few seeds leave out of it; empty if nothing.
    """

    cells: pd.DataFrame
    differences: pd.DataFrame
    baselines: pd.DataFrame
    selections: pd.DataFrame
    missing: tuple[str, ...]


def compare_runs(
    found: Evidence, items: Mapping[str, SeedItems], margin: float = 0.02
) -> Comparisons:
    """Judge every cut against the full depth of its family, and both against the cheap baselines.

    Args:
        found: sorted runs and baselines.
        items: what each run got right, by the run's name.
        margin: the loss, as a share, that does not matter.
    """
    families: dict[LineKey, CutFamily] = {}
    cuts: dict[LineKey, dict[tuple[int, str], ComparedCut]] = {}
    lacking: list[str] = []
    absent: dict[str, dict[str, set[int]]] = {}
    for (task, _), rows in evidence.families(found.runs):
        full = evidence.full_depth(rows)
        rivals = rivals_of(rows, found.baselines)
        for line in dict.fromkeys(rows[rows.keep < rows.depth].line):
            key, here = (task, str(line)), rows[(rows.line == line) & (rows.keep < rows.depth)]
            if full.empty:
                continue
            judged, faults = _cuts(here, full, rivals, items)
            lacking += [f"{task}, {line}, {fault}" for fault in faults]
            if judged:
                cuts[key] = judged
                cheap = rivals[rivals.method.isin(CHEAP)]
                over = _over(_items(full, items), cheap, items)
                families[key] = CutFamily(list(judged.values()), over)
                for name, seeds in _absent(rivals, rows, found.runs.backbone.nunique()).items():
                    absent.setdefault(task, {}).setdefault(name, set()).update(seeds)
    verdicts = judge(families, margin) if families else {}
    against, faults = selections.against_first(found.runs, items)
    return Comparisons(
        _cells(found.runs, items),
        _differences(found.runs, cuts, verdicts),
        _baselines(found.baselines, items),
        against,
        (*found.missing, *lacking, *faults, *(_unmeasured(*one) for one in absent.items())),
    )


def _items(rows: pd.DataFrame, items: Mapping[str, SeedItems]) -> list[SeedItems]:
    return [items[run] for run in rows.run]


def rivals_of(rows: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """What of ``UNTUNED`` was measured on what these runs read.

    That is their items, their model if on any with as much of a text, and for a model's states
    texts or prompts as here.
    """
    alike = baselines.method.isin(UNTUNED)
    alike &= (baselines.method != "probe") | (_bare(baselines) == _bare(rows).iloc[0])
    for name in evidence.ITEMS:
        alike &= baselines[name] == rows[name].iloc[0]
    wordy = baselines.method.isin(WITHOUT_MODEL)
    read = baselines.backbone == rows.backbone.iloc[0]
    read &= evidence.text_lengths(baselines) == evidence.text_lengths(rows).iloc[0]
    return baselines[alike & (wordy | read)]


def _bare(rows: pd.DataFrame) -> pd.Series:
    """Whether bare texts go in."""
    return rows["mode"] == "cls"


def _no_deeper(rivals: pd.DataFrame, keep: int, seeds: Collection[int]) -> pd.DataFrame:
    """What a cut has to beat of the rivals.

    A probe only where none reads more layers than the cut keeps, and where a verdict has seeds
    enough.
    """
    probes = rivals[rivals.method == "probe"]
    enough = len(set(probes.seed) & set(seeds)) >= ENOUGH_SEEDS
    fair = enough and bool((probes.read_layers <= keep).all())
    return rivals if fair else rivals[rivals.method != "probe"]


#: Costs of a run that are averaged over seeds.
AVERAGED = ("train_seconds", "peak_memory_mb", "latency_ms")


def _absent(rivals: pd.DataFrame, rows: pd.DataFrame, models: int) -> dict[str, set[int]]:
    """The seeds of these runs that a cheap baseline lacks, by its name; those alone that do."""
    found = {}
    for method in CHEAP:
        lack = set(rows.seed) - set(rivals.seed[rivals.method == method])
        of_model = models > 1 and method not in WITHOUT_MODEL
        found[f"{method} of {rows.backbone.iloc[0]}" if of_model else method] = lack
    return {name: lack for name, lack in found.items() if lack}


def _unmeasured(task: str, absent: Mapping[str, set[int]]) -> str:
    """A line for what is missing: baselines with the same seeds together."""
    alike: dict[str, list[str]] = {}
    for name, seeds in absent.items():
        alike.setdefault(", ".join(map(str, sorted(seeds))), []).append(name)
    said = [f"{', '.join(names)} (seed {seeds})" for seeds, names in alike.items()]
    return f"{task}: baselines not measured on these items: {'; '.join(said)}"


def _over(
    mine: Sequence[SeedItems], rivals: pd.DataFrame, items: Mapping[str, SeedItems]
) -> dict[str, Estimate]:
    """The difference to each baseline that has seeds in common with these runs."""
    over = {}
    for method, rows in rivals.groupby("method", sort=True):
        theirs = _items(rows, items)
        if {one.seed for one in mine} & {one.seed for one in theirs}:
            over[str(method)] = difference(mine, theirs)
    return over


def _cuts(
    here: pd.DataFrame, full: pd.DataFrame, rivals: pd.DataFrame, items: Mapping[str, SeedItems]
) -> tuple[dict[tuple[int, str], ComparedCut], list[str]]:
    judged: dict[tuple[int, str], ComparedCut] = {}
    faults: list[str] = []
    for _, rows in here.groupby(["keep", "cut"], sort=True):
        keep, cut = int(rows.keep.iloc[0]), str(rows["cut"].iloc[0])
        mine = _items(rows, items)
        try:
            loss = difference(mine, _items(full, items))
        except ValueError as error:
            faults.append(f"keep {keep} ({cut}): no comparison, {error}")
            continue
        faults += [f"keep {keep} ({cut}): {said}" for said in unused(loss, rows, full)]
        beaten = _no_deeper(rivals, keep, {one.seed for one in mine})
        judged[keep, cut] = ComparedCut(keep, loss, _over(mine, beaten, items))
    return judged, faults


def _accuracy(cell: pd.DataFrame, items: Mapping[str, SeedItems]) -> dict[str, object]:
    """The mean over a cell's seeds, with its interval."""
    mean = mean_accuracy(_items(cell, items))
    return {
        "accuracy": cell.test_accuracy.mean(),
        "sd": cell.test_accuracy.std(ddof=1),
        "low": mean.low,
        "high": mean.high,
        "caveat": mean.caveat,
    }


def _cells(runs: pd.DataFrame, items: Mapping[str, SeedItems]) -> pd.DataFrame:
    """A row a cell: its mean accuracy with interval, its size, and its mean costs over seeds."""
    keys = ["task", "line", "family", "select", "keep", "cut", "depth", "mode"]
    rows = []
    for key, cell in runs.groupby(keys, sort=True):
        rows.append(
            dict(zip(keys, key, strict=True))
            | {
                "model": cell.model.iloc[0],
                "seeds": len(cell),
                "seed_list": ", ".join(map(str, sorted(cell.seed))),
                **_accuracy(cell, items),
                "macro_f1": cell.test_macro_f1.mean(),
                "params_kept": int(cell.params_kept.iloc[0]),
                "params_saved": cell.params_saved.iloc[0],
                "weights_mb": cell.params_kept.iloc[0] * 4 / 1e6,
                "threads": ", ".join(map(str, sorted(set(cell.threads)))),
            }
            | {name: cell[name].mean() for name in AVERAGED}
        )
    return pd.DataFrame(rows).sort_values(["task", "line", "keep"]).reset_index(drop=True)


def _differences(
    runs: pd.DataFrame,
    cuts: Mapping[LineKey, Mapping[tuple[int, str], ComparedCut]],
    verdicts: Mapping[LineKey, Sequence[Verdict]],
) -> pd.DataFrame:
    """A row a cut: its difference to full depth with interval, and its verdict with the reason."""
    rows: list[dict[str, object]] = []
    for (task, line), judged in cuts.items():
        by_keep = {one.keep: one for one in verdicts[task, line]}
        for (keep, cut), one in judged.items():
            verdict, loss = by_keep[keep], one.loss
            cell = runs[(runs.task == task) & (runs.line == line) & (runs.cut == cut)]
            rows.append(
                {
                    "task": task,
                    "line": line,
                    "keep": keep,
                    "cut": cut,
                    "params_saved": cell.params_saved.iloc[0],
                    "difference": loss.mean,
                    "low": loss.low,
                    "high": loss.high,
                    "caveat": loss.caveat,
                    "seed_sd": loss.seed_sd,
                    "seeds": seeds_of(loss),
                    "items": loss.items,
                    "p": verdict.p,
                    "verdict": verdict.word,
                    "reason": verdict.reason,
                    "smallest_margin": verdict.smallest_margin,
                    "smallest_detectable": verdict.smallest_detectable,
                    "limit": verdict.limit,
                }
            )
    columns = ["task", "line", "keep"]
    return pd.DataFrame(rows).sort_values(columns) if rows else pd.DataFrame(columns=columns)


def _baselines(baselines: pd.DataFrame, items: Mapping[str, SeedItems]) -> pd.DataFrame:
    """A row a baseline: mean accuracy with interval over seeds.

    ``mode`` tells apart what has one name: the family, or the model and items without a depth.
    """
    names = {"task": "task", "method": "baseline", "family": "mode", "keep": "keep", "cut": "cut"}
    rows = []
    # A cut that is not trained has the rule and the teacher of the one that it stands beside.
    for key, cell in baselines.groupby([*names, "select", "taught"], sort=True):
        *known, select, taught = key
        row = dict(zip(names.values(), known, strict=True))
        rule = "" if select == "first" else str(select)
        beside = (str(row["mode"]), rule, str(taught))
        rows.append(
            row
            | {
                "mode": ", ".join(filter(None, beside)),
                "seeds": ", ".join(map(str, sorted(cell.seed))),
                **_accuracy(cell, items),
            }
        )
    columns = [*names.values(), "seeds", "accuracy", "sd", "low", "high", "caveat"]
    return pd.DataFrame(rows, columns=columns)
