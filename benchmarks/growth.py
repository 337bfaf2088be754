"""How cost grows: seconds and memory of one epoch against layers kept, shots and batch size.

Each point is slimcls' training path on the packaged model and trec, opened and trained in a process
of its own that has imported everything and trained a moment before. Seconds are those of the epoch,
opening and the files of best weights left out; memory is the growth of the process' peak, weights,
gradients, optimiser and activations together. One axis grows at a time: keep 2, 50 shots a class
and batches of 16 stand still. Nothing is compared, so that there is no floor; three figures show
it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks import harness, machine, workload
from benchmarks.harness import Row
from slimcls import cli

MODES = ("cls", "p-cls")
STANDING: dict[str, Any] = {"keep": 2, "shots": 50, "batch_size": 16}
AXES: dict[str, dict[str, tuple[int, ...]]] = {
    "small": {"keep": (1, 4)},
    "full": {
        "keep": (1, 2, 4, 8, 15, 30),
        "shots": (10, 25, 50, 100, 200),
        "batch_size": (1, 2, 4, 8, 16, 32, 64, 128),
    },
}
#: What an axis is called in rows and figures.
CALLED = {"keep": "layers kept", "shots": "shots per class", "batch_size": "batch size"}


def point(data_dir: str | None, settings: dict[str, Any]) -> tuple[float, float]:
    """Seconds and megabytes of one training; runs in a process of its own."""
    from benchmarks.sides import slimcls_side

    def load(**others: Any) -> workload.Workload:
        return workload.prepare(data_dir, **(settings | others))

    # The first training of a process pays for imports and engines.
    slimcls_side(load(keep=1, shots=2))
    wanted = load()
    with machine.Meter() as meter:
        took = slimcls_side(wanted)
    return took.seconds, meter.peak / 1e6


def measure(
    axis: str, mode: str, values: Sequence[int], standing: dict[str, Any], options: Any
) -> list[Row]:
    """A row for each value of an axis, the repetitions of all values in turns."""
    common = {"mode": mode, "epochs": 1, "precision": "32", "checkpoint_seconds": 1e9}

    def side(value: int) -> harness.Took:
        settings = common | standing | {axis: value}
        return harness.Took(*machine.apart(point, options.data_dir, settings))

    sides = {str(value): (lambda value=value: side(value)) for value in values}
    turns = harness.alternate(sides, repetitions=options.repetitions or 1, warm_up=0)
    rows = []
    for value in sides:
        memory = harness.figure("peak memory, MB", turns.outcomes[value])
        name = f"{mode}, {CALLED[axis]}: {value}"
        rows.append(Row(name, {"slimcls": turns.seconds[value]}, [memory]))
    return rows


def draw(results: Path, folder: Path) -> list[Path]:
    """The figures of a results file, an axis each: seconds on the left, memory on the right."""
    import matplotlib

    matplotlib.use("Agg")
    content = json.loads(results.read_text(encoding="utf-8"))
    paths = []
    for axis, called in CALLED.items():
        lines = {mode: _line(content["rows"], f"{mode}, {called}: ") for mode in MODES}
        if any(lines.values()):
            path = folder / f"growth-{axis.replace('_', '-')}.png"
            _figure(axis, lines, content["settings"]["standing"], path)
            paths.append(path)
    return paths


def _line(rows: list[dict[str, Any]], start: str) -> list[tuple[int, float, float]]:
    """Value, median seconds and median megabytes of the rows whose name begins like this."""
    return sorted(
        (
            int(row["name"].removeprefix(start)),
            harness.spread(row["sides"]["slimcls"]).median,
            row["figures"][0]["value"],
        )
        for row in rows
        if row["name"].startswith(start)
    )


def _figure(axis: str, lines: dict[str, Any], standing: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot as plt

    others = [f"{CALLED[name]} {value}" for name, value in standing.items() if name != axis]
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.3), layout="constrained")
    figure.suptitle(
        f"Cost of one epoch against {CALLED[axis]} (SmolLM2-135M, trec, {', '.join(others)})",
        fontsize=10,
    )
    looks = {"cls": ("o", "-", "black"), "p-cls": ("s", "--", "0.45")}
    for panel, place, label in zip(panels, (1, 2), ("seconds", "peak memory, MB"), strict=True):
        for mode, points in lines.items():
            marker, line, colour = looks[mode]
            x, y = [p[0] for p in points], [p[place] for p in points]
            panel.plot(x, y, marker=marker, linestyle=line, color=colour, label=mode)
        if axis == "batch_size":
            panel.set_xscale("log", base=2)
        ticks = sorted({p[0] for points in lines.values() for p in points})
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.set_xlabel(CALLED[axis])
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def main(argv: list[str] | None = None) -> int:
    """Measure, write the rows, draw."""
    options = harness.parser("growth", __doc__).parse_args(argv)
    standing = STANDING | ({"shots": 10} if options.size == "small" else {})
    rows: list[Row] = []
    for axis, values in AXES[options.size].items():
        for mode in MODES if options.size == "full" else MODES[:1]:
            fits = fnmatchcase(f"{mode}, {CALLED[axis]}", options.only)
            rows += measure(axis, mode, values, standing, options) if fits else []
    settings = {"model": "smollm2-135m", "dataset": "trec", "precision": "32", "epochs": 1}
    path = harness.report("growth", rows, options, settings | {"standing": standing})
    for picture in draw(path, options.out) if options.size == "full" else ():
        print(f"drawn: {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
