"""Where a grid's cells are worked on: in this process, or by Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from slimcls.config import RunConfig
from slimcls.grids.attempts import Ended
from slimcls.grids.cells import Cell
from slimcls.grids.forecast import Forecast

#: A cell with what is known of it beforehand.
Job = tuple[Cell, Forecast]
#: Told the cell that work begins on.
Started = Callable[[Cell], None]
#: Told the cell whose process or machine was lost, and how; whether it is to be started again.
Again = Callable[[Cell, Ended], bool]


class Engine(Protocol):
    """Works on cells."""

    def forecast(self, runs: Sequence[RunConfig]) -> list[Forecast]:
        """What each run will take, as a machine that would work on it sees it."""

    def attempts(
        self, jobs: Sequence[Job], started: Started, again: Again, *, retry_failed: bool
    ) -> Iterator[tuple[Cell, Ended]]:
        """Try each cell, one that is lost ``again``; tell how each ended, in that order.

        A failure that another grid has recorded by then is how it ended, unless failed cells are to
        be tried again.

        Raises Interrupted or KeyboardInterrupt when asked to stop; what was begun can go on.
        """

    def close(self) -> None:
        """Let go of what the engine holds."""
