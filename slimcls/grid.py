"""Many runs from one YAML file: ``python -m slimcls.grid configs/grid/quick.yaml``."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from slimcls import cli
from slimcls.errors import UserError
from slimcls.grids import definition
from slimcls.runs import choices, plans
from slimcls.runs.folder import check_runs_folder
from slimcls.storage.paths import PathName

if TYPE_CHECKING:
    from slimcls.config import RunConfig
    from slimcls.grids.attempts import Ended
    from slimcls.grids.board import Board
    from slimcls.grids.cells import Cell, Grid
    from slimcls.grids.engines import Engine
    from slimcls.grids.ledger import Ledger
    from slimcls.session.shared import Shared

#: Seconds between two looks at cells that other processes work on.
PAUSE = 1.0


@dataclass(kw_only=True)
class GridConfig:
    """Many runs from one YAML file: what is done is not done again, any process may die."""

    config: PathName
    """The grid: a YAML file in which any setting of slimcls train may be a list (docs/grids.md)."""

    out: PathName | None = None
    """Folder that holds the run directories; the YAML's, or runs, if not given."""

    data_dir: PathName | None = None
    """Folder with NAME/SPLIT.parquet files; the YAML's, or SLIMCLS_DATA_DIR, if not given."""

    dry_run: bool = False
    """List the cells with what they will take, and start none."""

    engine: Literal["local", "ray"] = "local"
    """local works on one cell after the other in this process; ray on many, on any machines."""

    address: str = "local"
    """Ray: local starts one for this grid, auto joins the one that runs here, HOST:PORT or
    ray://HOST:PORT one elsewhere."""

    cpus: float = 1.0
    """Ray: processors for each cell, which computes with as many threads."""

    gpus: float = 0.0
    """Ray: GPUs for each cell; 0.5 lets two cells share one."""

    retries: int = 3
    """Ray: how often a cell is started again whose process or machine was lost."""

    retry_failed: bool = False
    """Work on cells again that failed at an earlier start."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)
        for name, least in (("cpus", 0.0), ("gpus", 0.0), ("retries", 0)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} {getattr(self, name)}: must be at least {least:g}")
        if self.engine == "local" and (self.address != "local" or self.gpus or self.cpus != 1):
            raise UserError("--address, --cpus and --gpus need --engine ray")


def main(argv: list[str] | None = None) -> int:
    """The command. Returns 1 where cells failed or are left, else 0."""
    config = cli.parse(
        GridConfig,
        sys.argv[1:] if argv is None else argv,
        prog="slimcls grid",
        positional=("config",),
        example="slimcls grid configs/grid/quick.yaml --dry-run",
    )
    grid = definition.read_grid(config.config, out=config.out, data_dir=config.data_dir)
    _check_folder(Path(grid.cells[0].run.out), will_write=not config.dry_run)
    print(f"planning {len(grid.cells)} combinations", file=sys.stderr)
    from slimcls.grids import telling

    with contextlib.ExitStack() as held:
        engine = held.enter_context(_opened(config))
        ledger = _planned(grid, engine)
        if config.dry_run:
            held.close()
            cli.say("\n".join(telling.plan_lines(ledger)))
        _check(ledger)
        _notes(ledger)
        if config.dry_run:
            return 0
        _keep_plan(ledger)
        try:
            _work_off(ledger, engine, config)
        finally:
            held.close()
            cli.say("\n".join(telling.ending_lines(ledger)))
    count = ledger.count()
    return 1 if count.failed or count.left else 0


def _planned(grid: Grid, engine: Engine) -> Ledger:
    from slimcls.grids.ledger import Ledger

    return Ledger(grid, engine.forecast([cell.run for cell in grid.cells]))


@contextlib.contextmanager
def _opened(config: GridConfig) -> Iterator[Engine]:
    """The engine that the settings ask for."""
    if config.engine == "local":
        from slimcls.grids.engines.local import Local

        engine: Engine = Local(run_cell)
    else:
        from slimcls.grids.engines.on_ray import OnRay

        engine = OnRay(run_cell, config.address, config.cpus, config.gpus)
    try:
        yield engine
    finally:
        engine.close()


def run_cell(run: RunConfig, shared: Shared) -> object:
    """The work of a cell: what ``slimcls train`` does."""
    from slimcls.train import train

    return train(run, shared)


def _work_off(ledger: Ledger, engine: Engine, config: GridConfig) -> None:
    """Work on all that is due until nothing can be done any more.

    Choices are made as their candidates end, so that each round may bring new cells.
    """
    from slimcls.grids.board import Board

    shown = Board(ledger)
    lost: Counter[Cell] = Counter()

    def again(cell: Cell, ended: Ended) -> bool:
        lost[cell] += 1
        if lost[cell] <= config.retries:
            shown.say(f"{cell.label}: lost ({ended.error}); started again")
        return lost[cell] <= config.retries

    retry_failed = config.retry_failed
    try:
        while todo := ledger.to_do(retry_failed=retry_failed):
            jobs = [(cell, ledger.forecast(cell)) for cell in todo]
            ends = engine.attempts(jobs, shown.started, again, retry_failed=retry_failed)
            retry_failed = False
            busy = _round(ledger, ends, shown)
            _keep_choices(ledger)
            if busy == len(todo):
                time.sleep(PAUSE)
    finally:
        shown.close()
        _keep_choices(ledger)


def _keep_plan(ledger: Ledger) -> None:
    """Keep which seeds are to be reported, before the first of them has run."""
    grid, planned = ledger.grid, []
    for cell in grid.reported:
        run, depth = cell.run, ledger.forecast(cell).depth
        planned.append(replace(run, keep="all", layers=None) if run.keep == depth else run)
    plans.keep_plan(Path(grid.cells[0].run.out), grid.name, plans.planned_seeds(planned))


def _keep_choices(ledger: Ledger) -> None:
    out = Path(ledger.grid.cells[0].run.out)
    if made := ledger.choices():
        choices.write_choices(out, ledger.grid.name, made)


def _round(ledger: Ledger, ends: Iterable[tuple[Cell, Ended]], shown: Board) -> int:
    """Take in how each attempt ended; how many cells were in another process's hands."""
    busy = 0
    for cell, ended in ends:
        if ended.status == "busy":
            busy += 1
            shown.waiting(cell)
            continue
        ledger.note(cell, ended)
        shown.ended(cell, ended)
    return busy


