"""What reading many finished runs takes: ``slimcls.runs.results.load`` beside pandas, file by file.

One tiny run is made and its result written again under other seeds, a directory each. One side is
``load`` of the folder (which also finds the files, checks their schema and drops copies), the other
``pandas.read_parquet`` of each file, put together. Both must give the same values.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import harness, workload
from benchmarks.fixed_cost import write_rows
from benchmarks.grid_overhead import SETTINGS
from benchmarks.harness import Row
from slimcls import cli

if TYPE_CHECKING:
    import pandas as pd

LOAD, PLAIN = "load()", "pandas.read_parquet, file by file"
FILES = {"small": 100, "full": 3000}


def make_runs(folder: Path, count: int) -> Path:
    """A folder of ``count`` run directories with a result each."""
    from slimcls.config import RunConfig
    from slimcls.runs.folder import write_result
    from slimcls.runs.schema import RunResult
    from slimcls.train import train

    data, out = folder / "twenty.csv", folder / "runs"
    write_rows(data)
    with contextlib.redirect_stderr(io.StringIO()):
        real = train(RunConfig(dataset=str(data), out=str(folder / "real"), **SETTINGS))
    for seed in range(count):
        place = out / f"{real.outcome.run}-{seed:05}"
        changed = {"run": place.name, "test_accuracy": seed / count}
        outcome = dataclasses.replace(real.outcome, **changed)
        write_result(RunResult(dataclasses.replace(real.config, seed=seed), outcome, place))
    return out


def file_by_file(out: Path) -> pd.DataFrame:
    """What anyone would write."""
    import pandas as pd

    files = sorted(out.glob("*/result.parquet"))
    return pd.concat([pd.read_parquet(path) for path in files], ignore_index=True)


def main(argv: list[str] | None = None) -> int:
    """Measure both sides."""
    options = harness.parser("loading", __doc__).parse_args(argv)
    count = FILES[options.size]
    from slimcls.runs.results import load

    with workload.run_folder() as folder:
        out = make_runs(folder, count)
        turns = harness.alternate(
            {LOAD: lambda: load(out), PLAIN: lambda: file_by_file(out)},
            repetitions=options.repetitions or 5,
            check=_the_same,
        )
    seconds = turns.seconds
    figures = [
        harness.ratio(seconds[PLAIN], seconds[LOAD], name="times faster"),
        harness.figure("ms a file", [1000 * one / count for one in seconds[LOAD]]),
    ]
    row = Row(f"{count:,} results", seconds, figures)
    harness.report("loading", [row], options, {"files": count} | SETTINGS)
    return 0


def _the_same(outcomes: dict[str, Any]) -> None:
    loaded, plain = outcomes[LOAD], outcomes[PLAIN]
    odd = set(plain.columns) ^ (set(loaded.columns) - {"folder"})
    odd |= {name for name in plain if _values(loaded, name) != _values(plain, name)}
    if odd:
        raise harness.Different(f"other values in {', '.join(sorted(odd))}")


def _values(frame: pd.DataFrame, name: str) -> list[Any]:
    """A column without the differences that are meant: how a null is held, a word in its place."""
    import pandas as pd

    from slimcls.runs.results import NULLS

    values = [list(v) if hasattr(v, "__len__") and name == "layers" else v for v in frame[name]]
    return [NULLS.get(name) if not isinstance(v, list) and pd.isna(v) else v for v in values]


if __name__ == "__main__":
    sys.exit(cli.run(main))
