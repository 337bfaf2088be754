"""A grid's YAML as a list of runs: axes, combinations left out, settings to choose."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from slimcls import cli
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.grids.cells import NO_AXES, Axes, Cell, Combination, Grid, Search, label
from slimcls.grids.searching import candidates_of, check_candidates, check_search, read_search
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

_DEFAULTS: Combination = {f.name: f.default for f in dataclasses.fields(RunConfig)}
#: Settings whose value is a list.
_LISTS = frozenset(f.name for f in dataclasses.fields(RunConfig) if "list[" in str(f.type))


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
    search = read_search(content[CHOOSE]) if content.get(CHOOSE) is not None else None
    rules = [_rule(rule, search) for rule in _mappings(content, EXCLUDE, [])]
    if search:
        check_search(search, blocks)
    combinations = [c for block in blocks for c in _combinations(block, search)]
    kept = list(_left(combinations, rules))
    if not kept:
        raise UserError(
            f"an empty grid: exclude drops each of its {len(combinations)} combinations"
        )
    made = Grid(name, tuple(_cells(kept, _varying(blocks), search)), search)
    if search:
        check_candidates(search, made.groups())
    return made


def _cells(
    combinations: Sequence[Combination], varying: tuple[str, ...], search: Search | None
) -> Iterator[Cell]:
    """A cell a run: runs that stand in several blocks are one."""
    runs = {repr(run): run for run in (_run(c, varying) for c in combinations)}
    for run in runs.values():
        # Who takes what others have chosen needs no seeds to choose on.
        if search is None or run.seed not in search.seeds or search.is_made_by(run):
            yield Cell(run, label(dataclasses.asdict(run), varying))


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
    """A list is an axis; for ``layers`` and ``exits``, lists themselves, a list of lists is."""
    return name not in _LISTS or any(isinstance(v, list) or v is None for v in value) or not value


def _varying(blocks: list[Axes]) -> tuple[str, ...]:
    """Settings with more than one value, within a block or between blocks."""
    names = dict.fromkeys(name for block in blocks for name in block)
    return tuple(
        name
        for name in names
        if len({repr(v) for block in blocks for v in block.get(name, [_DEFAULTS[name]])}) > 1
    )


def _combinations(block: Axes, search: Search | None) -> Iterator[Combination]:
    """Those of a block that are run, with the seeds that choose alone first."""
    wanted = set(map(repr, candidates_of(block, search))) if search else set()
    apart = [block | {"seed": list(search.seeds)}] if search and search.seeds else []
    for axes in (*apart, block):
        for values in itertools.product(*axes.values()):
            combination = dict(zip(axes, values, strict=True))
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
