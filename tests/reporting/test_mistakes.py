"""Where cuts err: each item and seed counts once."""

from __future__ import annotations

from pathlib import Path

from reporting.made_study import ITEMS, add_run

from slimcls.reporting.mistakes import exchanged, lost_items
from slimcls.reporting.study import read_study


def test_items_are_lost_against_the_full_depth_that_labels_taught(tmp_path: Path) -> None:
    """A full depth that was taught stands beside it, and is no second one to lose against."""
    for seed in (0, 1):
        add_run(tmp_path, right=0.9, keep=6, seed=seed)
        add_run(tmp_path, right=0.8, keep=2, seed=seed)
        add_run(tmp_path, right=0.95, keep=6, seed=seed, taught="by x", teacher="x")
        add_run(tmp_path, right=0.8, keep=2, seed=seed, dataset="trec")
    study = read_study(tmp_path)
    (line,) = study.found.runs.query("task == 'sst2' and keep == 2").line.unique()
    found = lost_items(study, "sst2", line, 2)
    assert found.lost.sum() == round(0.1 * ITEMS) * 2
    assert set(found.compared) == {2}
    assert exchanged(study).query("keep == 2").only_full.sum() == found.lost.sum()
