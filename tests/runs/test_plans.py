"""Plans: what a grid meant to run, kept from its first start on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.runs.plans import PlannedSeeds, keep_plan, planned_seeds, read_plans


def runs(keep: int | str, *seeds: int) -> list[RunConfig]:
    return [RunConfig(dataset="trec", mode="cls", keep=keep, seed=seed) for seed in seeds]  # type: ignore[arg-type]


def seeds_of(plan: list[PlannedSeeds], *names: str) -> dict[tuple[object, ...], tuple[int, ...]]:
    """The planned seeds by some of their settings."""
    return {tuple(one.settings.get(name) for name in names): one.seeds for one in plan}


def test_seeds_go_by_all_that_tells_cells_apart() -> None:
    plan = planned_seeds([*runs("all", 0, 1, 2), *runs(2, 4, 3, 0, 1, 2)])
    assert seeds_of(plan, "dataset", "model", "mode", "keep") == {
        ("trec", "gpt2-xl", "cls", "all"): (0, 1, 2),
        ("trec", "gpt2-xl", "cls", 2): (0, 1, 2, 3, 4),
    }
    shared = {"dataset": "trec", "mode": "cls"}
    others: list[dict[str, Any]] = [
        {"keep": 2}, {"keep": 2, "select": "bi"}, {"layers": [0, 5]}, {"layers": [1, 5]},
        {"keep": 2, "model": "opt-1.3b"}, {"keep": 2, "shots": 9}, {"keep": 2, "tune": "lora"},
    ]  # fmt: skip
    plan = planned_seeds(RunConfig(**shared, **one, seed=n) for n, one in enumerate(others))
    assert [one.seeds for one in plan] == [(n,) for n in range(len(others))]


def test_what_changes_nothing_of_a_cell_tells_none_apart() -> None:
    shared = {"dataset": "trec", "mode": "cls", "keep": 2}
    others: list[dict[str, Any]] = [
        {}, {"lr": 1e-4}, {"precision": "bf16"}, {"out": "x"}, {"layers": [0, 1]},
    ]  # fmt: skip
    plan = planned_seeds(RunConfig(**shared, **one, seed=n) for n, one in enumerate(others))
    assert [one.seeds for one in plan] == [(0, 1, 2, 3, 4)]


def test_what_was_planned_first_stays(tmp_path: Path) -> None:
    """More seeds after a look at the first ones were not planned, whatever the file says now."""
    assert read_plans(tmp_path) is None
    first, more = planned_seeds(runs(2, 0, 1, 2)), planned_seeds(runs(2, *range(10)))
    for plan in (first, first, more):
        keep_plan(tmp_path, "study", plan)
    keep_plan(tmp_path, "other", more)
    assert read_plans(tmp_path) == {"other": more, "study": first}
    content = (tmp_path / "plans" / "study.json").read_text()
    assert content.count('"seeds"') == 2
    keep_plan(tmp_path, "study", more)
    assert (tmp_path / "plans" / "study.json").read_text() == content


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "{}[",
        "[[{}]]",
        '[[{"seeds": 3}]]',
        "3",
        "[" * 50_000,
        '[[{"settings": {"zz": 1}, "seeds": [1]}]]',
        '[[{"seeds": [0], "seeds": [0, 1]}]]',
        '[[{"dataset": "trec", "mode": "cls", "keep": 2, "seeds": [0]}]]',
    ],
)
def test_a_damaged_plan_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "g.json").write_text(text)
    with pytest.raises(UserError, match=r"g\.json: cannot be read"):
        read_plans(tmp_path)
