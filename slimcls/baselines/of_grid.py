"""Which rivals the finished runs of a grid have, each once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from slimcls.config import RunConfig
from slimcls.grids.cells import Grid
from slimcls.grids.forecast import forecast
from slimcls.grids.ledger import Ledger
from slimcls.session.shared import Shared


def finished_cuts(grid: Grid, shared: Shared) -> list[list[RunConfig]]:
    """The fine-tuned runs of each cut, mode and task that are done, a seed each.

    Where settings are searched, those with the chosen ones; none before they are chosen.
    """
    ledger = Ledger(grid, forecast([cell.run for cell in grid.cells], shared))
    cuts = []
    for group in ledger.groups:
        results = [(cell.run, ledger.result(cell)) for cell in ledger.chosen(group)]
        cuts.append([run for run, found in results if found and found.method == "fine-tuned"])
    return [runs for runs in cuts if runs]


def rivals_of(
    cuts: list[list[RunConfig]], settings: dict[str, tuple[str, ...]]
) -> list[tuple[str, RunConfig]]:
    """Methods with the run whose items and settings they take, the cheap ones first.

    ``settings`` names what decides the figures of a method, which stands there once for each of
    their values; random blocks, trained as long as a cut is, at the first seed of each.
    """
    found: dict[object, tuple[str, RunConfig]] = {}
    for method, run in _all(cuts):
        values = [getattr(run, name) for name in settings.get(method, ())] or [run]
        found.setdefault(repr((method, values)), (method, replace(run, save_model="none")))
    return sorted(found.values(), key=lambda rival: rival[0] == "random-blocks")


def _all(cuts: list[list[RunConfig]]) -> Iterator[tuple[str, RunConfig]]:
    for runs in cuts:
        for run in runs:
            yield from ((method, run) for method in ("majority", "tfidf", "embeddings"))
            # What it reads is the same in both modes that have prompts.
            yield "probe", replace(run, mode="p-cls", lm_loss=None) if run.uses_prompt else run
            if run.mode == "lm":
                yield "untrained", run
        yield "random-blocks", runs[0]
