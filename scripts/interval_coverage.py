"""How often the intervals of slimcls.statistics hold the truth, by simulation.

``python scripts/interval_coverage.py`` simulates (an hour or so on one core; stopped, it goes on
with the cases that are left), writes results/coverage/coverage.parquet and the tables of
docs/statistics.md; with ``--tables`` it only writes the tables again. A test holds the page against
the file.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from slimcls.statistics import degrees_of_freedom, variances

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "results" / "coverage" / "coverage.parquet", ROOT / "docs" / "statistics.md"
UNFINISHED = RESULTS.with_name("unfinished.parquet")
REPLICATIONS, CHUNK, SEEDS = 10_000, 250, 5

#: Items that a seed is tested on, and how many texts they are drawn from anew for each seed.
DESIGNS = {
    "200, the same": (200, 200),
    "500, the same": (500, 500),
    "872, the same": (872, 872),
    "200 of 400": (200, 400),
    "1000 of 7600": (1000, 7600),
    "200 of very many": (200, 10**7),
}
#: By class: its share of the items, and the accuracy of full depth and of the cut.
ACCURACIES = {
    "0.60, 0.60": [(1.0, 0.60, 0.60)],
    "0.80, 0.78": [(1.0, 0.80, 0.78)],
    "0.90, 0.90": [(1.0, 0.90, 0.90)],
    "0.95, 0.92": [(1.0, 0.95, 0.92)],
    "5 % rare": [(0.95, 0.97, 0.96), (0.05, 0.45, 0.30)],
}
#: Standard deviation of the true difference between seeds, in points; the last one is a stress: one
#: seed in ten loses ten points of the cut's accuracy.
COLLAPSE = "collapse"
SPREADS = ("0", "0.5", "1", "2", "3", COLLAPSE)
#: Share of the latent variance that an item keeps over seeds, and its correlation between models.
AGREEMENTS = {"low": (0.4, 0.3), "high": (0.8, 0.8)}


@dataclass(frozen=True)
class Case:
    """What is simulated: names of the four tables above."""

    design: str
    accuracy: str
    spread: str
    agreement: str


def cases() -> Iterator[Case]:
    """Every combination."""
    for names in itertools.product(DESIGNS, ACCURACIES, SPREADS, AGREEMENTS):
        yield Case(*names)


class World:
    """What stays the same through a case's replications: the truth, and who is tested on what."""

    def __init__(self, case: Case, rng: np.random.Generator) -> None:
        self.rng, (size, pool) = rng, DESIGNS[case.design]
        # Items are alike before their texts are drawn, so one draw of their numbers serves all.
        drawn = [rng.choice(pool, size, replace=False, shuffle=True) for _ in range(SEEDS)]
        items, places = np.unique(np.concatenate(drawn), return_inverse=True)
        self.items, self.places = len(items), places.reshape(SEEDS, size)
        self.shared = {
            pair: np.intersect1d(*self.places[list(pair)], return_indices=True)[1:]
            for pair in itertools.combinations(range(SEEDS), 2)
        }
        self.counts = np.diag(np.full(SEEDS, float(size)))
        for (one, other), (left, _) in self.shared.items():
            self.counts[one, other] = self.counts[other, one] = len(left)
        classes = np.array(ACCURACIES[case.accuracy])
        self.shares, wanted = classes[:, 0], classes[:, 1:].T
        self.kept, self.alike = AGREEMENTS[case.agreement]
        self.collapse = case.spread == COLLAPSE
        # A seed that favours the frequent class does so at the cost of the rare one.
        sides = np.array([1.0, -2.0])[: len(self.shares)]
        spread = 0.0 if self.collapse else float(case.spread) / 100 / np.sqrt(2)
        self.sds = spread / norm.pdf(norm.ppf(wanted[:, :1])) * sides
        self.levels = norm.ppf(wanted) * np.sqrt(1 + self.sds**2)
        self.drop = norm.ppf(wanted[1]) - norm.ppf(wanted[1] - 0.1)
        self.accuracy = wanted @ self.shares - (0.0, 0.01 if self.collapse else 0.0)

    def draw(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Flags of right answers, shape (count, 2, S, n), and each seed's true accuracies."""
        kind = self.rng.choice(len(self.shares), (count, self.items), p=self.shares)
        shifts = self.sds[:, None] * self.rng.standard_normal((count, 2, SEEDS, 1))
        if self.collapse:
            shifts = np.zeros((count, 2, SEEDS, len(self.shares)))
            shifts[:, 1] -= (self.rng.random((count, SEEDS, 1)) < 0.1) * self.drop
        levels = self.levels[:, None] + shifts
        item = self._normal(count, 2, self.items)
        item[:, 1] = self.alike * item[:, 0] + np.sqrt(1 - self.alike**2) * item[:, 1]
        item *= np.sqrt(self.kept)
        right = np.empty((count, 2, *self.places.shape), bool)
        for seed, places in enumerate(self.places):
            noise = self._normal(count, 2, len(places)) * np.float32(np.sqrt(1 - self.kept))
            level = np.take_along_axis(
                levels[:, :, seed].astype(np.float32), kind[:, None, places], axis=2
            )
            right[:, :, seed] = level + item[:, :, places] + noise > 0
        return right, norm.cdf(levels) @ self.shares

    def _normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape, dtype=np.float32)

    def moments(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and products of deviations as ``variances`` wants them; values (count, S, n)."""
        means = values.mean(axis=-1, dtype=float)
        off = values - means[..., None].astype(np.float32)
        products = np.zeros((*means.shape, SEEDS))
        for seed in range(SEEDS):
            products[:, seed, seed] = (off[:, seed] ** 2).sum(axis=-1)
        for (one, other), (left, right) in self.shared.items():
            product = (off[:, one, left] * off[:, other, right]).sum(axis=-1)
            products[:, one, other] = products[:, other, one] = product
        return means, products


def _t(level: float, freedom: np.ndarray | float) -> np.ndarray:
    return np.asarray(student.isf(level, freedom))


def harmonic(
    between: np.ndarray, common: np.ndarray, _: np.ndarray, seeds: int, items: int, level: float
) -> np.ndarray:
    """The one that slimcls.statistics has."""
    both = between + common
    return _t(level, degrees_of_freedom(between / both, seeds, items)) * np.sqrt(both)


def satterthwaite(
    between: np.ndarray, common: np.ndarray, _: np.ndarray, seeds: int, items: int, level: float
) -> np.ndarray:
    """As in Welch's test: the shares of the variance are squared."""
    both = between + common
    spread = (between / both) ** 2 / (seeds - 1) + (common / both) ** 2 / (items - 1)
    return _t(level, 1 / spread) * np.sqrt(both)


def cochran(
    between: np.ndarray, common: np.ndarray, _: np.ndarray, seeds: int, items: int, level: float
) -> np.ndarray:
    """Quantiles of t weighted with the variances they belong to."""
    both = between + common
    mixed = between * _t(level, seeds - 1) + common * _t(level, items - 1)
    return mixed / np.sqrt(both)


CHOSEN = "harmonic t"
#: Half-widths from between, common, over_items, seeds, items of a seed and the one-sided level.
METHODS: dict[str, Callable[..., np.ndarray]] = {
    CHOSEN: harmonic,
    "Cochran": cochran,
    "Satterthwaite": satterthwaite,
    "t over seeds": lambda between, _, __, seeds, ___, level: (
        _t(level, seeds - 1) * np.sqrt(between)
    ),
    "items alone": lambda _, __, over_items, ___, items, level: (
        _t(level, items - 1) * np.sqrt(over_items)
    ),
}


def simulate(case: Case, replications: int, rng: np.random.Generator) -> pd.DataFrame:
    """A row for each quantity, number of seeds and method, averaged over the replications."""
    world = World(case, rng)
    rows: list[dict[str, object]] = []
    for _ in range(0, replications, CHUNK):
        right, truths = world.draw(CHUNK)
        right = right.astype(np.float32)
        full, cut = right[:, 0], right[:, 1]
        loss, losses = world.accuracy[1] - world.accuracy[0], truths[:, 1] - truths[:, 0]
        rows += held(world, "difference", cut - full, loss, losses[:, 0])
        rows += held(world, "accuracy", full, world.accuracy[0], truths[:, 0, 0])
    keys = ["quantity", "seeds", "method"]
    return pd.DataFrame(rows).groupby(keys, sort=False, as_index=False).mean()


def held(
    world: World, quantity: str, values: np.ndarray, truth: float, first: np.ndarray
) -> list[dict[str, object]]:
    """How often each method held the truth; ``first`` is the truth of the first seed's models."""
    means, products = world.moments(values)
    rows: list[dict[str, object]] = []
    for seeds in range(1, SEEDS + 1):
        some = slice(0, seeds)
        parts = variances(means[:, some], products[:, some, some], world.counts[some, some])
        off = means[:, some].mean(axis=1) - truth
        fewest = values.shape[-1]
        for method in METHODS if seeds > 1 and quantity == "difference" else [CHOSEN]:
            half = METHODS[method](*parts, seeds, fewest, 0.025)
            row = {"quantity": quantity, "seeds": seeds, "method": method}
            row |= {"coverage": np.mean(np.abs(off) <= half), "half_width": 100 * np.mean(half)}
            # The loss is thought to be smaller than it is: the error behind a false "good enough".
            row["too_good"] = np.mean(off > METHODS[method](*parts, seeds, fewest, 0.05))
            row["of_its_seed"] = (
                np.mean(np.abs(means[:, 0] - first) <= half) if seeds == 1 else np.nan
            )
            rows.append(row | {"disagreement": np.mean(np.abs(values))})
    return rows


def run(replications: int = REPLICATIONS) -> pd.DataFrame:
    """All cases; the same numbers each time. What is done is kept in a file beside the results."""
    parts = [pd.read_parquet(UNFINISHED)] if UNFINISHED.exists() else []
    done = {tuple(key) for part in parts for key in part[list(asdict(next(cases())))].to_numpy()}
    every = list(cases())
    for number, case in enumerate(every, start=1):
        if tuple(asdict(case).values()) in done:
            continue
        rows = simulate(case, replications, np.random.default_rng((402, number)))
        parts.append(rows.assign(**asdict(case), replications=replications))
        pd.concat(parts, ignore_index=True).to_parquet(UNFINISHED, index=False)
        print(f"\r{number} of {len(every)} cases", end="", file=sys.stderr, flush=True)
    return pd.concat(parts, ignore_index=True)


#: The page's tables: a row for each ..., and the rows of the results they are made from.
TABLES = {
    "coverage": ("design", "coverage", "quantity == 'difference' and seeds > 2"),
    "rivals": ("method", "coverage", "quantity == 'difference' and seeds > 1"),
    "error": ("design", "too_good", "quantity == 'difference' and seeds > 1"),
    "few": ("design", "coverage", "quantity == 'difference' and seeds < 3"),
    "one": ("design", "of_its_seed", "quantity == 'difference' and seeds == 1"),
    "accuracy": ("design", "coverage", "quantity == 'accuracy' and seeds > 2"),
    "collapse": ("design", "coverage", "quantity == 'difference' and seeds > 2"),
    "width": ("design", "half_width", "accuracy == '0.80, 0.78' and spread == '1' and seeds > 2"),
}


def table(results: pd.DataFrame, name: str) -> str:
    """Least and greatest value over the cases, in Markdown; a column for each number of seeds."""
    by, column, query = TABLES[name]
    rows = results.query(query)
    rows = rows[(rows["spread"] == COLLAPSE) == (name == "collapse")]
    if by != "method":
        rows = rows[rows["method"] == CHOSEN]
    scale = 1 if column == "half_width" else 100
    spans = rows.groupby([by, "seeds"], sort=False)[column].agg(["min", "max"]) * scale
    cells = {key: f"{least:.1f} to {most:.1f}" for key, least, most in spans.itertuples()}
    names, counts = rows[by].unique(), sorted(rows["seeds"].unique())
    heads = [
        by if by == "method" else "test items",
        *("1 seed" if count == 1 else f"{count} seeds" for count in counts),
    ]
    lines = [heads, ["---"] * len(heads)]
    lines += [[str(one), *(cells[one, count] for count in counts)] for one in names]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def inside(results: pd.DataFrame) -> str:
    """How many of the realistic cases are inside 93 to 97 %, and which are not."""
    rows = results.query("quantity == 'difference' and seeds > 2 and method == @CHOSEN")
    rows = rows[rows["spread"] != COLLAPSE]
    out = rows[(rows["coverage"] < 0.93) | (rows["coverage"] > 0.97)]
    lines = [f"{len(rows) - len(out)} of {len(rows)} cases are inside 93 to 97 %."]
    for row in out.itertuples():
        where = f"{row.design}, {row.seeds} seeds, accuracies {row.accuracy}, seed sd {row.spread}"
        lines.append(f"- {where}, agreement {row.agreement}: {100 * row.coverage:.1f}")
    return "\n".join(lines)


def filled(page: str, results: pd.DataFrame) -> str:
    """The page with its tables made anew."""
    texts = {name: table(results, name) for name in TABLES}
    return marked(page, texts | {"inside": inside(results)})


def marked(page: str, texts: dict[str, str]) -> str:
    """The page with each text between the marks of its name."""
    for name, text in texts.items():
        before, mark, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not mark or not end:
            raise ValueError(f"the page has no marks for the table {name}")
        page = f"{before}{mark}\n{text}\n\n{end}{after}"
    return page


def main(arguments: list[str]) -> None:
    """Simulates unless told not to, and writes the page."""
    if arguments != ["--tables"]:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        run().to_parquet(RESULTS, index=False)
        UNFINISHED.unlink()
    results = pd.read_parquet(RESULTS)
    for name in TABLES:
        print(f"\n{name}\n{table(results, name)}")
    print(f"\n{inside(results)}")
    PAGE.write_text(filled(PAGE.read_text(), results))


if __name__ == "__main__":
    main(sys.argv[1:])
