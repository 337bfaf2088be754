"""What a report says of its seeds: planned or not, and whether they chose settings too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reporting.made_study import add_cheap, add_run

from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.report import ReportConfig, report
from slimcls.reporting import study
from slimcls.reporting.seeds import NO_PLAN
from slimcls.runs import choices
from slimcls.runs.choices import Candidate, Choice
from slimcls.runs.plans import PlannedSeeds, keep_plan, planned_seeds

SEEDS = (0, 1, 2)


def make(folder: Path, seeds: tuple[int, ...] = SEEDS) -> Path:
    for seed in seeds:
        for keep in (6, 2):
            add_run(folder, right=0.9, keep=keep, seed=seed, mode="cls")
        add_cheap(folder, seed, mode="cls")
    return folder


def planned(keeps: Sequence[Any], seeds: Sequence[int], **settings: Any) -> list[PlannedSeeds]:
    known = {"dataset": "sst2", "model": "made", "mode": "cls"} | settings
    return planned_seeds(
        RunConfig(**(known | {"keep": keep, "seed": seed})) for keep in keeps for seed in seeds
    )


def plan(folder: Path, *seeds: int) -> None:
    keep_plan(folder, "g", planned(("all", 2), seeds))


def test_seeds_as_planned_are_no_word(tmp_path: Path) -> None:
    plan(make(tmp_path), *SEEDS)
    assert study.read_study(tmp_path).on_seeds == ()


@pytest.mark.usefixtures("undrawn")
def test_seeds_that_were_added_later_are_said(tmp_path: Path) -> None:
    """Whatever the grid's file says now: adding seeds until a verdict appears errs more often."""
    make(tmp_path / "runs", (0, 1, 2, 3, 4))
    plan(tmp_path / "runs", *SEEDS)
    plan(tmp_path / "runs", 0, 1, 2, 3, 4)
    said = (
        "sst2, cls, keep 2; sst2, cls, keep 6: seeds 0, 1, 2, 3, 4 where g planned 0, 1, 2: the "
        "number of seeds was not fixed beforehand"
    )
    assert study.read_study(tmp_path / "runs").on_seeds == (said,)
    page = report(ReportConfig(folder=str(tmp_path / "runs"), out=str(tmp_path / "r")))
    assert f"> {said}\n" in page.read_text()


def test_a_look_before_the_planned_end_is_said(tmp_path: Path) -> None:
    plan(make(tmp_path), *range(10))
    (said,) = study.read_study(tmp_path).on_seeds
    assert said.endswith("a look before the planned end, and each further one adds to the error")


def test_what_no_grid_planned_is_not_held_against_one(tmp_path: Path) -> None:
    make(tmp_path)
    keep_plan(tmp_path, "g", planned([2], [0], dataset="trec"))
    assert study.read_study(tmp_path).on_seeds == ()


def test_rules_for_layers_have_plans_of_their_own(tmp_path: Path) -> None:
    """One rule had ten seeds, the others three, and layers named by hand had two, as planned."""
    make(tmp_path)
    rules: list[tuple[dict[str, Any], int]] = [
        ({"keep": 2, "select": "bi", "layers": [0, 5]}, 10),
        ({"keep": 2, "layers": [1, 4]}, 2),
        ({"keep": 2, "layers": [2, 3]}, 4),
    ]
    plans = planned(("all", 2), SEEDS)
    for rule, seeds in rules:
        more = rule | ({"layers": None} if "select" in rule else {})
        plans += planned([2], range(seeds), **more)
        for seed in range(seeds):
            add_run(tmp_path, right=0.8, seed=seed, mode="cls", **rule)
    keep_plan(tmp_path, "g", plans)
    assert study.read_study(tmp_path).on_seeds == ()
    add_run(tmp_path, right=0.8, seed=4, mode="cls", keep=2, layers=[2, 3])
    (said,) = study.read_study(tmp_path).on_seeds
    assert said.startswith("sst2, cls, layers 2-3, keep 2: seeds 0, 1, 2, 3, 4 where g planned 0,")


