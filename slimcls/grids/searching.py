"""``choose`` of a grid's YAML: which settings are searched, by what, and with which seeds."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from slimcls import cli
from slimcls.config import CUT_SETTINGS, RunConfig
from slimcls.errors import UserError
from slimcls.grids.cells import Axes, By, Combination, Group, Search
from slimcls.roles import Role, settings_with

_FIELDS = {f.name: f.default for f in dataclasses.fields(RunConfig)}


def read_search(content: object) -> Search:
    """What stands under ``choose``. Raises UserError where that is no search."""
    known = {f.name for f in dataclasses.fields(Search)}
    if not isinstance(content, dict) or "over" not in content:
        raise UserError("choose: must be a mapping, as in '{over: [lr], budget: 3}'")
    for key in content:
        if key not in known:
            raise UserError.unknown("key of choose", str(key), known)
    by, budget = content.get("by", "validation_accuracy"), content.get("budget")
    if by not in get_args(By):
        raise UserError.unknown("choose: by", str(by), get_args(By), "never by test data")
    if budget is not None and (not isinstance(budget, int) or budget < 2):
        raise UserError(f"choose: budget {budget}: a number of candidates, at least 2")
    return Search(
        over=_over(content["over"]),
        by=by,
        budget=budget,
        at=_at(content.get("at")),
        seeds=_seeds(content["seeds"]) if content.get("seeds") is not None else (),
    )


def _over(content: object) -> tuple[str, ...]:
    listed = [content] if isinstance(content, str) else content or []
    if not isinstance(listed, list):
        raise UserError(f"choose: over: {content}: a list of settings, as in '[lr, epochs]'")
    over = tuple(str(name).replace("-", "_") for name in listed)
    if not over:
        raise UserError("choose: over: names no setting; as in 'over: [lr, epochs]'")
    if len(set(over)) < len(over):
        raise UserError(f"choose: over: {', '.join(over)}: names a setting twice")
    return over


def _at(content: object) -> Combination | None:
    """One value for each of some settings of the cut."""
    if content is None:
        return None
    if not isinstance(content, dict) or not content or not set(content) <= CUT_SETTINGS:
        names = ", ".join(sorted(CUT_SETTINGS))
        raise UserError(f"choose: at: a mapping of {names}, as in '{{keep: 30}}'")
    return {name: cli.typed(RunConfig, name, value) for name, value in content.items()}


def _seeds(content: object) -> tuple[int, ...]:
    listed = content if isinstance(content, list) else [content]
    numbers = [one for one in listed if isinstance(one, int) and not isinstance(one, bool)]
    if not numbers or len(numbers) < len(listed) or len(set(numbers)) < len(numbers):
        raise UserError(f"choose: seeds: {content}: whole numbers, each once, as in '[7, 8]'")
    return tuple(numbers)


def check_search(search: Search, blocks: Sequence[Axes]) -> None:
    """Each searched setting is an axis of every block, and what chooses is not reported."""
    for name in search.over:
        if name == "seed":
            raise UserError("choose: over: seed: seeds are repeats, never chosen")
        if name in settings_with(Role.ITEMS):
            raise UserError(
                f"choose: over: {name}: decides which texts a run has, and runs are compared on "
                "the same ones"
            )
        if name not in _FIELDS:
            raise UserError.unknown("setting in choose", name, set.intersection(*map(set, blocks)))
        if any(name not in block for block in blocks):
            raise UserError(f"choose: over: {name}: needs a list of values, as in '{name}: [A, B]'")
    reported = {seed for block in blocks for seed in block.get("seed", [_FIELDS["seed"]])}
    for seed in search.seeds:
        if seed in reported:
            raise UserError(
                f"choose: seeds: {seed}: is a seed of the runs that are reported; give others, "
                "which serve the choice alone"
            )


def check_candidates(search: Search, groups: Sequence[Group]) -> None:
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
    cells = [*group.cells, *group.trials]
    seeds = Counter(cell.run.seed for cell in cells)
    return [len({repr(group.settings(cell)) for cell in cells}), *seeds.values()]


def candidates_of(block: Axes, search: Search) -> list[tuple[Any, ...]]:
    """The searched combinations of a block: all, or as many as the budget has, drawn once."""
    axes = [block[name] for name in search.over]
    everything = list(itertools.product(*axes))
    if search.budget is None or search.budget >= len(everything):
        return everything
    drawn = random.Random(0).sample(range(len(everything)), search.budget)
    return [everything[place] for place in sorted(drawn)]
