"""What a grid costs beyond its runs: cells whose runs are empty, beside the same runs in a loop.

An empty run resolves its settings and writes a finished result row, without training. One side is
``slimcls grid`` over such cells (reading the YAML, planning, locks, records, lines, the table), the
other calls the same run in a loop; both must leave the same results. The third is the same grid
started again, with nothing left to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks import harness, workload
from benchmarks.fixed_cost import write_rows
from benchmarks.harness import Row, Took
from slimcls import cli

GRID, LOOP, AGAIN = "slimcls grid", "a loop", "slimcls grid, all done"
CELLS = {"small": 20, "full": 500}
SETTINGS = {
    "model": "tiny-gpt2", "mode": "cls", "shots": "all", "epochs": 1, "save_model": "none",
}  # fmt: skip


def empty_run(data: Path, folder: Path) -> Callable[[Any, Any], Any]:
    """A runner that writes what a real run found, under the settings that it is given."""
    from slimcls.config import RunConfig
    from slimcls.runs.folder import write_result
    from slimcls.runs.schema import RunResult
    from slimcls.session.place import find_place
    from slimcls.train import train

    with contextlib.redirect_stderr(io.StringIO()):
        real = train(RunConfig(dataset=str(data), out=str(folder / "real"), **SETTINGS))

    def run(config: Any, shared: Any) -> None:
        place = find_place(config, shared)
        place.folder.mkdir(parents=True, exist_ok=True)
        outcome = dataclasses.replace(real.outcome, run=place.folder.name)
        write_result(RunResult(place.config, outcome, place.folder))

    return run


def timed(work: Callable[[], Any], out: Path) -> Took:
    """Seconds of ``work``, which leaves run directories in ``out``; their names."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
    return Took(seconds, sorted(path.parent.name for path in out.glob("*/result.parquet")))


def sides(folder: Path, count: int) -> dict[str, Callable[[], Took]]:
    """The three sides over ``count`` cells that differ in their seed."""
    from slimcls import grid
    from slimcls.grids import attempts, definition
    from slimcls.session.shared import Shared

    data, path, out = folder / "twenty.csv", folder / "g.yaml", folder / "out"
    write_rows(data)
    axes = SETTINGS | {"dataset": str(data), "seed": list(range(count)), "out": str(out)}
    path.write_text(yaml.safe_dump(axes, sort_keys=False), encoding="utf-8")
    run = empty_run(data, folder)
    grid.run_cell = run

    def in_grid() -> None:
        attempts.shared.cache_clear()
        if grid.main(["--config", str(path)]):
            raise RuntimeError("the grid did not end well")

    def in_loop() -> None:
        shared = Shared()
        for cell in definition.read_grid(str(path)).cells:
            run(cell.run, shared)

    def from_nothing(work: Callable[[], None]) -> Took:
        shutil.rmtree(out, ignore_errors=True)
        return timed(work, out)

    return {
        GRID: lambda: from_nothing(in_grid),
        AGAIN: lambda: timed(in_grid, out),
        LOOP: lambda: from_nothing(in_loop),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure the three sides."""
    options = harness.parser("grid_overhead", __doc__).parse_args(argv)
    count = CELLS[options.size]
    with workload.run_folder() as folder:
        turns = harness.alternate(
            sides(folder, count), repetitions=options.repetitions or 5, check=_the_same
        )
    more = [a - b for a, b in zip(turns.seconds[GRID], turns.seconds[LOOP], strict=True)]
    figures = [
        harness.figure("ms a cell beyond its run", [1000 * s / count for s in more]),
        harness.figure("ms a cell that is done", [1000 * s / count for s in turns.seconds[AGAIN]]),
    ]
    row = Row(f"{count} empty cells", turns.seconds, figures)
    harness.report("grid_overhead", [row], options, {"cells": count} | SETTINGS)
    return 0


def _the_same(outcomes: dict[str, Any]) -> None:
    if len({repr(names) for names in outcomes.values()}) > 1:
        raise harness.Different("the sides left other runs")


if __name__ == "__main__":
    sys.exit(cli.run(main))
