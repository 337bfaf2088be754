"""The learning rate over a run."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import get_scheduler

from slimcls.config import RunConfig
from slimcls.training.learner import rates

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
