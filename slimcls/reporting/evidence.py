"""Finished runs, sorted into what can be compared: families, chosen settings, cells, baselines.

A *family* is one task, model and mode with everything else alike; its *cells* differ in which
layers were kept, and each has a run a seed. Where a cell was run with several optimiser settings,
the setting is chosen on validation data, before any test figure is looked at. Names are given so
that a task and a family's name stand for one family.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd

from slimcls.backbones.selectors import named_by_hand
from slimcls.config import CUT_SETTINGS
from slimcls.errors import UserError
from slimcls.kinds import MEAN_PROBE
from slimcls.reporting.verdicts import CHEAP, UNTUNED
from slimcls.roles import Role, settings_with, settings_without
from slimcls.runs.choices import Candidate, Choice, choose_best
from slimcls.runs.schema import WITHOUT_MODEL

#: Settings that a search may vary: of several in a cell the one best on validation is reported.
SEARCHED = settings_with(Role.SEARCHED)

#: What runs and baselines must share to have been measured on the same items.
_ITEMS = settings_with(Role.ITEMS, but=Role.NAME | Role.REPEAT | Role.OUTSIDE)
_DRAW = "draw_version"
ITEMS = ("task", *_ITEMS, _DRAW)

#: What two runs of a task, model and mode must share for their difference to be the cut's.
_OTHERWISE = Role.NAME | Role.REPEAT | Role.KIND | Role.CUT | Role.SEARCHED
SHARED = (*settings_without(_OTHERWISE | Role.NEUTRAL | Role.OUTSIDE), _DRAW)

#: How runs are computed, as the settings say or as auto finds.
ARITHMETIC = settings_with(Role.ARITHMETIC)

#: Which layers were kept.
CUT = ("select", "keep", "cut")

#: Runs alike in these differ in their seed, and in settings that change nothing that matters.
CELL = ("method", "task", "family", *CUT, "taught")

#: What is said where no run stands for anything.
NOTHING = "nothing to report: no fine-tuned run is finished there"

#: A row of a table, by column.
ChoiceRow = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """The runs of a folder that stand for something, a row a run.

    ``runs`` are fine-tuned cuts with the setting chosen for their cell; ``baselines`` the honest
    rivals; ``choices`` has a row a cell where several settings were tried; ``left_out`` says in
    sentences which runs stand for nothing, and why.
    """

    runs: pd.DataFrame
    baselines: pd.DataFrame
    choices: pd.DataFrame
    left_out: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """What a complete comparison lacks, in sentences."""
        return (*self.left_out, *_lacking(self.runs))


def gather(frame: pd.DataFrame, made: Sequence[Choice] = ()) -> Evidence:
    """Sort the rows of :func:`slimcls.runs.load`.

    ``made`` are the choices of the grids that wrote them; what those do not decide is chosen here,
    by mean validation accuracy. Raises UserError where no row is a fine-tuned run.
    """
    searched = dict.fromkeys((*SEARCHED, *(name for one in made for name in one.settings)))
    over = [name for name in searched if name in frame and name not in CUT_SETTINGS]
    # A comparison is about what training keeps; what frozen layers hold is in it as the probe.
    frozen = frame.method == MEAN_PROBE
    tested = frame[(frame.test_items > 0) & ~frozen].reset_index(drop=True)
    if tested.empty:
        raise UserError(NOTHING)
    untested = [
        f"{run}: left out, nothing was tested"
        for run in frame.run[(frame.test_items == 0) & ~frozen]
    ]
    if frozen.any():
        untested.append(f"frozen layers are not compared here: {frozen.sum()} runs left out")
    named = _named(tested, over)
    frame, left_out = _as_chosen(named, made, over)
    tuned = frame[frame.method == "fine-tuned"]
    if tuned.empty:
        raise UserError(NOTHING)
    runs, rows = _choose(tuned, over)
    # The same winner of a larger search of the same settings: that alone is told.
    told = {(one.run, *one.settings): one for one in sorted(made, key=_size)}
    for one in told.values():
        cell = runs[_taken(runs, named, one)]
        chose = set(one.seeds or named.seed[named.run == one.run])
        rows += [_choice(cell, one, chose)] if len(cell) else []
    baselines = frame[frame.method != "fine-tuned"]
    return Evidence(runs, baselines, _in_order(rows), (*untested, *left_out))


def _as_chosen(
    frame: pd.DataFrame, made: Sequence[Choice], searched: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The runs that grids' choices leave, and in sentences those that no grid tried.

    Of two choices for one cell the one with more candidates stands.
    """
    said: list[str] = []
    for choice in sorted(made, key=_size, reverse=True):
        if choice.run not in set(frame.run):
            continue
        best = frame[frame.run == choice.run].to_dict("records")[0]
        names = [name for name in choice.settings if name in searched]
        rest = [name for name in (*CELL, *searched) if name not in names]
        other = _alike(frame, best, rest) & ~_alike(frame, best, names)
        untried = set(frame.run[other]) - choice.rejected
        said += [f"{run}: left out, the grid chose {_said(choice)}" for run in sorted(untried)]
        frame = frame[~other & ~frame.run.isin(choice.rejected)]
    return frame, said


