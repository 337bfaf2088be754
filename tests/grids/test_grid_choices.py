"""Settings are chosen on validation data alone, the same way whoever asks, in whatever order."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcls.errors import UserError
from slimcls.runs.choices import Candidate, Choice, choose_best, read_choices, write_choices


def candidates(*scores: float | None, rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)):
    pairs = zip(rates, scores, strict=True)
    return [Candidate(f"run{rate}", {"lr": rate}, score) for rate, score in pairs]


def chosen(*args: float | None) -> Choice:
    found = choose_best(candidates(*args), "validation_accuracy")
    assert found is not None
    return found


def test_the_best_on_validation_data():
    choice = chosen(0.5, 0.9, 0.7)
    assert (choice.run, choice.settings) == ("run0.0003", {"lr": 3e-4})
    assert choice.edge == ()
    assert choice.rejected == {"run0.0001", "run0.001"}


def test_a_choice_at_either_end_of_the_search_is_flagged():
    assert chosen(0.9, 0.5, 0.7).edge == ("lr",)
    assert chosen(0.5, 0.7, 0.9).edge == ("lr",)


def test_a_candidate_that_diverged_loses_but_counts_as_searched():
    choice = chosen(0.5, 0.9, None)
    assert choice.settings == {"lr": 3e-4}
    assert choice.edge == (), "1e-3 was searched: it is worse"
    assert chosen(None, None, 0.1).settings == {"lr": 1e-3}
    assert choose_best(candidates(None, None, None), "validation_accuracy") is None


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=4, max_size=4), st.randoms())
def test_ties_and_order_do_not_matter(scores, chance):
    pairs = list(itertools.product([1e-4, 1e-3], [2, 10]))
    every = [
        Candidate(f"r{lr}-{epochs}", {"lr": lr, "epochs": epochs}, score)
        for (lr, epochs), score in zip(pairs, scores, strict=True)
    ]
    mixed = list(every)
    chance.shuffle(mixed)
    one, other = (
        choose_best(every, "validation_accuracy"),
        choose_best(mixed, "validation_accuracy"),
    )
    assert one is not None
    assert other is not None
    assert one.run == other.run
    tied = [c.settings for c in every if c.score == max(scores)]
    assert one.settings == min(tied, key=lambda s: tuple(s.values())), "2 before 10, as numbers"


def test_settings_without_an_order_have_no_edge():
    some = [Candidate(name, {"schedule": name}, score) for name, score in
            (("constant", 0.2), ("linear", 0.9))]  # fmt: skip
    choice = choose_best(some, "validation_accuracy")
    assert choice is not None
    assert choice.edge == ()


def test_what_is_written_is_read(tmp_path: Path):
    one, other = chosen(0.5, 0.9, None), chosen(0.9, 0.9, 0.1)
    write_choices(tmp_path, "a", [one, other])
    write_choices(tmp_path, "b", [one])
    assert read_choices(tmp_path) == [one, other, one]
    written = (tmp_path / "choices" / "a.json").stat().st_mtime_ns
    write_choices(tmp_path, "a", [one, other])
    assert (tmp_path / "choices" / "a.json").stat().st_mtime_ns == written, "nothing new"
    assert read_choices(tmp_path / "nothing") == []


def test_a_damaged_file_is_named(tmp_path: Path):
    write_choices(tmp_path, "a", [chosen(0.5, 0.9, 0.1)])
    (tmp_path / "choices" / "a.json").write_text("[{}]", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.json: cannot be read"):
        read_choices(tmp_path)
