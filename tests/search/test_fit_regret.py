"""What a fit's choice is held against: every depth that it might have tried."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import load_script, made_up_rows, write_csv

from slimcls.data.dataset import read_dataset
from slimcls.search.plan import Plan, keep_plan
from slimcls.search.settings import FitConfig


def test_the_row_of_a_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("fit_regret")
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results")
    file = tmp_path / "rows.csv"
    write_csv(file, made_up_rows(80, 3))
    words = [str(file), "--model", "tiny-gpt2", "--out", str(tmp_path / "f"), "--budget", "9m"]
    config = FitConfig(dataset=str(file), model="tiny-gpt2", out=str(tmp_path / "f"), budget="9m")
    steps = ("TF-IDF", "training to compare", "confirming the choice")
    plan = Plan(None, None, (2, 1), (), 2, 2, dict.fromkeys(steps, 1.0))
    keep_plan(config, read_dataset(str(file)).fingerprint, plan)
    assert script.main(words) == 0
    row = json.loads((tmp_path / "results" / "f.json").read_text())
    assert row["test_accuracy"].keys() == {"TF-IDF", "2 of 6 layers", "1 of 6 layers"}
    best, mine = max(row["test_accuracy"].values()), row["test_accuracy"][row["chosen"]]
    assert row["regret"] == pytest.approx(100 * (best - mine))
    assert row["seeds"] == [2, 3]
    assert row["share_of_time"] == pytest.approx(row["fit_seconds"] / row["all_depths_seconds"])
    runs = [path.name for path in (tmp_path / "f" / "runs").iterdir()]
    assert len(runs) == 3 * 3, "no candidate is run twice at a seed: one for the search, two behind"
