"""What a whole run costs before it has learnt anything: slimcls train on 20 rows.

One side is the command, from the start of its process to its end: imports, settings, data, opening
2 layers of the packaged model, tokenising, a step of training, validation, testing, latency, saving
model and result; the rival at its end is left out, which costs what importing scikit-learn costs.
The other is a process that does nothing but import torch, transformers and
lightning. Both are timed from outside and run in turns, with their files in the page cache. The
command answers --help in a third row: that must import none of the three.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks import harness, workload
from benchmarks.harness import Row, Took
from slimcls import cli

RUN, HELP = "slimcls train, whole", "slimcls train --help"
IMPORTS = "import the libraries"
IMPORT = "import torch, transformers, lightning"
MODES = ("cls", "p-cls", "lm")
MOST = 1.6
ROWS = 20


def write_rows(path: Path) -> None:
    """Twenty distinct texts of two classes."""
    words = {"weather": ("rain", "frost"), "food": ("bread", "soup")}
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for place in range(ROWS):
            label = list(words)[place % 2]
            rows.writerow([f"some {words[label][place % 4 // 2]} on day {place}", label])


def timed(words: list[str]) -> Took:
    """Seconds of a Python process, which must end well."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=os.environ, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return Took(seconds)


def whole_run(mode: str, data: Path) -> Took:
    """Train in an empty folder; the model and the result must be there afterwards."""
    with workload.run_folder() as out:
        settings = {"dataset": data, "shots": "all", "model": "smollm2-135m", "keep": 2}
        more = {"mode": mode, "epochs": 1, "out": out, "accelerator": "cpu", "baseline": "false"}
        flags = [f"--{name}={value}" for name, value in (settings | more).items()]
        took = timed(["-m", "slimcls.train", *flags])
        written = {path.name for path in out.rglob("*") if path.is_file()}
    if not {"result.parquet", "model.safetensors", "predictions.parquet"} <= written:
        raise harness.Different(f"the run left {sorted(written)}")
    return took


def imports() -> Took:
    """What no run with these libraries can be quicker than."""
    return timed(["-c", IMPORT])


def row(name: str, side: str, times: dict[str, list[float]], most: float) -> Row:
    """A command beside the imports, which ran in the same rounds."""
    share = harness.ratio(times[name], times[IMPORTS], name="times the imports", at_most=most)
    return Row(name, {side: times[name], IMPORTS: times[IMPORTS]}, [share])


def main(argv: list[str] | None = None) -> int:
    """Measure every mode (small: p-cls alone), or those whose name fits ``--only``."""
    options = harness.parser("fixed_cost", __doc__).parse_args(argv)
    modes = ("p-cls",) if options.size == "small" else MODES
    repetitions = options.repetitions or (2 if options.size == "small" else 9)
    with workload.run_folder() as folder:
        data = folder / "twenty.csv"
        write_rows(data)
        sides: dict[str, Callable[[], Any]] = {
            f"a run on {ROWS} rows, {mode}": lambda mode=mode: whole_run(mode, data)
            for mode in modes
        }
        sides["--help"] = lambda: timed(["-m", "slimcls", "train", "--help"])
        sides = {name: side for name, side in sides.items() if fnmatchcase(name, options.only)}
        times = harness.alternate(sides | {IMPORTS: imports}, repetitions=repetitions).seconds
    rows = [
        row(name, HELP, times, 1) if name == "--help" else row(name, RUN, times, MOST)
        for name in sides
    ]
    harness.report("fixed_cost", rows, options, {"model": "smollm2-135m", "keep": 2, "epochs": 1})
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
