"""Non-inferiority over depths, tasks and modes, against other procedures and by example."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcls.reporting.verdicts import ComparedCut, CutFamily, Verdict, judge, sequences, unbeaten
from slimcls.statistics import Estimate

p_values = st.floats(0, 1)
chains = st.dictionaries(st.integers(0, 20), st.lists(p_values, max_size=5), max_size=5)


# The procedure over several families


def holm(values: list[float]) -> list[float]:
    """Adjusted p-values of Holm (1979): each times how many are no smaller, never falling."""
    order = np.argsort(values)
    times = np.array(values)[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(times), 1)
    return adjusted.tolist()


def test_one_hypothesis_a_family_is_holm() -> None:
    rng = np.random.default_rng(0)
    for count in range(1, 41):
        values = (rng.random(1 + count % 8) ** 4).tolist()
        adjusted = holm(values)
        steps = [found[0] for found in sequences({n: [p] for n, p in enumerate(values)}).values()]
        assert [step.adjusted for step in steps] == pytest.approx(adjusted)
        assert [step.rejected for step in steps] == [p <= 0.05 for p in adjusted]


@given(st.lists(p_values, max_size=6))
def test_one_family_is_a_fixed_sequence(values: list[float]) -> None:
    steps = sequences({"only": values})["only"]
    assert [step.adjusted for step in steps] == pytest.approx(
        np.maximum.accumulate(values or [0])[: len(values)]
    )
    assert all(step.level == 0.05 for step in steps)


def test_two_families_by_hand() -> None:
    steps = sequences({"a": [0.01, 0.02], "b": [0.03, 0.2]})
    # a: 0.01 and 0.02 at half the level each; b then has all of it, and stops at its second.
    assert [step.adjusted for step in steps["a"]] == pytest.approx([0.02, 0.04])
    assert [step.adjusted for step in steps["b"]] == pytest.approx([0.04, 0.2])
    assert [step.level for step in steps["a"]] == [0.025, 0.025]
    assert [step.level for step in steps["b"]] == [0.05, 0.05]
    assert [step.rejected for step in steps["b"]] == [True, False]


@given(chains, st.floats(0.001, 0.5))
def test_adjusted_values_and_rejections_say_the_same(
    families: dict[int, list[float]], level: float
) -> None:
    steps = sequences(families, level)
    assert {key: len(values) for key, values in families.items()} == {
        key: len(found) for key, found in steps.items()
    }
    for key, found in steps.items():
        for step, value in zip(found, families[key], strict=True):
            assert step.rejected == (step.adjusted <= level)
            assert value <= step.adjusted + 1e-12
            assert not step.rejected or value <= step.level * (1 + 1e-12)
            assert step.level <= level * (1 + 1e-12)
        assert [step.rejected for step in found] == sorted(
            [step.rejected for step in found], reverse=True
        ), "the first failure stops"


@given(chains, st.randoms(use_true_random=False))
def test_neither_order_nor_smaller_values_take_a_rejection_away(
    families: dict[int, list[float]], random: np.random.Generator
) -> None:
    def rejected(values: dict[int, list[float]]) -> set[tuple[int, int]]:
        steps = sequences(values)
        return {(key, n) for key in steps for n, one in enumerate(steps[key]) if one.rejected}

    turned = {key: families[key] for key in reversed(list(families))}
    assert rejected(turned) == rejected(families)
    smaller = {key: [p * random.random() for p in values] for key, values in families.items()}
    assert rejected(smaller) >= rejected(families)


def test_errors_over_all_families_keep_the_level() -> None:
    # Each family's first hypothesis is plainly false, its second is true: passing a share on
    # before its family is through would err in about 9 of 100.
    rng = np.random.default_rng(0)
    wrong = 0
    for values in rng.random((4000, 3)):
        steps = sequences({key: [1e-9, value] for key, value in enumerate(values)})
        wrong += any(steps[key][1].rejected for key in range(3))
    assert 0.04 < wrong / 4000 < 0.058


# Verdicts


def estimate(mean: float, sd: float = 0.005, seeds: int = 3) -> Estimate:
    """A mean with a standard error ``sd`` that is mostly the items'."""
    return Estimate(
        mean=mean,
        per_seed=(mean,) * seeds,
        seeds=tuple(range(seeds)),
        items=500,
        fewest=500,
        between=0.1 * sd**2 if seeds > 1 else 0.0,
        common=0.9 * sd**2 if seeds > 1 else sd**2,
        over_items=0.95 * sd**2,
    )


BEATS = {"majority": estimate(0.4), "tfidf": estimate(0.1), "embeddings": estimate(0.2)}


def one(cut: ComparedCut, baselines: dict[str, Estimate] | None = None) -> Verdict:
    family = CutFamily([cut], BEATS if baselines is None else baselines)
    return judge({"trec": family})["trec"][0]