def _check_folder(out: Path, *, will_write: bool) -> None:
    """Refuse what is no folder, or one whose results are not read here. Raises UserError."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; give a folder")
    if will_write:
        check_runs_folder(out)
    from slimcls.runs.results import version_of
    from slimcls.runs.schema import RESULT, SCHEMA_VERSION

    for path in sorted(out.glob(f"*/{RESULT}")):
        if (version := version_of(path)) not in (None, SCHEMA_VERSION):
            raise UserError(
                f"--out {out}: {path.parent.name} has results of schema version {version}, "
                f"this slimcls writes {SCHEMA_VERSION}; give another folder"
            )


def _check(ledger: Ledger) -> None:
    """Name cells that can never run, before any is started. Raises UserError."""
    bad = [(c, p) for c in ledger.grid.cells if (p := ledger.forecast(c).problem)]
    bad = [(c, p) for c, p in bad if not ledger.result(c)]
    if not bad:
        return
    by_problem: dict[str, list[Cell]] = {}
    for cell, problem in bad:
        by_problem.setdefault(problem, []).append(cell)
    said = [
        f"{found[0].label}{f' and {len(found) - 1} more' if len(found) > 1 else ''}: {problem}"
        for problem, found in by_problem.items()
    ]
    raise UserError(f"{len(bad)} cells cannot run, none was started: {'; '.join(said)}")


def _notes(ledger: Ledger) -> None:
    """Say once what is not known yet."""
    for note in dict.fromkeys(ledger.forecast(c).note for c in ledger.grid.cells):
        if note:
            print(f"not known before it starts: {note}", file=sys.stderr)


if __name__ == "__main__":
    # As the module of its name: Ray's workers import what they are told to run.
    from slimcls import grid

    sys.exit(cli.run(grid.main))
