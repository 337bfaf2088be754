"""The intervals hold what docs/statistics.md says they hold."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from slimcls.statistics import SeedItems, mean_accuracy, paired_difference


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "interval_coverage", ROOT / "scripts" / "interval_coverage.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("design", ["200, the same", "200 of 400", "200 of very many"])
def test_simulated_data_sets_get_the_intervals_of_the_library(
    script: ModuleType, design: str
) -> None:
    world = script.World(script.Case(design, "0.80, 0.78", "2", "high"), np.random.default_rng(0))
    right, _ = world.draw(2)
    flags = right.astype(np.float32)
    means, products = world.moments(flags[:, 1] - flags[:, 0])
    between, common, over_items = script.variances(means, products, world.counts)
    for one in range(2):
        full, cut = (
            [SeedItems(seed, world.places[seed], right[one, side, seed]) for seed in range(5)]
            for side in (0, 1)
        )
        estimate = paired_difference(cut, full)
        found = (estimate.between, estimate.common, estimate.over_items)
        assert found == pytest.approx((between[one], common[one], over_items[one]), rel=1e-4)
        half = script.harmonic(between[one], common[one], over_items[one], 5, 200, 0.025)
        assert estimate.high - estimate.mean == pytest.approx(half, rel=1e-4)


@pytest.mark.parametrize("design", ["500, the same", "200 of 400", "200 of very many"])
@pytest.mark.parametrize("spread", ["0", "3"])
def test_intervals_hold_the_truth_and_cruder_ones_do_not(
    script: ModuleType, design: str, spread: str
) -> None:
    case = script.Case(design, "0.80, 0.78", spread, "high")
    rows = script.simulate(case, 1500, np.random.default_rng(0))
    several = rows[(rows["quantity"] == "difference") & (rows["seeds"] >= 3)]
    held = several.pivot(index="seeds", columns="method", values="coverage")
    assert held[script.CHOSEN].between(0.93, 0.975).all()
    if spread == "3":
        assert (held["items alone"] < 0.9).all()
    elif design == "500, the same":
        assert (held["t over seeds"] < 0.93).all()


@pytest.mark.parametrize("spread", ["3", "collapse"])
def test_the_simulation_knows_the_truth(script: ModuleType, spread: str) -> None:
    case = script.Case("200, the same", "5 % rare", spread, "low")
    world = script.World(case, np.random.default_rng(0))
    right, truths = world.draw(4000)
    assert right.mean(axis=(0, 2, 3)) == pytest.approx(world.accuracy, abs=0.002)
    assert truths.mean(axis=(0, 2)) == pytest.approx(world.accuracy, abs=0.002)
    full = [SeedItems(seed, world.places[seed], right[0, 0, seed]) for seed in range(5)]
    assert mean_accuracy(full).mean == pytest.approx(right[0, 0].mean())


stored = pytest.mark.skipif(
    not (ROOT / "results" / "coverage" / "coverage.parquet").is_file(),
    reason="the full simulation is not stored: scripts/interval_coverage.py runs it",
)


@stored
def test_the_page_has_the_figures_of_the_results(script: ModuleType) -> None:
    results, page = pd.read_parquet(script.RESULTS), script.PAGE.read_text()
    assert script.filled(page, results) == page, "run scripts/interval_coverage.py --tables"
    assert len(results) == len(list(script.cases())) * (4 * len(script.METHODS) + 1 + 5)
    assert (results["replications"] == script.REPLICATIONS).all()


@stored
def test_realistic_cases_hold_93_to_97_percent(script: ModuleType) -> None:
    results = pd.read_parquet(script.RESULTS)
    rows = results[(results["method"] == script.CHOSEN) & (results["spread"] != script.COLLAPSE)]
    several = rows[(rows["quantity"] == "difference") & (rows["seeds"] >= 3)]
    assert several["coverage"].between(0.93, 0.97).mean() > 0.99
    assert several["too_good"].max() < 0.065
