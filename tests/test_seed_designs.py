"""Unequal seeds and repeated looks do what docs/statistics.md says they do."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from slimcls.reporting.unequal_seeds import difference
from slimcls.statistics import SeedItems, paired_difference


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("seed_designs")


def world(script: ModuleType, spread: str, correlation: float) -> object:
    case = {"accuracy": "0.80, 0.78", "spread": spread, "agreement": "low"}
    return script.World(case | {"correlation": correlation}, np.random.default_rng(0))


def test_simulated_data_sets_get_the_intervals_of_the_library(script: ModuleType) -> None:
    cut, full = world(script, "2, 1", 0.6).draw(2, 5, 4, 3)
    mean, se, df = script.every(cut, full, 3)
    paired = script.paired(cut[:, :3], full[:, :3])
    ids = np.arange(script.ITEMS)
    for one in range(2):
        left = [SeedItems(seed, ids, flags) for seed, flags in enumerate(cut[one])]
        right = [
            SeedItems(seed, ids, flags) for seed, flags in zip((0, 1, 2, 9), full[one], strict=True)
        ]
        found = difference(left, right)
        assert (found.mean, found.se, found.df) == pytest.approx(
            (mean[one], se[one], df[one]), rel=1e-4
        )
        known = paired_difference(left[:3], right[:3])
        assert (known.mean, known.se, known.df) == pytest.approx(
            tuple(part[one] for part in paired), rel=1e-4
        )


def test_the_simulation_knows_the_truth(script: ModuleType) -> None:
    made = world(script, "2, 1", 0.6)
    cut, full = made.draw(3000, 3, 3, 3)
    assert (cut.mean() - full.mean()) == pytest.approx(made.loss, abs=0.002)
    skills = cut.mean(axis=-1).ravel(), full.mean(axis=-1).ravel()
    apart = world(script, "2, 1", 0.0).draw(3000, 3, 3, 3)
    other = [side.mean(axis=-1).ravel() for side in apart]
    assert np.corrcoef(*skills)[0, 1] > np.corrcoef(*other)[0, 1] + 0.1
    assert skills[0].std() > skills[1].std()


def test_unequal_seeds_hold_the_truth_in_a_narrower_interval(script: ModuleType) -> None:
    made = world(script, "2, 1", 0.0)
    rows = pd.DataFrame([row for _ in range(6) for row in script.unequal(made, (10, 3, 3))])
    mean = rows.groupby("method")[["coverage", "half_width"]].mean()
    assert mean.coverage.between(0.93, 0.99).all()
    assert mean.half_width["all"] < 0.75 * mean.half_width["of both sides"]


stored = pytest.mark.skipif(
    not (ROOT / "results" / "coverage" / "seed-designs.parquet").is_file(),
    reason="the full simulation is not stored: scripts/seed_designs.py runs it",
)


@stored
def test_the_page_has_the_figures_of_the_results(script: ModuleType) -> None:
    results, page = pd.read_parquet(script.RESULTS), script.PAGE.read_text()
    assert script.marked(page, script.texts(results)) == page, "run seed_designs.py --tables"
    looks, designs = 2 * len(script.LOOKS), 2 * len(script.DESIGNS) - 1
    assert len(results) == len(list(script.cases())) * (looks + designs)
    assert (results["replications"] == script.REPLICATIONS).all()


@stored
def test_all_seeds_hold_what_seeds_of_both_sides_hold(script: ModuleType) -> None:
    results = pd.read_parquet(script.RESULTS)
    unequal = results[results["half_width"].notna()]
    mine = unequal[unequal["method"] == "all"]
    assert mine["coverage"].min() > 0.93
    assert mine["too_good"].max() < 0.07
    assert results.loc[results["method"] == "any look so far", "too_good"].max() > 0.1
