"""What every benchmark needs: turns, equality, medians with their spread, a table, a JSON file.

A benchmark is a file with ``main(argv) -> int``. It makes its sides (functions without arguments),
lets :func:`alternate` run them in turns, compares what they computed with :func:`agree`, and gives
a list of :class:`Row` to :func:`report`. Run it as ``python -m benchmarks.NAME --size small``.
Nothing heavy is imported here: ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SIZES = ("small", "full")


class Different(AssertionError):
    """The sides of a benchmark did not compute the same: its times mean nothing."""


@dataclass(frozen=True)
class Took:
    """What a side returns that keeps its own clock, so that its preparation does not count."""

    seconds: float
    outcome: Any = None


@dataclass
class Turns:
    """What came of running sides in turns, by side: seconds and outcomes of each repetition."""

    seconds: dict[str, list[float]]
    outcomes: dict[str, list[Any]]


def alternate(
    sides: Mapping[str, Callable[[], Any]],
    *,
    repetitions: int,
    warm_up: int = 1,
    check: Callable[[dict[str, Any]], None] | None = None,
) -> Turns:
    """Run the sides one after the other, all of them ``repetitions`` times.

    Every second round runs backwards, so that no side always follows the same one.

    Args:
        sides: What to time, by name; a side that returns :class:`Took` keeps its own clock.
        repetitions: Timed rounds.
        warm_up: Rounds before them that are not timed.
        check: Gets the outcomes of every round by side, warm-up included; raises
            :class:`Different` where they are not equal.
    """
    turns = Turns({name: [] for name in sides}, {name: [] for name in sides})
    for turn in range(warm_up + repetitions):
        order = list(sides) if turn % 2 == 0 else list(sides)[::-1]
        took = {name: _timed(sides[name]) for name in order}
        if check:
            check({name: took[name].outcome for name in sides})
        if turn < warm_up:
            continue
        for name in sides:
            turns.seconds[name].append(took[name].seconds)
            turns.outcomes[name].append(took[name].outcome)
    return turns


def _timed(side: Callable[[], Any]) -> Took:
    started = time.perf_counter()
    outcome = side()
    seconds = time.perf_counter() - started
    return outcome if isinstance(outcome, Took) else Took(seconds, outcome)


def agree(what: str, values: Mapping[str, Any], within: float) -> None:
    """Raise :class:`Different` where a side's numbers are further than ``within`` from the first's.

    ``values`` are numbers, sequences or tensors of numbers, by side; not-a-number never agrees.
    """
    import numpy as np

    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    (first, wanted), *others = arrays.items()
    for name, found in others:
        if found.shape != wanted.shape:
            raise Different(f"{what}: {first} has shape {wanted.shape}, {name} {found.shape}")
        apart = float(np.abs(found - wanted).max(initial=0.0))
        if not apart <= within:
            raise Different(f"{what}: {first} and {name} differ by {apart:.3g}, at most {within:g}")


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of measurements; of one measurement, itself three times."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


@dataclass(frozen=True)
class Figure:
    """A number that a claim stands on, with the quartiles of its repetitions and its floor."""

    name: str
    value: float
    low: float
    high: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the median is on the right side of the floor; None where there is none."""
        if self.at_least is None and self.at_most is None:
            return None
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)


def figure(
    name: str,
    values: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    """The figure of these repetitions."""
    s = spread(values)
    return Figure(name, s.median, s.low, s.high, at_least, at_most)


def ratio(
    over: Sequence[float],
    under: Sequence[float],
    *,
    name: str = "ratio",
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    """Median and quartiles of the ratio, repetition by repetition.

    What both sides of one round suffered alike, such as a slower clock, cancels. How many times
    faster slimcls is: seconds of the rival over seconds of slimcls.
    """
    pairs = [a / b for a, b in zip(over, under, strict=True)]
    return figure(name, pairs, at_least=at_least, at_most=at_most)


@dataclass
class Row:
    """One comparison: every repetition of every side, and the figures that follow."""

    name: str
    sides: dict[str, list[float]]
    """Measurements by side, slimcls first."""
    figures: list[Figure] = field(default_factory=list)
    unit: str = "s"
    """Of ``sides``."""
    note: str = ""
    """What has to be said beside it, such as why a floor is missed."""


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """The command line that all benchmarks have; ``doc`` is the benchmark's docstring."""
    made = argparse.ArgumentParser(
        f"python -m benchmarks.{name}",
        description=(doc or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--size", choices=SIZES, default="small", help="small: seconds to a minute")
    made.add_argument("--repetitions", type=int, help="timed rounds; the size's own if not given")
    made.add_argument("--only", default="*", metavar="PATTERN", help="which rows, as in 'cls*'")
    made.add_argument("--data-dir", help="folder with NAME/SPLIT.parquet; else SLIMCLS_DATA_DIR")
    made.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON file")
    return made


def report(
    name: str,
    rows: Sequence[Row],
    arguments: argparse.Namespace,
    settings: Mapping[str, Any],
) -> Path:
    """Print the rows as a table and write them to ``OUT/NAME-SIZE.json``; returns that path.

    With ``--only``, rows of an earlier file that were not measured now stay where they were.
    ``settings`` is everything that decides the work and is not on the command line.
    """
    from benchmarks import machine

    for row in rows:
        print(describe(row))
    path: Path = arguments.out / f"{name}-{arguments.size}.json"
    found = {row.name: _as_json(row) for row in rows}
    content = {
        "benchmark": name,
        "size": arguments.size,
        "machine": machine.describe(),
        "settings": dict(settings),
        "rows": list(((_earlier(path) if arguments.only != "*" else {}) | found).values()),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: {path}")
    return path


def _earlier(path: Path) -> dict[str, Any]:
    """Rows of a file by name."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    return {row["name"]: row for row in rows}


def _as_json(row: Row) -> dict[str, Any]:
    found = asdict(row) | {"date": time.strftime("%Y-%m-%d")}
    found["sides"] = {name: [_short(v) for v in values] for name, values in row.sides.items()}
    for entry in found["figures"]:
        entry.update({key: _short(entry[key]) for key in ("value", "low", "high")})
    return found


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def describe(row: Row) -> str:
    """The row as lines for a terminal."""
    lines = [row.name]
    for side, values in row.sides.items():
        s = spread(values)
        turns = f"{len(values)} times, quartiles {number(s.low)} to {number(s.high)}"
        lines.append(f"  {side:<28} {number(s.median):>8} {row.unit} ({turns})")
    for one in row.figures:
        lines.append(f"  {one.name + ':':<28} {in_words(one)}")
    if row.note:
        lines.append(f"  note: {row.note}")
    return "\n".join(lines)


def in_words(one: Figure) -> str:
    """The figure with its quartiles, its floor and whether it is reached."""
    text = f"{number(one.value)} ({number(one.low)} to {number(one.high)})"
    for word, floor in (("at least", one.at_least), ("at most", one.at_most)):
        if floor is not None:
            text += f", {word} {floor:g}"
    return text + {True: ": reached", False: ": MISSED", None: ""}[one.reached]


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")
