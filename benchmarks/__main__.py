"""Every benchmark after the other: ``python -m benchmarks [--size full]``.

One that lacks something here, such as its data, is told in a line, and the others go on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
ERROR = "slimcls: error: "
#: Exit code of a benchmark that lacks something; any other but 0 is a failure.
LACKS = 2


def benchmarks(folder: Path = FOLDER) -> list[str]:
    """The files that report something; the others there are what these share."""
    files = sorted(folder.glob("[!_]*.py"))
    return [path.stem for path in files if "harness.report(" in path.read_text(encoding="utf-8")]


def measured(command: Sequence[str]) -> tuple[int, str]:
    """Run a benchmark: its exit code, and why it ended where it said so.

    What it prints is passed on.
    """
    why = ""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(ERROR):
                why = line.removeprefix(ERROR).strip()
            else:
                print(line, end="", file=sys.stderr, flush=True)
    return process.returncode, why


def main(names: Sequence[str], words: Sequence[str]) -> int:
    """Run the benchmarks and count; returns 1 where one failed for other reasons than a lack."""
    skipped, failed = [], []
    for name in names:
        print(f"== {name}", flush=True)
        code, why = measured([sys.executable, "-m", f"benchmarks.{name}", *words])
        if code == LACKS:
            skipped.append(name)
            print(f"skipped: {name}: {why}", flush=True)
        elif code:
            failed.append(name)
            print(f"failed: {name}: exit code {code}{why and f', {why}'}", flush=True)
    counts = [f"{len(names) - len(skipped) - len(failed)} of {len(names)} benchmarks done"]
    counts += [f"{len(skipped)} skipped: {', '.join(skipped)}"] if skipped else []
    counts += [f"{len(failed)} failed: {', '.join(failed)}"] if failed else []
    print("; ".join(counts))
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    sys.exit(main(benchmarks(), ["--size", parser.parse_args().size]))
