"""A grid's YAML as a list of runs: axes, combinations left out, settings to choose."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from slimcls import cli
from slimcls.config import CUT_SETTINGS, RunConfig
from slimcls.errors import UserError
from slimcls.grids.cells import (
    NO_AXES,
    By,
    Cell,
    Combination,
    Grid,
    Group,
    Search,
    label,
)
from slimcls.roles import Role, settings_with
from slimcls.storage.yaml_files import read_yaml

#: Why a grid has no use for a setting.
_REASONS = {
    "overwrite": "a grid leaves finished runs alone; delete the run directories to start them anew",
    "baseline": "slimcls baseline --grid measures the rivals of all its cells, each once",
    "devices": "a cell is one process; start runs on several devices with slimcls train",
    "num_nodes": "a cell is one process; start runs on several machines with slimcls train",
    "strategy": "a cell is one process; start runs of several processes with slimcls train",
}
#: What a grid has no use for, and why.
REFUSED = {name: _REASONS[name] for name in settings_with(Role.ALONE)}
#: Keys of the YAML that are no settings.
EXCLUDE, CHOOSE, CELLS = "exclude", "choose", "cells"

#: Values by setting.
Axes = dict[str, list[Any]]

_DEFAULTS: Combination = {f.name: f.default for f in dataclasses.fields(RunConfig)}


def read_grid(path: str, **given: str | None) -> Grid:
    """The grid of a YAML file; ``given`` wins over its settings where it is not None.

    Nothing heavy is imported and no model or data is looked at.

    Raises:
        UserError: a setting that there is none of, a value of the wrong type, an axis without
            values, combinations that RunConfig refuses (named), or no combination at all.
    """
    content = read_yaml(path)
    try:
        return _grid(Path(path).stem, content, {k: v for k, v in given.items() if v is not None})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _grid(name: str, content: Combination, given: Combination) -> Grid:
    shared = {k: v for k, v in content.items() if k not in (EXCLUDE, CHOOSE, CELLS)} | given
    blocks = [_axes(shared | block) for block in _mappings(content, CELLS, [{}])]
    search = _search(content[CHOOSE]) if content.get(CHOOSE) is not None else None
    rules = [_rule(rule, search) for rule in _mappings(content, EXCLUDE, [])]
    varying = _varying(blocks)
    if search:
        _check_search(search, blocks)
    combinations = [c for block in blocks for c in _combinations(block, search)]
    kept = list(_left(combinations, rules))
    if not kept:
        raise UserError(
            f"an empty grid: exclude drops each of its {len(combinations)} combinations"
        )
    # Runs that stand in several blocks are one.
    runs = {repr(run): run for run in (_run(c, varying) for c in kept)}
    cells = (Cell(run, label(dataclasses.asdict(run), varying)) for run in runs.values())
    made = Grid(name, tuple(cells), search)
    if search:
        _check_candidates(search, made.groups())
    return made


def _mappings(content: Combination, key: str, default: list[Any]) -> list[Combination]:
    value = content.get(key)
    if value is None:
        return default
    if not isinstance(value, list) or not all(isinstance(v, dict) and v for v in value):
        raise UserError(f"{key}: must be a list of mappings, as in '- {{mode: cls, keep: 1}}'")
    if not value:
        raise UserError(f"{key}: is empty; leave it out")
    return value


def _axes(settings: Combination) -> Axes:
    """Every setting as a list of typed values."""
    axes = {}
    for key, value in settings.items():
        name = str(key).replace("-", "_")
        values = _values(name, value)
        if name in REFUSED:
            raise UserError(f"{name}: not in a grid: {REFUSED[name]}")
        if len(values) > 1 and name in NO_AXES:
            raise UserError(f"{name}: takes one value in a grid, it does not tell runs apart")
        axes[name] = values
    if "dataset" not in axes:
        raise UserError("dataset: is required")
    return axes


def _values(name: str, value: object) -> list[Any]:
    """The values of an axis, or of a scalar as an axis of one."""
    listed = value if isinstance(value, list) and _is_axis(name, value) else [value]
    if not listed:
        raise UserError(f"{name}: an axis without values; give some, or leave it out")
    values = [cli.typed(RunConfig, name, one) for one in listed]
    for place, one in enumerate(values):
        if one in values[:place]:
            raise UserError(f"{name}: {one} stands there twice")
    return values


def _is_axis(name: str, value: list[Any]) -> bool:
    """A list is an axis; for ``layers``, itself a list, a list of lists is."""
    return name != "layers" or any(isinstance(v, list) or v is None for v in value) or not value


def _varying(blocks: list[Axes]) -> tuple[str, ...]:
    """Settings with more than one value, within a block or between blocks."""
    names = dict.fromkeys(name for block in blocks for name in block)
    return tuple(
        name
        for name in names
        if len({repr(v) for block in blocks for v in block.get(name, [_DEFAULTS[name]])}) > 1
    )


def _search(content: object) -> Search:
    known = {f.name for f in dataclasses.fields(Search)}
    if not isinstance(content, dict) or "over" not in content:
        raise UserError("choose: must be a mapping, as in '{over: [lr], budget: 3}'")
    for key in content:
        if key not in known:
            raise UserError.unknown("key of choose", str(key), known)
    over, budget = content["over"], content.get("budget")
    over = [over] if isinstance(over, str) else over or []
    if not isinstance(over, list):
        raise UserError(f"choose: over: {over}: a list of settings, as in '[lr, epochs]'")
    over = tuple(str(name).replace("-", "_") for name in over)
    if len(set(over)) < len(over):
        raise UserError(f"choose: over: {', '.join(over)}: names a setting twice")
    by = content.get("by", "validation_accuracy")
    if by not in get_args(By):
        raise UserError.unknown("choose: by", str(by), get_args(By), "never by test data")
    if budget is not None and (not isinstance(budget, int) or budget < 2):
        raise UserError(f"choose: budget {budget}: a number of candidates, at least 2")
    if not over:
        raise UserError("choose: over: names no setting; as in 'over: [lr, epochs]'")
    return Search(over=over, by=by, budget=budget, at=_at(content.get("at")))


def _at(content: object) -> Combination | None:
    """One value for each of some settings of the cut."""
    if content is None:
        return None
    if not isinstance(content, dict) or not content or not set(content) <= CUT_SETTINGS:
        names = ", ".join(sorted(CUT_SETTINGS))
        raise UserError(f"choose: at: a mapping of {names}, as in '{{keep: 30}}'")
    return {name: cli.typed(RunConfig, name, value) for name, value in content.items()}


def _check_search(search: Search, blocks: list[Axes]) -> None:
    """Each searched setting is an axis of every block."""
    for name in search.over:
        if name == "seed":
            raise UserError("choose: over: seed: seeds are repeats, never chosen")
        if name not in _DEFAULTS:
            raise UserError.unknown("setting in choose", name, set.intersection(*map(set, blocks)))
        if any(name not in block for block in blocks):
            raise UserError(f"choose: over: {name}: needs a list of values, as in '{name}: [A, B]'")


def _check_candidates(search: Search, groups: Sequence[Group]) -> None:
    """Every group searches as much as the others, whatever blocks its candidates come from."""
    counts = {count for group in groups for count in _counts(group)}
    if len(counts) > 1:
        raise UserError(
            f"choose: cells search {' and '.join(map(str, sorted(counts)))} candidates: "
            "every group must have the same number, or budget must bring it down to one"
        )
    (count,) = counts
    if count == 1:
        raise UserError(f"choose: one candidate only: give {', '.join(search.over)} more values")
    if search.budget is not None and count > search.budget:
        raise UserError(
            f"choose: budget {search.budget}: several blocks of cells give one group {count} "
            "candidates; give them in one block"
        )
    for group in groups:
        guide = group.guide
        if guide and not all(group.of(guide.settings(cell)) for cell in guide.candidates):
            raise UserError(
                f"choose: at: {group.cells[0].label} has other {', '.join(search.over)} than "
                f"{guide.cells[0].label}, which chooses for it"
            )


def _counts(group: Group) -> list[int]:
    """Different searched settings of a group: over all seeds, and with each."""
    seeds = Counter(cell.run.seed for cell in group.cells)
    return [len({repr(group.settings(cell)) for cell in group.cells}), *seeds.values()]


def _candidates(block: Axes, search: Search) -> list[tuple[Any, ...]]:
    """The searched combinations of a block: all, or as many as the budget has, drawn once."""
    axes = [block[name] for name in search.over]
    everything = list(itertools.product(*axes))
    if search.budget is None or search.budget >= len(everything):
        return everything
    drawn = random.Random(0).sample(range(len(everything)), search.budget)
    return [everything[place] for place in sorted(drawn)]


def _combinations(block: Axes, search: Search | None) -> Iterator[Combination]:
    wanted = set(map(repr, _candidates(block, search))) if search else set()
    for values in itertools.product(*block.values()):
        combination = dict(zip(block, values, strict=True))
        if not search or repr(tuple(combination[name] for name in search.over)) in wanted:
            yield combination


def _rule(content: Combination, search: Search | None) -> Axes:
    rule = {str(k).replace("-", "_"): v for k, v in content.items()}
    for name in rule:
        if search and name in search.over:
            raise UserError(f"exclude: {name}: choose searches it, the same for every group")
    return {name: _values(name, value) for name, value in rule.items()}


def _left(combinations: Sequence[Combination], rules: list[Axes]) -> Iterator[Combination]:
    """The combinations that no rule drops. Raises UserError for a rule that drops none."""
    dropped = [0] * len(rules)
    for combination in combinations:
        hits = [place for place, rule in enumerate(rules) if _matches(rule, combination)]
        for place in hits:
            dropped[place] += 1
        if not hits:
            yield combination
    if 0 in dropped:
        rule = {k: v[0] if len(v) == 1 else v for k, v in rules[dropped.index(0)].items()}
        raise UserError(f"exclude: {rule} drops nothing; leave it out or mend it")


def _matches(rule: Axes, combination: Combination) -> bool:
    settings = _DEFAULTS | combination
    return all(settings[name] in values for name, values in rule.items())


def _run(combination: Combination, varying: tuple[str, ...]) -> RunConfig:
    try:
        return RunConfig(**combination, baseline=False)
    except UserError as error:
        named = label(_DEFAULTS | combination, varying)
        raise UserError(f"{named}: {error}; exclude it, or change it") from None
