"""Plans: what a grid meant to run, kept from its first start on."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.runs.plans import PlannedSeeds, keep_plan, planned_seeds, read_plans


def runs(keep: int | str, *seeds: int) -> list[RunConfig]:
    return [RunConfig(dataset="trec", mode="cls", keep=keep, seed=seed) for seed in seeds]  # type: ignore[arg-type]


def test_seeds_go_by_task_mode_and_depth() -> None:
    assert planned_seeds([*runs("all", 0, 1, 2), *runs(2, 4, 3, 0, 1, 2)]) == [
        PlannedSeeds("trec", "cls", "all", (0, 1, 2)),
        PlannedSeeds("trec", "cls", 2, (0, 1, 2, 3, 4)),
    ]
    named = RunConfig(dataset="trec", mode="cls", layers=[0, 5], seed=7)
    assert planned_seeds([named]) == [PlannedSeeds("trec", "cls", 2, (7,))]


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


@pytest.mark.parametrize("text", ["no json", "{}[", "[[{}]]", '[[{"seeds": 3}]]', "3"])
def test_a_damaged_plan_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "g.json").write_text(text)
    with pytest.raises(UserError, match=r"g\.json: cannot be read"):
        read_plans(tmp_path)
