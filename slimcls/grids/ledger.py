"""Where a grid stands: what is done, failed and left, read from the run directories alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median

from slimcls.grids import attempts
from slimcls.grids.attempts import Ended, Failure
from slimcls.grids.cells import Cell, Grid, Group
from slimcls.grids.forecast import Forecast
from slimcls.grids.timing import Times, Took
from slimcls.runs import choices
from slimcls.runs.choices import Candidate, Choice
from slimcls.runs.results import read_result
from slimcls.runs.schema import RunResult


@dataclass(frozen=True)
class Count:
    """Cells by where they stand."""

    done: int
    failed: int
    left: int

    @property
    def total(self) -> int:
        """All cells of the grid: candidates at one seed, chosen settings at every seed."""
        return self.done + self.failed + self.left


@dataclass(frozen=True)
class TimeLeft:
    """How long it will take to do what is left."""

    seconds: float
    unknown: int
    """Cells of which nothing finished tells."""
    estimated: bool
    """Whether some of it follows from cells of other depths."""


class Ledger:
    """A grid's cells with what is known of each; the files are the only list that is kept."""

    def __init__(self, grid: Grid, forecasts: Sequence[Forecast]) -> None:
        self.grid = grid
        self.groups = grid.groups()
        self._forecasts = dict(zip(grid.cells, forecasts, strict=True))
        searched = [group for group in self.groups if group.searches]
        self._candidates = {cell for group in searched for cell in group.candidates}
        self._results: dict[Path, RunResult] = {}
        self._failures: dict[Cell, Failure] = {}

    def forecast(self, cell: Cell) -> Forecast:
        """What is known of a cell beforehand."""
        return self._forecasts[cell]

    def result(self, cell: Cell) -> RunResult | None:
        """The cell's result if it is done. Raises UserError for a result file that is broken."""
        folder = self._forecasts[cell].folder
        if folder is None:
            return None
        if folder not in self._results and (found := read_result(folder)):
            self._results[folder] = found
        return self._results.get(folder)

    def failure(self, cell: Cell) -> Failure | None:
        """Why the cell failed, if it did and was not done since.

        A candidate that diverged has not failed: that it does not work is what the search found.
        """
        failure = self._failure(cell)
        return None if failure and failure.diverged and cell in self._candidates else failure

    def diverged(self, cell: Cell) -> bool:
        """Whether the cell is a candidate whose settings do not work."""
        failure = self._failure(cell)
        return bool(failure and failure.diverged and cell in self._candidates)

    def _failure(self, cell: Cell) -> Failure | None:
        if self.result(cell):
            return None
        folder = self._forecasts[cell].folder
        recorded = attempts.failure(folder) if folder else None
        return recorded or self._failures.get(cell)

    def note(self, cell: Cell, ended: Ended) -> None:
        """Keep how an attempt ended; record it where whoever made it could not."""
        self._failures.pop(cell, None)
        if ended.folder and self._forecasts[cell].folder is None:
            known = replace(self._forecasts[cell], folder=ended.folder)
            self._forecasts[cell] = known
        folder = self._forecasts[cell].folder
        if ended.status in ("failed", "lost"):
            self._failures[cell] = Failure(ended.error, ended.diverged)
        if ended.status == "lost" and folder:
            attempts.record(folder, self._failures[cell])
        if ended.status == "done" and not self.result(cell):
            self._failures[cell] = Failure("it ended without a result; was its directory removed?")

    def choice(self, group: Group) -> Choice | None:
        """The settings chosen for a group, once every candidate is done or has diverged."""
        search, group = self.grid.search, group.guide or group
        if search is None or not group.searches:
            return None
        candidates = [self._candidate(group, cells, search.by) for cells in group.tried()]
        known = [candidate for candidate in candidates if candidate]
        if len(known) < len(candidates):
            return None
        seeds = tuple(dict.fromkeys(cell.run.seed for cell in group.candidates))
        return choices.choose_best(known, search.by, seeds, apart=bool(group.trials))

    def _candidate(self, group: Group, cells: Sequence[Cell], by: str) -> Candidate | None:
        """The searched settings of cells, a seed each; None until every one is done or diverged."""
        folders, scores = [], []
        for cell in cells:
            result, folder = self.result(cell), self._forecasts[cell].folder
            if folder is None or not (result or self.diverged(cell)):
                return None
            folders.append(folder.name)
            scores += [float(getattr(result, by))] if result else []
        score = mean(scores) if len(scores) == len(cells) else None
        return Candidate(folders[0], group.settings(cells[0]), score, tuple(folders[1:]))

    def choices(self) -> list[Choice]:
        """All choices made so far."""
        searching = [group for group in self.groups if group.guide is None]
        return [choice for group in searching if (choice := self.choice(group))]

    def chosen(self, group: Group) -> tuple[Cell, ...]:
        """The cells that stand for a group, every seed; none before the choice."""
        if not (group.guide or group).searches:
            return group.cells
        choice = self.choice(group)
        return group.of(choice.settings) if choice else ()

    def due(self) -> list[Cell]:
        """The grid's cells as far as choices are made, each run directory once."""
        wanted: set[Cell] = set()
        for group in self.groups:
            wanted.update(self.chosen(group), group.candidates if group.searches else ())
        found: dict[object, Cell] = {}
        for cell in self.grid.cells:
            if cell in wanted:
                found.setdefault(self._forecasts[cell].folder or cell, cell)
        return list(found.values())

    def waiting(self) -> Iterator[tuple[Group, int]]:
        """Groups whose choice is still to come, with how many cells will follow it."""
        for group in self.groups:
            if not self.chosen(group):
                one = group.of(group.settings(group.cells[0]))
                # The best candidate is one of them, and due already, if its seed is reported.
                yield group, len(one) - (group.searches and not group.trials)

    def hopeless(self, group: Group) -> bool:
        """Whether no candidate of a group's search came to numbers, so that none is ever chosen."""
        candidates = (group.guide or group).candidates
        return len(candidates) > 1 and all(map(self.diverged, candidates))

    def to_do(self, *, retry_failed: bool = False) -> list[Cell]:
        """What can be worked on now; what diverged would do so again."""
        return [
            cell
            for cell in self.due()
            if not self.result(cell) and not self.diverged(cell)
            if retry_failed or not self.failure(cell)
        ]

    def count(self) -> Count:
        """Cells by where they stand; those behind a choice count as left."""
        due = self.due()
        done = sum(bool(self.result(cell)) or self.diverged(cell) for cell in due)
        failed = sum(self.failure(cell) is not None for cell in due)
        later = sum(cells for _, cells in self.waiting())
        return Count(done, failed, len(due) - done - failed + later)

    def times(self) -> dict[Cell, Took | None]:
        """What cells take, by those that are done; None: nothing tells."""
        for cell in self.grid.cells:
            self.result(cell)
        times = Times(self._results.values())
        return {cell: times.of(forecast.cost) for cell, forecast in self._forecasts.items()}

    def time_left(self) -> TimeLeft:
        """The time of what is left, as far as finished cells tell."""
        known = self.times()
        each = [known[cell] for cell in self.to_do(retry_failed=True)]
        for group, cells in self.waiting():
            if not self.hopeless(group):
                each += [_typical(known[cell] for cell in group.candidates or group.cells)] * cells
        told = [took for took in each if took]
        return TimeLeft(
            sum(took.seconds for took in told),
            unknown=len(each) - len(told),
            estimated=any(took.estimated for took in told),
        )


def _typical(some: Iterable[Took | None]) -> Took | None:
    """What one of several cells takes that differ in what is searched."""
    told = [took for took in some if took]
    if not told:
        return None
    seconds = median(took.seconds for took in told)
    return Took(seconds, any(took.estimated for took in told))
