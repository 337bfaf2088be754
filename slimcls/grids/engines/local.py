"""Works on one cell after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slimcls.config import RunConfig
from slimcls.grids.attempts import Ended, Runner, attempt, shared
from slimcls.grids.cells import Cell
from slimcls.grids.engines import Again, Job, Started
from slimcls.grids.forecast import Forecast, forecast


class Local:
    """The engine of one machine."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def forecast(self, runs: Sequence[RunConfig]) -> list[Forecast]:
        """Here, with what later runs will use too."""
        return forecast(runs, shared())

    def attempts(
        self, jobs: Sequence[Job], started: Started, again: Again, *, retry_failed: bool
    ) -> Iterator[tuple[Cell, Ended]]:
        """In order; none is lost without this process."""
        for cell, known in jobs:
            started(cell)
            yield cell, attempt(known.run, self.runner, retry=retry_failed)

    def close(self) -> None:
        """Nothing is held."""
