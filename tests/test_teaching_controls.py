"""The grid of controls of taught cuts."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, load_script
from test_configs import names_of

from slimcls.errors import UserError
from slimcls.grids import definition
from slimcls.runs.results import read_result

TAUGHT, STEPS = (ROOT / "results" / "teaching" / name for name in ("taught", "steps"))


teaching_controls = load_script("teaching_controls")


def test_they_are_the_runs_that_are_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teaching_controls.main([str(TAUGHT)]) == 0
    path = tmp_path / "controls.yaml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    cells = [cell.run for cell in definition.read_grid(str(path)).cells]
    assert len(cells) == len(list(TAUGHT.iterdir()))
    stored = [result for path in STEPS.iterdir() if (result := read_result(path))]
    prints = {
        one.config.dataset: {"source": one.source_fingerprint, "data": one.data_fingerprint}
        for one in stored
    }
    named = {name for run in cells for name in names_of(run, prints[run.dataset])}
    assert {one.folder.name for one in stored} <= named


def test_without_taught_runs_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"steps: no finished run in it has learnt from a teacher"):
        teaching_controls.main([str(STEPS)])
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        teaching_controls.main([str(tmp_path / "nowhere")])