def _alike(frame: pd.DataFrame, one: dict[Hashable, Any], names: Sequence[str]) -> pd.Series:
    """Which rows have the values of this one in these columns; null is like null."""
    alike = pd.Series(True, index=frame.index)
    for name in names:
        same = frame[name].isna() if pd.isna(one[name]) else frame[name] == one[name]
        alike &= same.fillna(False).astype(bool)
    return alike


def _taken(runs: pd.DataFrame, named: pd.DataFrame, choice: Choice) -> pd.Series:
    """Which of the reported runs have the settings of a choice: its own, where it is reported."""
    best = named[named.run == choice.run].to_dict("records")
    if not choice.apart or not best:
        return runs.run == choice.run
    return _alike(runs, best[0], [*CELL, *(name for name in choice.settings if name in runs)])


def _size(choice: Choice) -> int:
    return len(choice.candidates)


def _said(choice: Choice) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in choice.settings.items())


def _in_order(rows: list[ChoiceRow]) -> pd.DataFrame:
    ordered = sorted(rows, key=lambda row: (row["task"], row["line"], row["keep"]))
    return pd.DataFrame(ordered)


def one_a_seed(found: Evidence, predicted: Collection[str]) -> Evidence:
    """What can be compared: of the runs in ``predicted`` the first of each cell and seed.

    Others of a cell and seed differ in nothing that is compared. Raises UserError where no
    fine-tuned run is left.
    """
    kept = [rows[rows.run.isin(predicted)] for rows in (found.runs, found.baselines)]
    if kept[0].empty:
        raise UserError("nothing to report: no fine-tuned run here has predictions of two items")
    keys = [*CELL, "seed"]
    twice = pd.concat([rows[rows.duplicated(keys)] for rows in kept])
    said = [f"{run}: left out, its cell has another run of its seed" for run in twice.run]
    runs, baselines = (rows.drop_duplicates(keys) for rows in kept)
    left_out = (*found.left_out, *said)
    return replace(found, runs=runs, baselines=baselines, left_out=left_out)


