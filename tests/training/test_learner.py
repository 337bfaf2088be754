"""The learning rate over a run, and the score that picks its best epoch."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import get_scheduler

from slimcls.config import RunConfig
from slimcls.training import stopping
from slimcls.training.learner import Learner, rates

THEIRS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


@pytest.mark.parametrize("schedule", THEIRS)
@pytest.mark.parametrize("warmup", [0, 0.06, 0.5, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 7, 50, 333])
def test_schedules_are_those_of_transformers(schedule: str, warmup: float, steps: int) -> None:
    config = RunConfig(dataset="trec", warmup=warmup, schedule=schedule, lr=3e-4)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=3e-4)
    theirs = get_scheduler(THEIRS[schedule], optimizer, math.ceil(warmup * steps), steps)
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert rates(config, steps, steps) == expected


def test_a_warm_up_is_a_share_or_a_number_of_steps() -> None:
    def warm(steps: int, **settings: float) -> int:
        return stopping.warm_steps(RunConfig(dataset="trec", **settings), steps)

    assert (warm(1000), warm(70), warm(1)) == (50, 7, 1)
    assert (warm(1000, warmup=0), warm(1000, warmup=0.3), warm(1000, warmup=7)) == (0, 300, 7)


def test_patience_has_a_hundred_steps_where_nobody_says() -> None:
    usual, own = RunConfig(dataset="trec"), RunConfig(dataset="trec", patience=2)
    assert [stopping.patience(usual, steps) for steps in (1, 6, 25, 26, 900)] == [100, 17, 4, 4, 4]
    assert stopping.patience(own, 6) == 2


def test_steps_are_whole_epochs() -> None:
    config = RunConfig(dataset="trec", epochs=9, steps=21)
    assert [stopping.most_epochs(config, steps) for steps in (1, 7, 10, 50)] == [9, 3, 3, 1]


def test_equal_scores_of_several_depths_are_equal_whatever_the_order() -> None:
    """Their mean is a sum of fractions: the last bit is no better epoch."""
    scores = [
        SimpleNamespace(
            config=SimpleNamespace(monitor="accuracy"),
            validation=[(right / 500, 0.0) for right in depths],
        )
        for depths in ((426, 424, 407), (428, 423, 406))
    ]
    first, second = (Learner.monitored.fget(one) for one in scores)  # type: ignore[attr-defined]
    assert first == second == pytest.approx(0.838)
