"""TF-IDF that is kept: it opens without a model, and says what it said when it was measured."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, made_up_rows, write_csv

from slimcls import load, runs
from slimcls.baseline import BaselineConfig, baseline
from slimcls.classifier.artefact import load_run
from slimcls.data.reader import read_rows
from slimcls.errors import UserError
from slimcls.runs.schema import RunResult

#: Opens a folder and classifies a text where neither of these could be imported.
ALONE = """
import sys
class Without:
    def find_spec(self, name, *_):
        if name in ("torch", "transformers"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Without())
import slimcls
print(slimcls.load(sys.argv[1]).predict("rain and wind")[0].label)
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("words")
    write_csv(folder / "rows.csv", made_up_rows(120, 1))
    config = BaselineConfig(
        dataset=str(folder / "rows.csv"),
        method="tfidf",
        shots="all",
        out=str(folder / "runs"),
        save_model="best",
    )
    (result,) = baseline(config)
    return result


def test_it_says_what_it_said_when_it_was_measured(measured: RunResult) -> None:
    classifier = load(measured.folder)
    said = runs.predictions(runs.load(measured.folder))
    rows = read_rows(Path(measured.config.dataset)).columns["text"]
    found = classifier.predict([str(rows[row]) for row in said["id"]], batch_size=7)
    assert [one.label for one in found] == said["prediction"].tolist()
    shares = [list(one.probabilities.values()) for one in found]
    np.testing.assert_allclose(shares, np.stack(said["probabilities"].tolist()), atol=1e-12)


def test_its_size_is_that_of_its_files(measured: RunResult) -> None:
    files = (measured.folder / "model").iterdir()
    assert measured.model_mb == pytest.approx(sum(file.stat().st_size for file in files) / 1e6)


def test_validation_answers_are_kept(measured: RunResult) -> None:
    import pandas as pd

    rows = pd.read_parquet(measured.folder / "validation.parquet")
    labels = load(measured.folder).labels
    named = [labels[int(np.argmax(row))] for row in rows["logits"]]
    assert np.mean(np.array(named) == rows["label"]) == measured.validation_accuracy


def test_it_needs_no_torch(measured: RunResult) -> None:
    words = [sys.executable, "-c", ALONE, str(measured.folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "weather\n"


def test_a_damaged_one_says_so(measured: RunResult, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(measured.folder / "model", folder)
    file = folder / "pipeline.skops"
    file.write_bytes(file.read_bytes()[:-9] + b"elsewhere")
    with pytest.raises(UserError, match=r"pipeline\.skops: is damaged"):
        load(folder)
    file.unlink()
    with pytest.raises(UserError, match=r"pipeline\.skops: cannot be read"):
        load(folder)
    described = json.loads((folder / "slimcls.json").read_text())
    (folder / "slimcls.json").write_text(json.dumps(described | {"labels": ["one"]}))
    with pytest.raises(UserError, match="two classes or more"):
        load(folder)


def test_what_needs_a_model_refuses_it(measured: RunResult) -> None:
    with pytest.raises(UserError, match="no model in it"):
        load_run(measured.folder)