def test_ways_of_training_and_models_have_plans_of_their_own(tmp_path: Path) -> None:
    make(tmp_path)
    plans = planned(("all", 2), SEEDS)
    for more in ({"tune": "lora"}, {"max_text_tokens": 9}, {"model": "other"}, {"mode": "lm"}):
        plans += planned(("all", 2), [0, 1], **more)
        for seed in (0, 1):
            for keep in (6, 2):
                filled = {"lm_loss": "label-words"} if "mode" in more else {}
                known = {"mode": "cls", "keep": keep, "seed": seed} | more | filled
                add_run(tmp_path, right=0.8, **known)
    keep_plan(tmp_path, "g", plans)
    assert study.read_study(tmp_path).on_seeds == ()


def test_taught_and_pooled_runs_have_plans_of_their_own(tmp_path: Path) -> None:
    """Three grids in one folder, each run as it was planned, are held against their own."""
    folder = make(tmp_path)
    for seed in SEEDS[:2]:
        add_run(folder, right=0.9, keep=2, seed=seed, mode="cls", pool="mean")
        add_run(
            folder, right=0.9, keep=2, seed=seed, mode="cls", teacher="x", unlabelled="rest",
            taught="taught by 6 layers, cls, all of rest",
        )  # fmt: skip
    keep_plan(folder, "plain", planned(("all", 2), SEEDS))
    keep_plan(folder, "pooled", planned((2,), SEEDS[:2], pool="mean"))
    keep_plan(folder, "taught", planned((2,), SEEDS[:2], teacher="x", unlabelled="rest"))
    assert study.read_study(folder).on_seeds == ()


def test_without_a_plan_it_is_not_known(tmp_path: Path) -> None:
    make(tmp_path / "three")
    make(tmp_path / "two", (0, 1))
    assert study.read_study(tmp_path / "three").on_seeds == (NO_PLAN,)
    assert study.read_study(tmp_path / "two").on_seeds == (), "no verdict rests on two seeds"


def test_plans_of_folders_read_along_count_too(tmp_path: Path) -> None:
    plan(make(tmp_path / "part"), 0, 1)
    (said,) = study.read_study(tmp_path).on_seeds
    assert "where part/g planned 0, 1: the number" in said
    (tmp_path / "part" / "plans" / "g.json").write_text("[[{}]]")
    with pytest.raises(UserError, match=r"g\.json: cannot be read"):
        study.read_study(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_a_seed_that_chose_and_is_reported_is_said(tmp_path: Path) -> None:
    runs = make(tmp_path / "runs")
    plan(runs, *SEEDS)
    tried = [
        add_run(runs, right=0.9, keep=keep, seed=0, mode="cls", lr=1e-2, validation=0.1)
        for keep in (6, 2)
    ]
    read = study.read_study(runs)
    assert read.found.choices["compared on seeds"].tolist() == ["0", "0"]
    assert read.found.choices["reported too"].tolist() == ["0", "0"]
    (said,) = read.on_seeds
    assert said.startswith("the settings of 2 cells were chosen on a seed that is reported too (0)")
    text = report(ReportConfig(folder=str(runs), out=str(tmp_path / "r"))).read_text()
    assert f"> {said}\n" in text
    assert "reported too |" in text
    assert len(tried) == 2


def test_a_seed_that_chose_alone_is_no_word(tmp_path: Path) -> None:
    """The choice was made on seed 7, which is not among those reported."""
    runs = make(tmp_path)
    plan(runs, *SEEDS)
    best = next(runs.glob("sst2-cls-made-k2-s0-*")).name
    candidate = Candidate(best, {"lr": 1e-3}, 0.5)
    choice = Choice(best, {"lr": 1e-3}, "validation_accuracy", (), (candidate,))
    choices.write_choices(runs, "g", [choice])
    read = study.read_study(runs)
    assert read.found.choices["reported too"].tolist() == ["0"]
    elsewhere = read.found.choices.assign(**{"compared on seeds": "7"})
    from slimcls.reporting import seeds

    found = seeds.with_reported(replace(read.found, choices=elsewhere))
    assert found["reported too"].tolist() == [""]
    assert seeds.on_choices(found) == []
