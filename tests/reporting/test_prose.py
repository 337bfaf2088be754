"""What a report and a notebook say first is computed from the runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from reporting.made_study import add_cheap, add_run, make_cuts, make_study

from slimcls.reporting import prose
from slimcls.reporting.study import Study, read_study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return read_study(make_study(tmp_path_factory.mktemp("runs")))


def test_it_names_model_texts_and_seeds(made: Study) -> None:
    shots = made.found.runs.shots.iloc[0]
    assert prose.setting(made) == f"made, {shots} texts a class, seeds 0, 1, 2"


def test_each_task_and_mode_has_its_paragraph(made: Study) -> None:
    plain, prompted = prose.answers(made)
    assert plain.startswith("**sst2, cls.** All 6 layers are right on 0.855 (")
    assert "The smallest cut that is good enough keeps 1 layer and saves 71.4% of" in plain
    assert "Good enough: 1 layer +0.0 (" in plain
    assert (
        "Rivals: TF-IDF 0.600, the mean of the embeddings 0.550, the majority class 0.500" in plain
    )
    assert "keeps 3 layers and saves 42.9%" in prompted
    assert "Shown to lose more than 2 points: 1 layer -10.0 (" in prompted


def test_what_cannot_be_told_and_what_has_no_full_depth(tmp_path: Path) -> None:
    for seed, right in enumerate((0.86, 0.90, 0.94)):
        add_run(tmp_path / "runs", right=0.9, keep=6, seed=seed, mode="cls")
        add_run(tmp_path / "runs", right=right, keep=2, seed=seed, mode="cls")
        add_run(tmp_path / "runs", right=0.9, keep=2, seed=seed, mode="lm")
        add_cheap(tmp_path / "runs", seed, mode="cls")
    unsure, alone = prose.answers(read_study(tmp_path / "runs"))
    assert "No cut is shown to be good enough at a margin of 2 points." in unsure
    assert "What the runs cannot tell: 2 layers +0.0 (" in unsure
    assert "could have been shown." in unsure
    assert "No cut has a run at full depth" in alone


def test_names_are_no_mark_up(tmp_path: Path) -> None:
    for keep in (6, 2):
        for seed in range(3):
            add_run(
                tmp_path / "runs", right=0.9, keep=keep, seed=seed, mode="cls", dataset="a*b*.csv"
            )
    (said,) = prose.answers(read_study(tmp_path / "runs"))
    assert r"a\*b\*" in said


def test_rules_stand_beside_the_first_layers(tmp_path: Path) -> None:
    compared = read_study(make_cuts(tmp_path / "runs")).compared
    (said,) = prose.against_first(compared.selections)
    above, _, below = said.partition(" Below: ")
    assert above.startswith("**sst2, cls, 2 layers, against the first.** Above: even +0.5 (")
    assert below.startswith("bi -5.0 (")
    assert "layers 2-3 -20.0 (" in below
    assert "No difference is shown" not in said
    none = compared.selections.assign(low=-1.0, high=1.0)
    (unsure,) = prose.against_first(none)
    assert "No difference is shown: bi -5.0 (" in unsure
