"""What a run should not be silent about, and what it should not be troubled with."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.metrics import f1_score

from slimcls.runs.findings import Course, judge_course

#: A run that went well: three classes, a loss that fell, a validation score that no longer rose.
WELL: dict[str, Any] = {
    "classes": [("food", 40), ("travel", 30), ("weather", 30)], "accuracy": 0.8, "low": 0.71,
    "macro_f1": 0.79, "losses": [1.0, 0.6, 0.3], "guessing": 1.0986, "converged": True, "lr": 3e-4,
}  # fmt: skip


def judged(**more: Any) -> str:
    return judge_course(Course(**(WELL | more)))


def test_a_run_that_went_well_says_nothing() -> None:
    assert judged() == ""
    assert judged(losses=[0.01]) == ""


@pytest.mark.parametrize(
    "more",
    [
        {"macro_f1": 0.19, "accuracy": 0.4, "low": 0.31},
        {"macro_f1": 0.24, "accuracy": 0.6, "low": 0.5},
        {"macro_f1": 0.5, "accuracy": 0.48, "low": 0.4},
        {"classes": [("food", 95), ("rain", 5)], "accuracy": 0.96, "low": 0.9, "macro_f1": 0.75},
    ],
)
def test_one_answer_for_all_is_as_good(more: dict[str, Any]) -> None:
    share = "0.950" if "classes" in more else "0.400"
    words = f"not shown to be better than always answering food ({share} of the test texts): try "
    assert judged(**more).startswith(words)
    assert ";" not in judged(**more)


def test_the_macro_f1_of_one_answer_is_scikit_learns() -> None:
    course = Course(**WELL)
    truth = [0] * 40 + [1] * 30 + [2] * 30
    assert course.one_answer_f1 == pytest.approx(f1_score(truth, [0] * 100, average="macro"))
    absent = Course(**(WELL | {"classes": [("food", 6), ("rain", 4), ("never", 0)]}))
    expected = f1_score([0] * 6 + [1] * 4, [0] * 10, average="macro")
    assert absent.one_answer_f1 == pytest.approx(expected)


@pytest.mark.parametrize(
    ("losses", "guessing"),
    [
        ([0.70, 0.71, 0.72], 0.0),
        ([0.5, 0.495, 0.51], 1.0986),
        ([1.2, 1.1], 1.0986),
    ],
)
def test_a_loss_that_never_fell(losses: list[float], guessing: float) -> None:
    found = judged(losses=losses, guessing=guessing)
    assert found == (
        f"the training loss never fell ({losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in "
        "the last): try another --lr, such as 0.0001"
    )


def test_a_loss_over_more_than_the_classes_is_held_against_its_beginning_alone() -> None:
    assert judged(losses=[9.0, 4.0, 3.0], guessing=0.0) == ""
    assert judged(losses=[9.0], guessing=0.0) == ""


def test_one_epoch_is_held_against_guessing() -> None:
    assert judged(losses=[0.75], guessing=0.69) == (
        "the training loss (0.750) is no better than guessing (0.690) after one epoch: try more "
        "--epochs or another --lr"
    )


def test_it_ended_before_validation_had_shown_its_end() -> None:
    found = judged(converged=False)
    assert found.startswith("training ended after 3 epochs, too early to show that validation no ")
    assert found.endswith("try --epochs 6")


def test_several_findings_are_one_line() -> None:
    found = judged(macro_f1=0.2, low=0.3, losses=[1.1, 1.1], converged=False)
    assert found.count("; ") == 2 + found.count(" can; ")
    assert "\n" not in found
    for word in ("always answering", "never fell", "too early"):
        assert word in found
