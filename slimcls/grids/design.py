"""What a grid could show before any of it has run: the smallest loss that its design can tell."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slimcls.config import CUT_SETTINGS
from slimcls.grids.cells import NO_AXES, Group, alike
from slimcls.grids.ledger import Ledger

#: Of all verdicts of a report together, one-sided.
LEVEL = 0.05


@dataclass(frozen=True)
class Design:
    """What decides how small a loss of one task's and mode's cuts can be told from none."""

    task: str
    seeds: int
    """Of the cell that has fewest."""
    items: int
    """Test items."""
    at_most: bool
    """Whether there may be fewer."""


def design_lines(ledger: Ledger) -> list[str]:
    """The smallest loss that could be told with a chance of 80 %, and what is taken for it.

    A line for each number of seeds and test items; none where no cut stands beside another depth.
    """
    lines = [line for family in _families(ledger.groups) for line in _lines(ledger, family)]
    designs = [_design(ledger, line) for line in lines if len(line) > 1]
    if not designs:
        return []
    tasks: dict[tuple[int, int, bool], list[str]] = {}
    for one in designs:
        tasks.setdefault((one.seeds, one.items, one.at_most), []).append(one.task)
    level = LEVEL / len(designs)
    told = [_line(*design, names, level) for design, names in sorted(tasks.items())]
    return [*told, _taken(len(designs))]


def _families(groups: Iterable[Group]) -> list[list[Group]]:
    """Groups that differ in their cut alone: their runs are compared."""
    by_cell = {group.cells[0]: group for group in groups}
    over = {name for group in by_cell.values() for name in group.over}
    found = alike(list(by_cell), NO_AXES | CUT_SETTINGS | {"seed"} | over)
    return [[by_cell[cell] for cell in cells] for cells in found.values()]


def _lines(ledger: Ledger, family: list[Group]) -> list[list[Group]]:
    """The family's cuts by one rule each, with its full depth: a report judges each of them."""
    whole, rules = [], dict[str, list[Group]]()
    for group in family:
        run = group.cells[0].run
        depth = ledger.forecast(group.cells[0]).depth
        if run.keep == "all" or (depth and run.keep == depth):
            whole.append(group)
        else:
            # Lists of layers are rules of their own; the same rule by other scores is another.
            rule = repr((run.select, run.layers, run.scores))
            rules.setdefault(rule, []).append(group)
    return [[*whole, *cuts] for cuts in rules.values()]


def _design(ledger: Ledger, family: list[Group]) -> Design:
    known = [ledger.forecast(group.cells[0]) for group in family]
    run = family[0].cells[0].run
    items = [one.test_items for one in known if one.test_items]
    return Design(
        task=Path(run.dataset).stem,
        seeds=min(len({cell.run.seed for cell in group.cells}) for group in family),
        items=min(items, default=run.test_size),
        at_most=not items or not all(one.whole for one in known),
    )


def _line(seeds: int, items: int, at_most: bool, tasks: list[str], level: float) -> str:
    from slimcls.statistics import ENOUGH_SEEDS, smallest_detectable_loss

    most = "at most " if at_most else ""
    what = (
        f"design: {seeds} seed{'s' if seeds > 1 else ''}, {most}{items:,} test items "
        f"({', '.join(dict.fromkeys(tasks))})"
    )
    if items < 2:
        return f"{what}: a single test item has no interval"
    loss = smallest_detectable_loss(seeds, items, level=level)
    if math.isinf(loss):
        return f"{what}: no loss can be told from none; verdicts need {ENOUGH_SEEDS} seeds"
    return (
        f"{what}: the smallest loss that can be told from none, with a chance of 80 %, is "
        f"{100 * loss:.1f} points"
    )


def _taken(families: int) -> str:
    """What the figures above rest on, in words."""
    from slimcls.statistics import DISAGREEMENT, SEED_SD, SHARED

    share = f"; {families} modes, tasks and rules share the level of 5 %" if families > 1 else ""
    return (
        f"  taken: seeds differ by {100 * SEED_SD:.1f} points, cut and full depth disagree on "
        f"{DISAGREEMENT:.0%} of the items, {SHARED:.0%} of that with every seed{share}"
    )