def families(runs: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Each family's runs under its (task, family), in the order of their names."""
    ordered = runs.sort_values(["task", "line", "keep", "seed"])
    for _, rows in ordered.groupby(["task", "family"], sort=False):
        yield (str(rows.task.iloc[0]), str(rows.family.iloc[0])), rows


def full_depth(runs: pd.DataFrame) -> pd.DataFrame:
    """The uncut runs among these, taught by labels alone."""
    return runs[(runs.keep == runs.depth) & (runs.taught == "")]


def _named(frame: pd.DataFrame, searched: Sequence[str]) -> pd.DataFrame:
    """With the columns that people read: task, backbone, family, rule, line and cut.

    ``searched`` are settings whose values are chosen for each cell: they make no family another.
    ``select`` of an uncut model is ``first``: whatever the rule, it has all layers.
    """
    frame = frame.copy()
    frame["task"] = _told_apart([Path(name).stem for name in frame.dataset], frame.data_fingerprint)
    names = [Path(name).name for name in frame.model]
    frame["backbone"] = _told_apart(names, frame.source_fingerprint)
    frame["select"] = frame["select"].where(frame.keep < frame.depth, "first")
    frame["scored_by"] = _scored_by(frame)
    frame["cut"] = _cuts(frame)
    frame["exits"] = [",".join(map(str, _listed(depths))) for depths in frame.exits]
    frame["family"] = _families(frame.assign(max_text_tokens=_lengths(frame)), searched)
    tuned = frame[frame.method == "fine-tuned"]
    frame["rule"] = _rules(frame)
    frame["line"] = frame["family"]
    cut = frame.loc[tuned.index][tuned.keep < tuned.depth]
    # Cuts to as many layers, which some were named by hand, are lines of their own.
    named = cut[cut["select"] == "first"].groupby(["task", "family", "keep"])["cut"].nunique()
    in_full = (named > 1).any() or (cut.scored_by != "").any()
    if cut["select"].nunique() > 1 or in_full:
        frame["line"] = frame["family"] + ", " + (frame["rule"] if in_full else frame["select"])
    # A taught cut is held against the full depth that the labels alone have taught.
    frame["line"] += (", " + frame.taught).where(frame.taught != "", "")
    return frame


def _told_apart(names: list[str], fingerprints: pd.Series) -> pd.Series:
    """The names, with the fingerprint's first digits where one name stands for several contents."""
    named = pd.Series(names, index=fingerprints.index)
    several = fingerprints.groupby(named).transform("nunique") > 1
    digits = fingerprints.str.rpartition(":")[2].str[:7]
    return named.mask(several, named + " (" + digits + ")")


def text_lengths(frame: pd.DataFrame) -> pd.Series:
    """How much of a text went in at most, asked for or not."""
    return frame.max_text_tokens.fillna(frame.usual_tokens)


def _lengths(frame: pd.DataFrame) -> pd.Series:
    """How much of a text went in at most; null where a task knows one length."""
    lengths = text_lengths(frame)
    alike = [frame.task, frame.backbone, frame.method.isin(CHEAP)]
    return lengths.where(lengths.groupby(alike).transform("nunique") > 1)


def _families(frame: pd.DataFrame, searched: Sequence[str]) -> list[str]:
    """Mode, model where there are several, and each setting that runs of a family must share.

    A setting is named where it differs. Baselines that train no layer have of the settings those
    that decide items, and a model and how much of a text it reads if they read one; of them a probe
    alone has a mode.
    """
    cheap, wordy = frame.method.isin(UNTUNED), frame.method.isin(WITHOUT_MODEL)
    words = [frame["mode"].mask(frame.method.isin(CHEAP), "")]
    if frame.backbone[~wordy].nunique() > 1:
        words.append(frame.backbone.mask(wordy, ""))
    tuned = frame[frame.method == "fine-tuned"]
    for name in (name for name in SHARED if name not in searched):
        # What auto takes for one task's texts and not for another's tells no two runs of one apart.
        by_task = tuned.groupby("task")[name].nunique(dropna=False)
        if name in ARITHMETIC and not (by_task > 1).any():
            continue
        if _differs(frame if name in (*ITEMS, "max_text_tokens") else tuned, name):
            values = frame[name].astype("string").fillna("")
            told = name in ITEMS or (~wordy if name == "max_text_tokens" else False)
            silent = (values == "") | (cheap & ~pd.Series(told, index=frame.index))
            words.append((name.replace("_", " ") + " " + values).mask(silent, ""))
    return [", ".join(filter(None, row)) for row in zip(*words, strict=True)]


def _differs(frame: pd.DataFrame, name: str) -> bool:
    """Whether a setting has several values; that a mode does without it is no difference."""
    within = frame.groupby("mode")[name].nunique(dropna=False)
    return bool(frame[name].nunique() > 1 or (within > 1).any())


def _rules(frame: pd.DataFrame) -> list[str]:
    """What chose the kept layers: the selector's name, or the layers that were named by hand."""
    columns = (frame[name] for name in ("select", "layers", "cut", "scored_by"))
    return [
        f"layers {cut}" if named_by_hand(select, layers) else f"{select} {scored}".strip()
        for select, layers, cut, scored in zip(*columns, strict=True)
    ]


def _scored_by(frame: pd.DataFrame) -> pd.Series:
    """Whose scores chose a cut's layers, where cuts by one rule differ in that; else empty.

    Those of each run's own texts, or of files. A file a seed is one source, as each seed's own
    texts are: only where a seed has several are they told apart.
    """
    groups = [frame[name] for name in ("task", "backbone", "mode", "select", "keep")]
    cut = (frame.scores_fingerprint != "") & (frame.keep < frame.depth)
    files = frame.scores_fingerprint.where(cut & frame.scores.notna())
    a_seed = files.groupby([*groups, frame.seed]).transform("nunique")
    several = a_seed.groupby(groups).transform("max") > 1
    digits = files.str.removeprefix("sha256:").str[:7]
    source = ("scores " + digits).where(several, "scores of a file")
    source = source.where(files.notna(), "own scores").where(cut, "")
    return source.where(source.groupby(groups).transform("nunique") > 1, "")


def _listed(value: object) -> list[int]:
    """A column of lists has arrays in it where it was read from a file, and null for none."""
    return [] if value is None else list(cast("Iterable[int]", value))


def _cuts(frame: pd.DataFrame) -> pd.Series:
    """The kept layers by name; a rule that keeps others for each seed stands for them all."""
    names = [_cut(*pair) for pair in zip(frame.layers, frame.depth, strict=True)]
    named = pd.Series(names, index=frame.index)
    rules = ["task", "backbone", "mode", "select", "keep", "scored_by"]
    changing = named.groupby([frame[name] for name in rules]).transform("nunique") > 1
    return named.mask(changing & (frame["select"] != "first"), frame["select"])


def _cut(layers: Sequence[int] | None, depth: int) -> str:
    """The kept layers as people read them: ``all``, ``0-3`` or ``0,2,5``."""
    ids = [] if layers is None else list(layers)
    if not ids or len(ids) == depth:
        return "all" if ids else ""
    if ids == list(range(ids[0], ids[0] + len(ids))):
        return str(ids[0]) if len(ids) == 1 else f"{ids[0]}-{ids[-1]}"
    return ",".join(map(str, ids))


def _choose(tuned: pd.DataFrame, searched: Sequence[str]) -> tuple[pd.DataFrame, list[ChoiceRow]]:
    """One setting a cell, by mean validation accuracy over the seeds that all its settings have."""
    chosen: list[pd.DataFrame] = []
    rows: list[ChoiceRow] = []
    for _, cell in tuned.groupby(list(CELL), sort=False):
        settings = {
            str(alike.run.iloc[0]): alike for _, alike in cell.groupby(list(searched), dropna=False)
        }
        varied = [name for name in searched if cell[name].nunique(dropna=False) > 1]
        common = set.intersection(*(set(alike.seed) for alike in settings.values()))
        candidates = [_candidate(run, alike, common, varied) for run, alike in settings.items()]
        choice = choose_best(candidates, "validation_accuracy")
        best = choice.run if choice else next(iter(settings))
        chosen.append(settings[best])
        if choice and len(settings) > 1:
            rows.append(_choice(cell, choice, common))
    return pd.concat(chosen), rows


def _candidate(run: str, alike: pd.DataFrame, common: set[int], varied: list[str]) -> Candidate:
    """A setting, by the name of one of its runs; without common seeds by all that it has."""
    seen = alike[alike.seed.isin(common)] if common else alike
    score = float(seen.validation_accuracy.mean())
    settings = {name: alike[name].tolist()[0] for name in varied}
    return Candidate(run, settings, None if math.isnan(score) else score)


def _choice(cell: pd.DataFrame, choice: Choice, common: set[int]) -> ChoiceRow:
    """What was tried in a cell, what was taken, and whether it lies at the edge of the search."""
    row = {name: cell[name].iloc[0] for name in ("task", "line", "keep", "cut")}
    for name, value in choice.settings.items():
        row[name] = value
        tried = {_short(v): v for one in choice.candidates for v in [one.settings[name]]}
        row[f"{name} tried"] = ", ".join(sorted(tried, key=lambda word: _order(tried[word])))
    return row | {
        "by": choice.by.replace("_", " "),
        "settings": len(choice.candidates),
        "compared on seeds": ", ".join(map(str, sorted(common))) or "different seeds",
        "at the edge": ", ".join(choice.edge),
    }


def _order(value: object) -> tuple[float, str]:
    """Numbers by their size, then words."""
    return (value, "") if isinstance(value, int | float) else (math.inf, str(value))


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _lacking(runs: pd.DataFrame) -> Iterator[str]:
    """What a complete comparison of these runs would need besides."""
    for (task, family), rows in families(runs):
        full = full_depth(rows)
        if full.empty:
            yield f"{task}, {family}: no run at full depth ({rows.depth.iloc[0]} layers)"
        seeds = set(rows.seed)
        for (line, keep, cut), cell in rows.groupby(["line", "keep", "cut"], sort=True):
            if lack := sorted(seeds - set(cell.seed)):
                named = ", ".join(map(str, lack))
                yield f"{task}, {line}, keep {keep} ({cut}): no run with seed {named}"