def test_a_small_loss_is_good_enough_and_a_large_one_worse() -> None:
    good, bad = (
        one(ComparedCut(2, estimate(-0.005), BEATS)),
        one(ComparedCut(2, estimate(-0.06), BEATS)),
    )
    assert (good.word, bad.word) == ("good enough", "worse")
    assert good.reason.startswith(
        "a loss of 2 points is ruled out and every baseline beaten (p = 0"
    )
    assert bad.reason.startswith("a loss of more than 2 points is shown (p = ")
    assert good.p < 0.05 < bad.p


def test_worse_than_full_depth_within_the_margin_is_good_enough() -> None:
    loss = estimate(-0.01, sd=0.002)
    assert loss.high < 0
    assert one(ComparedCut(2, loss, BEATS)).word == "good enough"


def test_what_is_not_shown_comes_with_the_margin_that_is() -> None:
    verdict = one(ComparedCut(2, estimate(-0.02), BEATS))
    assert verdict.word == "cannot tell"
    assert verdict.smallest_margin == estimate(-0.02).smallest_margin(0.05)
    assert 0.027 < verdict.smallest_margin < 0.031
    assert verdict.limit == "items"
    assert verdict.reason == (
        "only a loss of 2.9 points is ruled out; smallest loss that these seeds and items show "
        "with 80 % power: 1.3 points; more items would help most"
    )
    assert verdict.smallest_detectable == estimate(-0.02).smallest_detectable(0.05)
    loss = estimate(-0.02)
    assert (
        judge({0: CutFamily([ComparedCut(2, loss, BEATS)], BEATS)}, margin=0.031)[0][0].word
        == "good enough"
    )


def test_no_reference_no_verdict() -> None:
    cut = ComparedCut(2, estimate(0.0), BEATS)
    weak = BEATS | {"tfidf": estimate(0.005)}
    verdict = one(cut, weak)
    assert verdict.word == "no reference"
    assert verdict.reason.startswith(
        "full depth against TF-IDF: +0.5 (-0.5 to +1.5) points, not shown to be better (p = 0.1"
    )
    assert verdict.p == weak["tfidf"].p_above(0) > 0.15
    beaten = one(ComparedCut(2, estimate(0.0), weak))
    assert beaten.word == "not shown to beat TF-IDF"
    assert beaten.reason.startswith("keep 2 against TF-IDF: +0.5 (-0.5 to +1.5) points, not shown")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("majority", "the majority class"),
        ("tfidf", "TF-IDF"),
        ("embeddings", "the mean of the embeddings"),
    ],
)
def test_a_cut_that_is_surely_worse_is_called_so_whatever_it_beats(name: str, said: str) -> None:
    """The word hid a certain loss where a baseline was not shown to be beaten."""
    weak = BEATS | {name: estimate(0.005)}
    lost = ComparedCut(2, estimate(-0.1), weak)
    for verdict in (one(lost), one(lost, weak), one(ComparedCut(2, estimate(-0.1), BEATS), weak)):
        assert verdict.word == "worse"
        assert verdict.reason.startswith("a loss of more than 2 points is shown (p = ")
        assert f" against {said}: +0.5 (-0.5 to +1.5) points" in verdict.reason
    assert one(lost, {}).word == "worse"
    assert one(ComparedCut(2, estimate(-0.02), weak)).word == f"not shown to beat {said}"


def test_a_loss_is_shown_where_the_interval_beside_it_shows_it() -> None:
    """A line that says worse and has the margin inside its interval contradicts itself."""
    for loss in (-0.031, -0.032, -0.033, -0.034):
        cut = ComparedCut(2, estimate(loss), BEATS)
        assert (one(cut).word == "worse") == (cut.loss.high < -0.02)
    assert estimate(-0.031).p_below(-0.02) < 0.05


def test_no_word_says_what_was_not_shown() -> None:
    """What is not beaten at the level may be far below the cut all the same."""
    wide = BEATS | {"tfidf": estimate(0.047, sd=0.04)}
    verdict = one(ComparedCut(2, estimate(-0.01), wide))
    assert verdict.word == "not shown to beat TF-IDF"
    assert "keep 2 against TF-IDF: +4.7 (-3.7 to +13.1) points" in verdict.reason


def test_worse_is_said_wrongly_once_in_forty_at_most() -> None:
    """Of cuts that lose the margin, whether or not the baselines are beaten."""
    rng = np.random.default_rng(0)
    plain = estimate(0.0)
    words = []
    for off, near in plain.se * rng.standard_t(plain.df, (1500, 2)):
        over = BEATS | {"tfidf": estimate(near)}
        words.append(one(ComparedCut(2, estimate(-0.02 + off), over)).word)
    assert 0.012 < words.count("worse") / 1500 < 0.04


