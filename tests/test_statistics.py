"""Intervals against published values, other libraries and their own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from slimcls.statistics import (
    Estimate,
    SeedItems,
    mean_accuracy,
    paired_difference,
    smallest_detectable_loss,
    wilson,
)


def test_wilson_against_published_values() -> None:
    # Newcombe (1998), Statistics in Medicine 17:857, table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_inside(case: tuple[int, int]) -> None:
    hits, trials = case
    low, high = wilson(hits, trials)
    assert 0 <= low <= hits / trials + 1e-12
    assert hits / trials - 1e-12 <= high <= 1


def test_no_trials_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one"):
        wilson(0, 0)


Runs = list[SeedItems]


def pair(seeds: int, items: int, pool: int = 0, draw: int = 0) -> tuple[Runs, Runs]:
    """A cut and a full depth that agree in part; ``pool``: items are drawn anew for each seed."""
    rng = np.random.default_rng(draw)
    hard = rng.random(max(pool, items))
    sides: tuple[Runs, Runs] = ([], [])
    for seed in range(seeds):
        ids = rng.permutation(pool)[:items] if pool else np.arange(items)
        for side, skill in zip(sides, (0.75, 0.8), strict=True):
            luck = rng.normal(skill, 0.05) + rng.normal(0, 0.3, items)
            side.append(SeedItems(seed, ids, luck > hard[ids]))
    return sides


pairs = st.builds(
    pair,
    seeds=st.integers(1, 5),
    items=st.integers(20, 60),
    pool=st.sampled_from([0, 70, 10_000]),
    draw=st.integers(0, 10_000),
)


def differences(cut: Runs, full: Runs) -> np.ndarray:
    """Seeds x items."""
    zipped = zip(cut, full, strict=True)
    return np.array([one.correct.astype(float) - other.correct for one, other in zipped])


# Against other libraries, where one of the two sources of chance is not there


def test_seeds_with_items_of_their_own_are_a_paired_t_test() -> None:
    cut, full = pair(seeds=4, items=50, pool=10_000)
    for seed, (one, other) in enumerate(zip(cut, full, strict=True)):
        ids = np.arange(50) + 50 * seed
        cut[seed], full[seed] = (
            SeedItems(seed, ids, one.correct),
            SeedItems(seed, ids, other.correct),
        )
    estimate = paired_difference(cut, full)
    left, right = ([run.correct.mean() for run in side] for side in (cut, full))
    known = stats.ttest_rel(left, right, alternative="greater")
    assert estimate.p_above(0) == pytest.approx(known.pvalue)
    interval = stats.ttest_rel(left, right).confidence_interval()
    assert estimate.interval() == pytest.approx((interval.low, interval.high))
    assert estimate.df == pytest.approx(3)


def test_one_seed_is_a_paired_t_test_over_items() -> None:
    cut, full = pair(seeds=1, items=200)
    estimate = paired_difference(cut, full)
    known = stats.ttest_rel(cut[0].correct.astype(float), full[0].correct.astype(float))
    interval = known.confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high))
    assert math.isnan(estimate.seed_sd)
    assert "says nothing about other seeds" in estimate.caveat


def test_one_seed_agrees_with_mcnemar() -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    cut, full = pair(seeds=1, items=500)
    better, worse = (int((differences(cut, full) == sign).sum()) for sign in (1, -1))
    known = tables.mcnemar([[0, better], [worse, 0]], exact=False, correction=False)
    estimate = paired_difference(cut, full)
    assert better + worse > 50
    two_sided = 2 * min(estimate.p_above(0), estimate.p_below(0))
    assert two_sided == pytest.approx(known.pvalue, abs=0.01)


def test_seeds_that_agree_on_every_item_are_one_sample_of_items() -> None:
    cut, full = pair(seeds=1, items=200)
    repeated = [
        [SeedItems(seed, side[0].ids, side[0].correct) for seed in range(3)] for side in (cut, full)
    ]
    estimate, one = paired_difference(*repeated), paired_difference(cut, full)
    assert estimate.interval() == pytest.approx(one.interval())
    assert estimate.seed_sd == 0
    assert estimate.limit() == "items"
    assert estimate.caveat == ""


def test_shared_items_are_a_two_way_analysis_of_variance() -> None:
    model = pytest.importorskip("statsmodels.formula.api")
    import pandas as pd
    from statsmodels.stats.anova import anova_lm

    cut, full = pair(seeds=4, items=30)
    values = differences(cut, full)
    seed, item = np.indices(values.shape)
    data = pd.DataFrame({"y": values.ravel(), "seed": seed.ravel(), "item": item.ravel()})
    squares = anova_lm(model.ols("y ~ C(seed) + C(item)", data).fit())["mean_sq"]
    estimate = paired_difference(cut, full)
    size = values.size
    assert estimate.between == pytest.approx(squares["C(seed)"] / size)
    assert estimate.common == pytest.approx((squares["C(item)"] - squares["Residual"]) / size)
    assert estimate.over_items == pytest.approx(squares["C(item)"] / size)
    wanted = (squares["C(seed)"] - squares["Residual"]) / 30
    assert estimate.seed_sd**2 == pytest.approx(max(wanted, 0))


def test_items_in_part_shared_count_as_shared_in_part() -> None:
    cut, full = pair(seeds=3, items=60, pool=80)
    values, ids = differences(cut, full), [run.ids.tolist() for run in cut]
    off = values - values.mean(axis=1, keepdims=True)
    products, freedom, overlap = 0.0, 0.0, []
    for one, other in ((0, 1), (0, 2), (1, 2)):
        both = set(ids[one]) & set(ids[other])
        products += sum(off[one, ids[one].index(i)] * off[other, ids[other].index(i)] for i in both)
        freedom += len(both) * (1 - 2 / 60) + (len(both) / 60) ** 2
        overlap.append(len(both) / 60**2)
    estimate = paired_difference(cut, full)
    assert estimate.items == len({*ids[0], *ids[1], *ids[2]})
    assert estimate.common == pytest.approx(products / freedom * np.mean(overlap))
    assert estimate.common > 0


# What must hold for any runs


@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_items_does_not_matter(sides: tuple[Runs, Runs], random) -> None:
    moved = []
    for side in sides:
        runs = []
        for run in side:
            order = random.sample(range(len(run.ids)), len(run.ids))
            runs.append(SeedItems(run.seed, run.ids[order], run.correct[order]))
        moved.append(random.sample(runs, len(runs)))
    before, after = paired_difference(*sides), paired_difference(*moved)
    assert after.seeds == before.seeds
    assert after.interval() == pytest.approx(before.interval())
    assert after.per_seed == pytest.approx(before.per_seed)
    assert after.p_noninferior(0.02) == pytest.approx(before.p_noninferior(0.02))


@given(pairs)
def test_names_of_items_do_not_matter(sides: tuple[Runs, Runs]) -> None:
    named = [
        [
            SeedItems(run.seed, np.array([f"text {one}" for one in run.ids]), run.correct)
            for run in side
        ]
        for side in sides
    ]
    assert paired_difference(*named).interval() == pytest.approx(
        paired_difference(*sides).interval()
    )


@given(pairs, st.floats(0, 0.3))
def test_swapping_the_sides_turns_the_sign(sides: tuple[Runs, Runs], margin: float) -> None:
    one, other = paired_difference(*sides), paired_difference(*reversed(sides))
    assert other.mean == pytest.approx(-one.mean)
    assert (-other.high, -other.low) == pytest.approx((one.low, one.high))
    assert other.p_below(margin) == pytest.approx(one.p_noninferior(margin))


@given(pairs, st.floats(0, 0.5), st.floats(0, 0.5))
def test_more_margin_never_makes_the_p_value_larger(
    sides: tuple[Runs, Runs], one: float, other: float
) -> None:
    estimate = paired_difference(*sides)
    least, most = sorted((one, other))
    assert estimate.p_noninferior(most) <= estimate.p_noninferior(least)


@given(pairs, st.floats(0.001, 0.3))
def test_interval_p_value_and_smallest_margin_say_the_same(
    sides: tuple[Runs, Runs], level: float
) -> None:
    estimate = paired_difference(*sides)
    low, high = estimate.interval(1 - 2 * level)
    assert low < estimate.mean < high
    if low > -1 and high < 1:
        assert estimate.p_above(low) == pytest.approx(level)
        assert estimate.p_below(high) == pytest.approx(level)
    margin = estimate.smallest_margin(level)
    assert estimate.p_noninferior(margin) <= level * (1 + 1e-9)
    assert margin == 0 or estimate.p_noninferior(margin * 0.99) > level


@given(pairs)
def test_a_run_against_one_that_is_always_wrong_is_its_accuracy(sides: tuple[Runs, Runs]) -> None:
    wrong = [SeedItems(run.seed, run.ids, np.zeros(len(run.ids))) for run in sides[0]]
    accuracy, difference = mean_accuracy(sides[0]), paired_difference(sides[0], wrong)
    assert accuracy.mean == difference.mean == pytest.approx(np.mean(accuracy.per_seed))
    assert accuracy.se == difference.se
    assert 0 <= accuracy.low < accuracy.mean < accuracy.high <= 1 or accuracy.high == 1


# What a design can show


def harmless(
    rng: np.random.Generator,
    seeds: int,
    items: int,
    seed_sd: float,
    disagreement: float,
    shared: float,
) -> Estimate:
    """A cut as accurate as full depth, tested on the same items in every seed."""
    share = [disagreement / 2, 1 - disagreement, disagreement / 2]
    always = rng.choice([-1, 0, 1], items, p=share)
    sides: tuple[Runs, Runs] = ([], [])
    for seed in range(seeds):
        same = rng.random(items) < math.sqrt(shared)
        values = np.where(same, always, rng.choice([-1, 0, 1], items, p=share))
        sides[0].append(SeedItems(seed, np.arange(items), values + rng.normal(0, seed_sd)))
        sides[1].append(SeedItems(seed, np.arange(items), np.zeros(items)))
    return paired_difference(*sides)


@pytest.mark.parametrize(
    ("seeds", "items", "seed_sd", "disagreement", "shared", "level"),
    [
        (3, 500, 0.01, 0.06, 0.3, 0.05),
        (3, 500, 0.01, 0.06, 0.3, 0.05 / 3),
        (3, 500, 0.0, 0.06, 0.9, 0.05),
        (5, 1000, 0.02, 0.2, 0.4, 0.05),
    ],
)
def test_the_smallest_detectable_loss_is_detected_in_eight_of_ten(
    seeds: int, items: int, seed_sd: float, disagreement: float, shared: float, level: float
) -> None:
    rng = np.random.default_rng(0)
    made = [harmless(rng, seeds, items, seed_sd, disagreement, shared) for _ in range(600)]
    loss = smallest_detectable_loss(
        seeds, items, seed_sd=seed_sd, disagreement=disagreement, shared=shared, level=level
    )
    assert 0.75 < np.mean([one.p_noninferior(loss) <= level for one in made]) < 0.86
    own = np.median([one.smallest_detectable(level) for one in made])
    assert own == pytest.approx(loss, rel=0.25), "an estimate says it of its own variances"


def test_more_of_anything_detects_less() -> None:
    plain = smallest_detectable_loss(3, 500)
    assert 0.03 < plain < 0.05
    assert smallest_detectable_loss(5, 500) < plain
    assert smallest_detectable_loss(3, 1000) < plain
    assert smallest_detectable_loss(3, 500, seed_sd=0.0) < plain
    assert smallest_detectable_loss(3, 500, disagreement=0.2) > plain
    assert smallest_detectable_loss(3, 500, level=0.01) > plain
    assert smallest_detectable_loss(3, 500, power=0.9) > plain
    # Items that come back in every seed are no new ones.
    many = {"seed_sd": 0.0, "level": 0.05}
    assert smallest_detectable_loss(9, 500, shared=1.0, **many) > smallest_detectable_loss(
        9, 500, shared=0.0, **many
    )


def test_the_page_has_the_figures_of_the_function() -> None:
    page = (ROOT / "docs" / "statistics.md").read_text()
    for seeds in (3, 4, 5, 10):
        found = [smallest_detectable_loss(seeds, items) for items in (200, 500, 1000)]
        found.append(smallest_detectable_loss(seeds, 500, level=0.05 / 3))
        assert f"| {seeds} | {' | '.join(f'{100 * one:.1f}' for one in found)} |\n" in page


@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_a_design_of_few_seeds_shows_nothing(seeds: int) -> None:
    assert smallest_detectable_loss(seeds, 1000) == math.inf
    if seeds:
        assert paired_difference(*pair(seeds, items=200)).smallest_detectable() == math.inf


# What is easily got wrong


@pytest.mark.parametrize("pool", [0, 1000])
@pytest.mark.parametrize("seeds", [1, 3])
def test_runs_that_never_disagree_are_not_taken_for_certain(seeds: int, pool: int) -> None:
    runs, _ = pair(seeds, items=200, pool=pool)
    estimate = paired_difference(runs, runs)
    assert estimate.low < 0 == estimate.mean < estimate.high < 0.02


def test_seeds_that_happen_to_agree_do_not_make_the_interval_vanish() -> None:
    flags = np.array([1] * 40 + [-1] * 60 + [0] * 900)
    rng = np.random.default_rng(0)
    sides: tuple[Runs, Runs] = ([], [])
    for seed in range(3):
        ids, values = np.arange(1000) + 1000 * seed, rng.permutation(flags)
        sides[0].append(SeedItems(seed, ids, values > -1))
        sides[1].append(SeedItems(seed, ids, values < 1))
    estimate = paired_difference(*sides)
    assert np.ptp(estimate.per_seed) == 0
    alone = stats.norm.isf(0.025) * math.sqrt(estimate.over_items)
    assert alone / 3 < estimate.high - estimate.mean < alone


def test_two_sources_of_chance_are_more_than_either() -> None:
    runs, _ = pair(seeds=4, items=60)
    uneven = [SeedItems(run.seed, run.ids, run.correct & (run.ids % 6 >= run.seed)) for run in runs]
    estimate = mean_accuracy(uneven)
    assert estimate.se**2 == pytest.approx(estimate.between + estimate.common)
    assert estimate.se**2 > max(estimate.between, estimate.over_items)
    assert 3 < estimate.df < 59


def test_what_limits_is_what_varies() -> None:
    cut, full = pair(seeds=3, items=300)
    swings = [
        SeedItems(run.seed, run.ids, run.correct & (run.ids % 3 < run.seed + 1)) for run in cut
    ]
    assert paired_difference(swings, full).limit() == "seeds"
    assert paired_difference(cut[:1], full[:1]).limit() == "seeds"
    same = [SeedItems(run.seed, run.ids, cut[0].correct) for run in cut]
    still = [SeedItems(run.seed, run.ids, full[0].correct) for run in full]
    assert paired_difference(same, still).limit() == "items"


def test_seeds_of_one_side_only_are_left_out() -> None:
    cut, full = pair(seeds=4, items=30)
    assert paired_difference(cut[1:], full[:3]).seeds == (1, 2)
    assert "two seeds" in paired_difference(cut[1:], full[:3]).caveat


def test_what_cannot_be_compared_is_refused() -> None:
    cut, full = pair(seeds=2, items=30)
    with pytest.raises(ValueError, match="a seed that both sides have"):
        paired_difference(cut[:1], full[1:])
    with pytest.raises(ValueError, match="not tested on the same items"):
        paired_difference(cut, [SeedItems(run.seed, run.ids + 1, run.correct) for run in full])
    with pytest.raises(ValueError, match="not tested on the same items"):
        paired_difference(cut, [SeedItems(run.seed, run.ids[1:], run.correct[1:]) for run in full])
    with pytest.raises(ValueError, match="a seed occurs twice"):
        mean_accuracy([*cut, cut[0]])
    with pytest.raises(ValueError, match="item occurs twice"):
        mean_accuracy([SeedItems(0, np.array([1, 1, 2]), np.ones(3))])
    with pytest.raises(ValueError, match="two test items"):
        mean_accuracy([SeedItems(0, np.array([1]), np.ones(1))])
    with pytest.raises(ValueError, match="needs a seed"):
        mean_accuracy([])
