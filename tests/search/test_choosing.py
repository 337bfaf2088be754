"""Which candidate is handed over, by what validation texts show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from slimcls.kinds import CHEAP
from slimcls.search.answer import Candidate
from slimcls.search.candidates import Tried, loss_of
from slimcls.search.choosing import best_of, choose, may_lose
from slimcls.search.confirming import _verdict, sides_of
from slimcls.search.settings import FitConfig
from slimcls.statistics import SeedItems, paired_difference

ITEMS = 1000


def right(count: int, first: int = 0) -> SeedItems:
    """Right on ``count`` items from ``first`` on, of all."""
    correct = np.zeros(ITEMS, bool)
    correct[first : first + count] = True
    return SeedItems(1, np.arange(ITEMS), correct)


def tried(name: str, count: int, megabytes: float, ms: float = 1.0, layers: int = 1) -> Tried:
    answers = right(count)
    kind: Any = "rival" if name in CHEAP.values() else "cut"
    candidate = Candidate(
        name=name,
        kind=kind,
        layers=None if kind == "rival" else layers,
        accuracy=count / ITEMS,
        low=0.0,
        high=1.0,
        megabytes=megabytes,
        milliseconds=ms,
    )
    return Tried(candidate, answers)


def fit(**settings: Any) -> FitConfig:
    return FitConfig(dataset="trec", **settings)


MAJORITY = tried("majority class", 300, 0.002, 0.05)
VECTORS = tried("mean of the embeddings", 790, 60.0, 0.6)
WORDS = tried("TF-IDF", 800, 2.0, 0.5)
TWO = tried("2 of 30 layers", 940, 145.0, 8.0, 2)
EIGHT = tried("8 of 30 layers", 952, 230.0, 20.0, 8)
ALL = tried("all 30 layers", 955, 540.0, 60.0, 30)
EVERY = [MAJORITY, WORDS, VECTORS, ALL, EIGHT, TWO]


def test_of_one_size_the_more_accurate_is_taken_whatever_was_timed() -> None:
    slower = tried("8 of 30 layers", 954, 230.0, 21.0, 8)
    quicker = tried("8 of 30 layers, frozen", 950, 230.0, 19.0, 8)
    for some in ([quicker, slower, ALL], [slower, quicker, ALL]):
        assert choose(some, fit(max_loss=3.0)).chosen.candidate.name == "8 of 30 layers"


def test_the_smallest_that_loses_little_enough_is_taken() -> None:
    found = choose(EVERY, fit(max_loss=3.0))
    assert found.chosen.candidate.name == "2 of 30 layers"
    assert found.best.candidate.name == "all 30 layers"
    assert choose(EVERY, fit(max_loss=1.0)).chosen.candidate.name == "8 of 30 layers"
    assert choose(EVERY, fit(max_loss=0.1)).chosen.candidate.name == "all 30 layers"
    assert choose(EVERY, fit(max_loss=30.0)).chosen.candidate.name == "TF-IDF"


def test_it_is_the_bound_that_decides_and_not_the_estimate() -> None:
    loss, high = loss_of(TWO.answers, ALL.answers)
    assert loss == pytest.approx(0.015)
    low, _ = paired_difference([TWO.answers], [ALL.answers]).interval(0.9)
    assert high == pytest.approx(-low, abs=0.002)
    assert not may_lose(TWO, ALL, 100 * loss)
    assert may_lose(TWO, ALL, 100 * high + 1e-9)


def test_a_rival_that_is_as_good_wins() -> None:
    words = tried("TF-IDF", 955, 2.0)
    found = choose([words, ALL, EIGHT, TWO], fit())
    assert found.chosen.candidate.name == found.best.candidate.name == "TF-IDF"
    assert found.deepest is not None
    assert found.deepest.candidate.name == "all 30 layers"


@pytest.mark.parametrize(
    ("majority", "words", "vectors", "chosen"),
    [
        (953, 954, 951, "majority class"),
        (950, 952, 951, "TF-IDF"),
        (900, 952, 951, "TF-IDF"),
        (900, 900, 951, "mean of the embeddings"),
        (900, 900, 890, "all 30 layers"),
    ],
)
def test_any_cheap_rival_that_is_as_good_wins(
    majority: int, words: int, vectors: int, chosen: str
) -> None:
    cheap = [
        tried("majority class", majority, 0.002),
        tried("TF-IDF", words, 2.0),
        tried("mean of the embeddings", vectors, 60.0),
    ]
    found = choose([*cheap, ALL], fit(max_loss=2.0))
    assert found.chosen.candidate.name == chosen
    names = [one.candidate.name for one in sides_of(found)]
    assert names[0] == chosen
    assert names[chosen != "all 30 layers"] == "all 30 layers"
    assert set(names) >= set(CHEAP.values())
    assert len(names) == len(set(names)) == 4


def test_one_answer_for_all_is_no_nearest_one() -> None:
    """Where limits leave it alone, what has learnt something is handed over, and it is said."""
    found = choose(EVERY, fit(max_mb=1.0))
    assert found.chosen.candidate.name == "TF-IDF"
    assert found.obstacle == "no candidate is within --max-mb 1"


def test_of_equally_good_ones_the_smallest_is_the_best() -> None:
    assert best_of([ALL, tried("other", 955, 9.0)]).candidate.name == "other"


def test_marks_say_who_is_what() -> None:
    found = choose(EVERY, fit(max_loss=3.0, max_mb=200.0))
    marks = {one.candidate.name: one.candidate for one in found.tried}
    assert [name for name, one in marks.items() if one.chosen] == ["2 of 30 layers"]
    assert [name for name, one in marks.items() if one.reference] == ["all 30 layers"]
    assert marks["8 of 30 layers"].excluded == "over --max-mb 200"
    assert marks["all 30 layers"].loss == 0
    assert marks["TF-IDF"].loss == pytest.approx(0.155)
    assert not found.obstacle


def test_where_limits_leave_too_little_the_nearest_is_taken() -> None:
    found = choose(EVERY, fit(max_loss=1.0, max_mb=200.0))
    assert found.chosen.candidate.name == "2 of 30 layers"
    assert found.obstacle == "no candidate within --max-mb 200 was shown to lose under 1 points"
    found = choose(EVERY, fit(max_ms=0.1, max_mb=1.0))
    assert found.chosen.candidate.name == "TF-IDF"
    assert found.obstacle == "no candidate is within --max-mb 1 and --max-ms 0.1"


def test_one_answer_is_not_taken_for_a_rare_class_that_another_finds() -> None:
    """It loses under two points, as any would where one text in a hundred is what is looked for."""
    words, guess = tried("TF-IDF", 997, 2.0), tried("majority class", 990, 0.002)
    found = choose([guess, words], fit(max_loss=2.0))
    assert may_lose(guess, words, 2.0)
    assert found.chosen.candidate.name == "TF-IDF"
    assert not found.obstacle
    vague = tried("TF-IDF", 993, 2.0)
    assert choose([guess, vague], fit(max_loss=2.0)).chosen.candidate.name == "majority class"


def test_with_limits_that_nothing_meets_the_nearest_is_by_what_is_limited() -> None:
    small, quick = tried("a", 900, 1.0, 30.0), tried("b", 900, 500.0, 5.0)
    assert choose([small, quick], fit(max_ms=4.0)).chosen.candidate.name == "b"
    assert choose([small, quick], fit(max_mb=0.5)).chosen.candidate.name == "a"
    assert choose([small, quick], fit(max_mb=0.5, max_ms=4.0)).chosen.candidate.name == "a"


@pytest.mark.parametrize("items", [13, 140, 300])
def test_the_bound_is_exact_where_few_texts_differ(items: int) -> None:
    """One more mistake never loosens it, and no order of the texts matters."""
    best = SeedItems(1, np.arange(items), np.ones(items, bool))
    highs = []
    for mistakes in (0, 1, 3):
        correct = np.arange(items) >= mistakes
        loss, high = loss_of(SeedItems(1, np.arange(items)[::-1], correct[::-1]), best)
        assert loss == pytest.approx(mistakes / items)
        # Nothing is won: the bound of Clopper and Pearson, with a thousandth for what may be.
        assert high == pytest.approx(beta.isf(0.049, mistakes + 1, items - mistakes), rel=0.01)
        highs.append(high)
    assert highs == sorted(highs)


def test_one_training_a_side_is_judged_by_its_texts_alone() -> None:
    """Three lost and none won of 300: exact, not by a normal curve that three texts do not have."""
    best = SeedItems(1, np.arange(300), np.ones(300, bool))
    for mistakes, verdict in ((0, "good enough"), (3, "cannot tell"), (30, "worse")):
        mine = SeedItems(1, np.arange(300), np.arange(300) >= mistakes)
        found = _verdict([mine], [best], paired_difference([mine], [best]), 0.02)
        assert found == verdict, mistakes
