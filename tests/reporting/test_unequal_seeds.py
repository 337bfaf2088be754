"""Ten seeds of a cut and three of full depth: all are used, and none silently dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reporting.made_study import add_cheap, add_run
from scipy import stats

from slimcls.reporting import study
from slimcls.reporting.unequal_seeds import difference, seeds_of
from slimcls.statistics import Estimate, SeedItems, paired_difference

Runs = list[SeedItems]


def runs(seeds: range, skill: float, items: int = 200, sd: float = 0.05) -> Runs:
    """Runs on the same items; a seed's skill and luck are its own, whatever the range is."""
    hard = np.random.default_rng(99).random(items)
    made = []
    for seed in seeds:
        rng = np.random.default_rng((seed, round(1000 * skill)))
        luck = rng.normal(skill, sd) + rng.normal(0, 0.3, items)
        made.append(SeedItems(seed, np.arange(items), luck > hard))
    return made


CUT, FULL = runs(range(10), 0.75), runs(range(3), 0.8)


def shown(one: Estimate) -> list[float]:
    return [one.mean, one.low, one.high, one.df, one.seed_sd, one.over_items]


def test_with_equal_seeds_it_is_the_paired_difference() -> None:
    assert difference(CUT[:3], FULL) == paired_difference(CUT[:3], FULL)
    assert difference(CUT[:3], FULL).unequal is None


def test_every_seed_counts() -> None:
    one = difference(CUT, FULL)
    means = [np.mean([run.correct.mean() for run in side]) for side in (CUT, FULL)]
    assert one.mean == pytest.approx(means[0] - means[1])
    assert (one.seeds, one.fewest_seeds, one.caveat) == ((0, 1, 2), 3, "")
    assert one.unequal is not None
    assert one.unequal.alone == tuple(range(3, 10))
    assert seeds_of(one) == "0, 1, 2; one side alone: 3, 4, 5, 6, 7, 8, 9"
    dropped = paired_difference(CUT, FULL)
    assert one.per_seed == pytest.approx(dropped.per_seed)
    assert one.df > dropped.df


def test_without_a_common_seed_it_is_welch_s_test() -> None:
    """Items that matter little, so that seeds alone are chance."""
    cut, full = runs(range(4), 0.75, 4000, 0.1), runs(range(10, 13), 0.8, 4000, 0.1)
    one = difference(cut, full)
    left, right = ([run.correct.mean() for run in side] for side in (cut, full))
    known = stats.ttest_ind(left, right, equal_var=False)
    wanted = (np.mean(left) - np.mean(right)) / known.statistic
    assert np.sqrt(one.between) == pytest.approx(wanted)
    assert one.seed_df < known.df, "the project's rule is more careful than Welch's"
    assert one.between > 20 * one.common


def test_swapping_the_sides_turns_the_sign() -> None:
    one, other = difference(CUT, FULL), difference(FULL, CUT)
    assert (-other.high, -other.low) == pytest.approx((one.low, one.high))
    assert other.df == pytest.approx(one.df)
    assert other.p_below(0.02) == pytest.approx(one.p_noninferior(0.02))


def test_the_order_of_runs_and_items_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(200)
    moved = [SeedItems(run.seed, run.ids[order], run.correct[order]) for run in CUT[::-1]]
    assert shown(difference(moved, FULL)) == pytest.approx(shown(difference(CUT, FULL)))


def test_sides_that_never_disagree_are_not_taken_for_certain() -> None:
    same = [SeedItems(seed, np.arange(200), CUT[0].correct) for seed in range(5)]
    one = difference(same, same[:3])
    assert one.low < 0 == one.mean < one.high < 0.02
    assert one.df > 2


def test_more_seeds_of_one_side_narrow_the_interval() -> None:
    widths = [difference(CUT[:count], FULL).se for count in (3, 5, 10)]
    assert widths[2] < widths[0]


@pytest.mark.parametrize("reason", ["one seed of a side", "other items", "own items"])
def test_what_cannot_be_used_is_left_out_as_before(reason: str) -> None:
    cut = CUT[:4]
    full = FULL[:1] if reason == "one seed of a side" else list(FULL)
    if reason == "other items":  # of a seed that full depth does not have
        cut = [*cut[:3], SeedItems(3, cut[3].ids + 1, cut[3].correct)]
    if reason == "own items":
        cut, full = (
            [SeedItems(run.seed, run.ids + 1000 * run.seed, run.correct) for run in side]
            for side in (cut, full)
        )
    one = difference(cut, full)
    assert one.unequal is None
    assert one == paired_difference(cut, full)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="a seed occurs twice"):
        difference([*CUT, CUT[0]], FULL)
    with pytest.raises(ValueError, match="not tested on the same items"):
        difference(CUT, [SeedItems(run.seed, run.ids + 1, run.correct) for run in FULL])


def make(out: Path, cut: range, full: range) -> Path:
    for seed in full:
        add_run(out, right=0.9, keep=6, seed=seed, mode="cls")
    for seed in cut:
        add_run(out, right=0.9 - 0.002 * seed, keep=2, seed=seed, mode="cls")
        add_cheap(out, seed, mode="cls")
    return out


def test_a_report_uses_all_seeds_and_says_which_both_sides_have(tmp_path: Path) -> None:
    """Ten seeds of the cut were run, and seven were dropped without a word."""
    row = study.read_study(make(tmp_path, range(10), range(3))).compared.differences.iloc[0]
    assert row.seeds == "0, 1, 2; one side alone: 3, 4, 5, 6, 7, 8, 9"
    assert row.difference == pytest.approx(-0.009)
    assert row.verdict == "good enough"


def test_a_report_names_the_seeds_that_it_leaves_out(tmp_path: Path) -> None:
    compared = study.read_study(make(tmp_path, range(4), range(1))).compared
    assert compared.differences.seeds.tolist() == ["0"]
    said = "sst2, cls, keep 2 (0-1): seeds left out, one side alone has them: 1, 2, 3"
    assert said in compared.missing