def test_a_baseline_that_is_absent_or_has_few_seeds_is_no_reference() -> None:
    """Those that are there were beaten by far: the best of all may not be among them."""
    fewer = {name: over for name, over in BEATS.items() if name != "tfidf"}
    thin = BEATS | {"tfidf": estimate(0.1, seeds=2)}
    cut = ComparedCut(2, estimate(0.0), BEATS)
    said = {
        "full depth was not compared with the majority class, TF-IDF, the mean of the embeddings": (
            one(cut, {})
        ),
        "full depth was not compared with TF-IDF": one(cut, fewer),
        "full depth was compared with TF-IDF on fewer than 3 seeds": one(cut, thin),
        "keep 2 was not compared with TF-IDF": one(ComparedCut(2, estimate(0.0), fewer)),
        "keep 2 was compared with TF-IDF on fewer than 3 seeds": one(
            ComparedCut(2, estimate(0.0), thin)
        ),
    }
    for reason, verdict in said.items():
        assert (verdict.word, verdict.reason, verdict.p) == ("no reference", reason, 1)


def test_a_gate_has_no_more_than_its_family_s_share_of_the_level() -> None:
    """p = 0.03 beats a baseline where one family is judged, not where three are."""
    barely = BEATS | {"tfidf": estimate(0.01)}
    sure = ComparedCut(4, estimate(0.0, sd=0.001), BEATS)
    for cut, over, word in [
        (sure, barely, "no reference"),
        (ComparedCut(4, sure.loss, barely), BEATS, "not shown to beat TF-IDF"),
    ]:
        alone = one(cut, over)
        assert alone.word == "good enough"
        assert alone.p == pytest.approx(0.03, abs=0.001)
        hopeless = CutFamily([ComparedCut(2, estimate(-0.1), BEATS)], BEATS)
        family = CutFamily([cut, ComparedCut(2, sure.loss, BEATS)], over)
        deep, shallow = judge({0: family, 1: hopeless, 2: hopeless})[0]
        assert deep.word == word
        assert "not shown to be better (p = 0.03, level 0.017)" in deep.reason
        assert shallow.word == ("no reference" if over is barely else "cannot tell")


def test_reports_whose_full_depth_beats_nothing_keep_the_level() -> None:
    """Twelve families, no better than TF-IDF: 5 % a gate would err in half of the reports."""
    rng = np.random.default_rng(0)
    sure = estimate(0.0, sd=0.001)
    wrong = 0
    for errors in 0.005 * rng.standard_t(sure.df, (400, 12)):
        families = {}
        for key, error in enumerate(errors):
            over = BEATS | {"tfidf": estimate(error)}
            families[key] = CutFamily([ComparedCut(2, sure, over)], over)
        wrong += any(found[0].word == "good enough" for found in judge(families).values())
    assert 0.02 < wrong / 400 < 0.08


def test_the_baseline_named_is_the_hardest_to_beat() -> None:
    assert unbeaten({"a": estimate(0.0), "b": estimate(-0.01), "c": estimate(0.1)}) == "b"
    assert unbeaten(BEATS) is None


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_no_verdict(seeds: int) -> None:
    for loss in (0.0, -0.2):
        verdict = one(ComparedCut(2, estimate(loss, seeds=seeds), BEATS))
        assert verdict.word == "cannot tell"
        assert verdict.reason == f"a verdict needs 3 seeds, and has {seeds}"
        assert verdict.p == 1


def test_the_first_depth_that_fails_stops_the_shallower_ones() -> None:
    losses = {1: -0.06, 2: 0.0, 4: -0.02, 8: 0.0, 12: 0.0}
    cuts = [ComparedCut(keep, estimate(loss), BEATS) for keep, loss in losses.items()]
    verdicts = judge({"trec": CutFamily(cuts, BEATS)})["trec"]
    assert [(each.keep, each.word) for each in verdicts] == [
        (12, "good enough"),
        (8, "good enough"),
        (4, "cannot tell"),
        (2, "cannot tell"),
        (1, "worse"),
    ]
    assert verdicts[3].reason.startswith(
        "not tested: the deeper keep 4 was not shown to be good enough; smallest loss that these "
    )


def test_more_families_ask_for_more_evidence() -> None:
    cut, hopeless = ComparedCut(2, estimate(-0.01), BEATS), ComparedCut(2, estimate(-0.1), BEATS)
    assert one(cut).word == "good enough"
    families = {mode: CutFamily([hopeless], BEATS) for mode in ("cls", "p-cls")}
    verdicts = judge({"lm": CutFamily([cut], BEATS)} | families)
    assert verdicts["lm"][0].word == "cannot tell"
    assert verdicts["lm"][0].level == pytest.approx(0.05 / 3)
    assert verdicts["lm"][0].smallest_margin > one(cut).smallest_margin
    assert [verdicts[mode][0].word for mode in families] == ["worse", "worse"]


def test_two_cuts_of_one_depth_have_no_order() -> None:
    with pytest.raises(ValueError, match="a depth occurs twice"):
        judge({"trec": CutFamily([ComparedCut(2, estimate(0.0)), ComparedCut(2, estimate(0.1))])})


def test_no_families_no_verdicts() -> None:
    assert judge({}) == {}
    assert judge({"trec": CutFamily([])}) == {"trec": []}
