"""Cuts that had not learnt all they could: depth and convergence are told apart, or it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from reporting.made_study import add_run

from slimcls.report import ReportConfig, report
from slimcls.reporting import study
from slimcls.reporting.convergence import convergence, on_convergence

SAID = (
    "3 of 4 runs of cuts ended before validation had stopped improving (1 of 2 at full depth): "
    "depth is confounded with convergence, longer runs may lose less"
)


def make(out: Path, late: int) -> Path:
    """Two seeds at depths 6, 2 and 1; of the four runs of cuts ``late`` were best at the end."""
    for seed in (0, 1):
        add_run(out, right=0.9, keep=6, seed=seed, best_epoch=2 + seed)
    for place, (keep, seed) in enumerate([(2, 0), (2, 1), (1, 0), (1, 1)]):
        made = add_run(out, right=0.8, keep=keep, seed=seed, best_epoch=3 if place < late else 1)
        losses = f"1,{place + 2}\n2,0.{place + 1}\n"
        (made / "curves.csv").write_text("epoch,train_loss\n" + losses)
    return out


@pytest.mark.usefixtures("undrawn")
def test_cuts_that_ended_too_early_are_said(tmp_path: Path) -> None:
    runs = make(tmp_path / "runs", late=3)
    assert on_convergence(study.read_study(runs).found.runs) == [SAID]
    text = report(ReportConfig(folder=str(runs), out=str(tmp_path / "r"))).read_text()
    assert f"> {SAID}\n" in text


def test_cuts_that_had_come_to_an_end_are_no_word(tmp_path: Path) -> None:
    assert on_convergence(study.read_study(make(tmp_path, late=1)).found.runs) == []


def test_one_epoch_says_nothing_of_convergence(tmp_path: Path) -> None:
    runs = study.read_study(make(tmp_path, late=4)).found.runs
    assert on_convergence(runs.assign(epochs_run=1, best_epoch=1)) == []


@pytest.mark.usefixtures("undrawn")
def test_what_a_run_says_against_itself_is_in_the_notes(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for seed in range(5):
        add_run(runs, right=0.8, keep=6, seed=seed, warnings=f"the loss never fell ({seed})")
    text = report(ReportConfig(folder=str(runs), out=str(tmp_path / "r"))).read_text()
    assert text.count(": the loss never fell (") == 3
    assert "> 2 more runs have warnings\n" in text


def test_each_cell_has_its_last_loss_where_there_are_curves(tmp_path: Path) -> None:
    table = convergence(study.read_study(make(tmp_path, late=3))).set_index("kept")
    assert table["ended too early"].to_dict() == {1: "1 of 2", 2: "2 of 2", 6: "1 of 2"}
    assert table["training loss at the end"].to_dict() == {
        1: "0.35 (0.30 to 0.40)",
        2: "0.15 (0.10 to 0.20)",
        6: "",
    }
