"""What unequal seeds and repeated looks do to intervals and errors, by simulation.

``python scripts/seed_designs.py`` simulates (half an hour or so on one core), writes
results/coverage/seed-designs.parquet and the tables of docs/statistics.md; with ``--tables`` it
only writes the tables again. A test holds the page against the file.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from interval_coverage import marked
from scipy.stats import norm
from scipy.stats import t as student

from slimcls.reporting.unequal_seeds import variance_parts
from slimcls.statistics import degrees_of_freedom, variances

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "coverage" / "seed-designs.parquet"
PAGE = ROOT / "docs" / "statistics.md"
REPLICATIONS, CHUNK, ITEMS = 4000, 250, 500

#: Seeds of the cut, of full depth, and how many of them are the same.
DESIGNS = ((5, 4, 4), (5, 3, 3), (10, 3, 3), (10, 5, 5), (3, 10, 3), (5, 5, 3), (4, 3, 0))
#: Seeds at which is looked, one look after the other.
LOOKS = (3, 5, 10)
#: Accuracies of the cut and of full depth: 2 points apart, the margin.
ACCURACIES = ((0.78, 0.80), (0.93, 0.95))
#: Standard deviations between seeds, in points, of the cut and of full depth.
SPREADS = ((0, 0), (1, 1), (2, 1), (1, 2), (2, 2))
#: Correlation of the two over seeds.
CORRELATIONS = (0.0, 0.6)
#: Share of the latent variance that an item keeps over seeds, and its correlation between models.
AGREEMENTS = {"low": (0.4, 0.3), "high": (0.8, 0.8)}

Array = np.ndarray


def cases() -> Iterator[dict[str, object]]:
    """Every world; where seeds do not differ they are not correlated either."""
    for accuracy, spread, rho, agreement in itertools.product(
        ACCURACIES, SPREADS, CORRELATIONS, AGREEMENTS
    ):
        if any(spread) or not rho:
            yield {
                "accuracy": f"{accuracy[1]:.2f}, {accuracy[0]:.2f}",
                "spread": f"{spread[0]}, {spread[1]}",
                "correlation": rho,
                "agreement": agreement,
            }


class World:
    """Runs of a cut and of full depth on the same items, with a known loss of 2 points."""

    def __init__(self, case: dict[str, object], rng: np.random.Generator) -> None:
        self.rng, self.rho = rng, float(str(case["correlation"]))
        full, cut = map(float, str(case["accuracy"]).split(", "))
        spread = np.array([float(one) / 100 for one in str(case["spread"]).split(", ")])
        wanted = np.array([cut, full])
        self.kept, self.alike = AGREEMENTS[str(case["agreement"])]
        self.sds = spread / norm.pdf(norm.ppf(wanted))
        self.levels = norm.ppf(wanted) * np.sqrt(1 + self.sds**2)
        self.loss = cut - full

    def draw(self, count: int, cut: int, full: int, both: int) -> tuple[Array, Array]:
        """Flags of right answers of the two sides; shape (count, seeds, items)."""
        seeds = cut + full - both
        shifts = self._correlated(self.rng.standard_normal((count, 2, seeds)), self.rho)
        item = self._correlated(
            self.rng.standard_normal((count, 2, ITEMS), dtype=np.float32), self.alike
        )
        places = (np.arange(cut), np.r_[:both, cut:seeds])
        sides = []
        for side, mine in enumerate(places):
            level = self.levels[side] + self.sds[side] * shifts[:, side][:, mine]
            noise = self.rng.standard_normal((count, len(mine), ITEMS), dtype=np.float32)
            latent = np.sqrt(self.kept) * item[:, side, None] + np.sqrt(1 - self.kept) * noise
            sides.append((latent > -level[..., None]).astype(np.float32))
        return sides[0], sides[1]

    def _correlated(self, values: Array, correlation: float) -> Array:
        values[:, 1] = correlation * values[:, 0] + np.sqrt(1 - correlation**2) * values[:, 1]
        return values


def paired(cut: Array, full: Array) -> tuple[Array, Array, Array]:
    """Means, standard errors and degrees of freedom of the seeds that both sides have."""
    values = cut - full
    seeds = values.shape[1]
    means = values.mean(axis=-1, dtype=float)
    off = values - means[..., None].astype(np.float32)
    products = (off @ off.swapaxes(1, 2)).astype(float)
    between, common, _ = variances(means, products, np.full((seeds, seeds), float(ITEMS)))
    both = between + common
    return means.mean(axis=1), np.sqrt(both), degrees_of_freedom(between / both, seeds, ITEMS)


def every(cut: Array, full: Array, both: int) -> tuple[Array, Array, Array]:
    """The same of all seeds."""
    between, common, _, df = variance_parts(cut, full, both)
    variance = between + common
    means = [side.mean(axis=(1, 2), dtype=float) for side in (cut, full)]
    return (
        means[0] - means[1],
        np.sqrt(variance),
        degrees_of_freedom(between / variance, df + 1, ITEMS),
    )


def held(found: tuple[Array, Array, Array], loss: float) -> dict[str, float]:
    """How often the 95 % interval held the loss, how often the test at 5 % found it smaller."""
    mean, se, df = found
    half = student.isf(0.025, df) * se
    return {
        "coverage": float(np.mean(np.abs(mean - loss) <= half)),
        "half_width": float(100 * np.mean(half)),
        "too_good": float(np.mean(mean - loss > student.isf(0.05, df) * se)),
    }


def unequal(world: World, design: tuple[int, int, int]) -> list[dict[str, object]]:
    """A row for all seeds, and one for those of both sides where there are two or more."""
    cut, full = world.draw(CHUNK, *design)
    both = design[2]
    rows: list[dict[str, object]] = [{"method": "all", **held(every(cut, full, both), world.loss)}]
    if both > 1:
        found = paired(cut[:, :both], full[:, :both])
        rows.append({"method": "of both sides", **held(found, world.loss)})
    name = f"{design[0]} and {design[1]}, {both or 'none'} the same"
    return [{"design": name} | row for row in rows]


def looks(world: World) -> list[dict[str, object]]:
    """How often a loss of the margin is ruled out at one look, or at any so far."""
    cut, full = world.draw(CHUNK, LOOKS[-1], LOOKS[-1], LOOKS[-1])
    rows: list[dict[str, object]] = []
    any_so_far = np.zeros(CHUNK, bool)
    for seeds in LOOKS:
        mean, se, df = paired(cut[:, :seeds], full[:, :seeds])
        now = mean - world.loss > student.isf(0.05, df) * se
        any_so_far |= now
        for method, wrong in (("this look", now), ("any look so far", any_so_far)):
            rows.append({"design": f"{seeds} seeds", "method": method, "too_good": wrong.mean()})
    return rows


def run(replications: int = REPLICATIONS) -> pd.DataFrame:
    """All cases; the same numbers each time."""
    parts = []
    every_case = list(cases())
    for number, case in enumerate(every_case, start=1):
        world = World(case, np.random.default_rng((1204, number)))
        rows: list[dict[str, object]] = []
        for _ in range(0, replications, CHUNK):
            rows += looks(world)
            for design in DESIGNS:
                rows += unequal(world, design)
        mean = pd.DataFrame(rows).groupby(["design", "method"], sort=False, as_index=False).mean()
        parts.append(mean.assign(**case, replications=replications))
        print(f"\r{number} of {len(every_case)} cases", end="", file=sys.stderr, flush=True)
    return pd.concat(parts, ignore_index=True)


def texts(results: pd.DataFrame) -> dict[str, str]:
    """The page's tables by their marks."""
    several = results[results.half_width.notna()]
    quantities = (("coverage", 100), ("too_good", 100), ("half_width", 1))
    return {
        "unequal": _table(several, quantities, "seeds of the cut and of full depth"),
        "looks": _table(results[results.half_width.isna()], (("too_good", 100),), "looked at"),
    }


#: What the page calls each quantity.
NAMES = {"coverage": "held (%)", "too_good": "error (%)", "half_width": "half-width (points)"}


def _table(rows: pd.DataFrame, quantities: tuple[tuple[str, int], ...], head: str) -> str:
    """Least and greatest value over the cases, in Markdown: designs down, methods across."""
    columns = list(itertools.product(quantities, dict.fromkeys(rows.method)))
    heads = [head, *(f"{method}, {NAMES[name]}" for (name, _), method in columns)]
    lines = [heads, ["---"] * len(heads)]
    for design in dict.fromkeys(rows.design):
        cells = []
        for (name, scale), method in columns:
            here = rows[(rows.design == design) & (rows.method == method)][name] * scale
            cells.append(f"{here.min():.1f} to {here.max():.1f}" if len(here) else "")
        lines.append([design, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: list[str]) -> None:
    """Simulates unless told not to, and writes the page."""
    if arguments != ["--tables"]:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        run().to_parquet(RESULTS, index=False)
    found = texts(pd.read_parquet(RESULTS))
    print("\n".join(f"\n{name}\n{text}" for name, text in found.items()))
    PAGE.write_text(marked(PAGE.read_text(), found))


if __name__ == "__main__":
    main(sys.argv[1:])
