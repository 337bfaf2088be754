"""What a cell takes: as those like it, or by the line through other depths."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from slimcls.config import RunConfig
from slimcls.grids.board import taking, time_left
from slimcls.grids.ledger import TimeLeft
from slimcls.grids.timing import Times, Took, at_depth, cost_of


def run(keep: int = 2, **more: Any) -> RunConfig:
    layers = more.pop("layers", list(range(keep)))
    return RunConfig(**{"dataset": "sst2", "mode": "cls", "keep": keep, "layers": layers} | more)


def times(*finished: tuple[RunConfig, float]) -> Times:
    results: Any = [
        SimpleNamespace(config=config, outcome=SimpleNamespace(total_seconds=seconds))
        for config, seconds in finished
    ]
    return Times(results)


def test_as_the_median_of_those_alike() -> None:
    known = times((run(seed=0), 10.0), (run(seed=1, lr=1e-3), 14.0), (run(seed=2), 30.0))
    assert known.of(cost_of(run(seed=5))) == Took(14.0, estimated=False)


def test_by_the_line_through_other_depths() -> None:
    known = times((run(2), 10.0), (run(8), 22.0), (run(8, seed=1), 24.0), (run(8, seed=2), 20.0))
    assert known.of(cost_of(run(5))) == Took(pytest.approx(16.0), estimated=True)
    assert known.of(cost_of(run(30))) == Took(pytest.approx(66.0), estimated=True)
    assert known.of(cost_of(run(1))) == Took(pytest.approx(8.0), estimated=True)
    other = cost_of(run(2, layers=[0, 5]))
    assert known.of(other) == Took(10.0, estimated=True), "another cut of the same depth"


def test_nothing_tells_of_what_is_not_alike() -> None:
    known = times((run(2), 10.0), (run(8), 22.0))
    for more in ({"mode": "p-cls"}, {"dataset": "trec"}, {"shots": 50}, {"epochs": 9}):
        assert known.of(cost_of(run(5, **more))) is None
    assert known.of(None) is None
    assert times().of(cost_of(run())) is None


def test_one_depth_tells_of_others_by_their_layers() -> None:
    assert at_depth({4: 20.0}, 2) == 10.0
    assert at_depth({4: 20.0}, 30) == 150.0


def test_no_line_makes_a_deeper_run_shorter_or_any_run_nothing() -> None:
    noisy = {4: 20.0, 8: 12.0}
    assert at_depth(noisy, 30) == 12.0
    assert at_depth(noisy, 8) == 12.0
    steep = {8: 10.0, 9: 30.0}
    assert at_depth(steep, 4) == 5.0, "half of what eight layers take, where the line says -70"


def test_an_estimate_is_called_one() -> None:
    assert [taking(took) for took in (None, Took(90, False), Took(90, True))] == [
        "unknown", "90 s", "about 90 s",
    ]  # fmt: skip
    left = TimeLeft(120.0, unknown=1, estimated=True)
    assert time_left(left, 5) == (
        "time left: about 2 min (estimated from cells of other depths) and 1 cell of unknown time"
    )
    assert time_left(TimeLeft(90.0, unknown=0, estimated=False), 5) == "time left: about 90 s"
    assert time_left(TimeLeft(0.0, unknown=5, estimated=False), 5) == "time left: unknown"
