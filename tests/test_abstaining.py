"""What predict promises of its answers: classes named only where sure enough, sets of classes."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import slimcls
from slimcls import cli
from slimcls.classifier.confidence import (
    THRESHOLDS,
    calibration_error,
    log_likelihood_loss,
    measured,
)
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.predict import main
from slimcls.runs.schema import RunResult
from slimcls.train import train

LABELS = ["food", "travel", "weather"]
TEXTS = ["rain and wind", "soup, salt and bread", "a train to the border", "rain soup train", "odd"]


@pytest.fixture(scope="module")
def result(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    config = RunConfig(
        dataset=str(toy), model="tiny-gpt2", mode="cls", keep=1, shots=30, epochs=2, lr=3e-3,
        batch_size=8, out=str(tmp_path_factory.mktemp("runs")), accelerator="cpu",
    )  # fmt: skip
    return train(config)


def with_confidence(result: RunResult, folder: Path, confidence: Any) -> Path:
    """A copy of the artefact whose validation texts were answered as given."""
    shutil.copytree(result.folder / "model", folder)
    path = folder / "slimcls.json"
    held = json.loads(path.read_text())
    held.pop("confidence")
    if confidence is not None:
        held["confidence"] = confidence
    path.write_text(json.dumps(held))
    return folder


#: Right where it is sure, wrong where it is not.
HALF = {
    "temperature": 1.5, "named": [0.95] * 100 + [0.5] * 100, "true": [0.95] * 100 + [0.3] * 100,
    "right": [1] * 100 + [0] * 100,
}  # fmt: skip


@pytest.fixture
def half(result: RunResult, tmp_path: Path) -> Path:
    return with_confidence(result, tmp_path / "half", HALF)


def test_a_run_keeps_validation_scores_and_what_they_come_to(result: RunResult) -> None:
    table = pd.read_parquet(result.folder / "validation.parquet")
    assert list(table) == ["id", "label", "logits"]
    assert len(table) == result.validation_items
    logits = np.stack(table.logits)
    truth = table.label.map(LABELS.index).to_numpy()
    assert (logits.argmax(1) == truth).mean() == pytest.approx(result.validation_accuracy)
    confidence = slimcls.load(result.folder).confidence
    assert confidence == measured(logits, truth)
    assert result.fitted_temperature == confidence.temperature
    test = pd.read_parquet(result.folder / "predictions.parquet")
    shares, own = np.stack(test.probabilities), test.label.map(LABELS.index).to_numpy()
    assert result.test_nll_tempered == pytest.approx(log_likelihood_loss(shares, own))
    plain = shares**result.fitted_temperature
    plain /= plain.sum(1, keepdims=True)
    assert result.test_nll == pytest.approx(log_likelihood_loss(plain, own))
    assert (result.test_ece, result.test_ece_floor) == pytest.approx(calibration_error(shares, own))


def test_a_temperature_changes_probabilities_and_no_class(result: RunResult, half: Path) -> None:
    cold, warm = (slimcls.load(folder).predict(TEXTS) for folder in (result.folder, half))
    assert [one.label for one in cold] == [one.label for one in warm]
    for one, other in zip(cold, warm, strict=True):
        mine = np.array(list(one.probabilities.values())) ** (result.fitted_temperature / 1.5)
        assert list(other.probabilities.values()) == pytest.approx(mine / mine.sum(), rel=1e-5)


@pytest.mark.parametrize(("unsure", "named"), [(0.25, True), (0.5, False)])
def test_a_class_is_named_where_it_is_sure_enough(
    unsure: float, named: bool, result: RunResult, tmp_path: Path
) -> None:
    """Of three classes one has a third at least; at this temperature none has half of a text."""
    answers = HALF | {"named": [0.95] * 100 + [unsure] * 100, "true": [0.95] * 100 + [0.2] * 100}
    classifier = slimcls.load(with_confidence(result, tmp_path / "m", answers))
    least = classifier.abstention(5)
    assert least.threshold == min(one for one in THRESHOLDS if one > unsure)
    assert (least.answered, least.wrong) == (0.5, 0)
    plain = classifier.predict(TEXTS)
    found = classifier.predict(TEXTS, abstain_risk=5)
    for one, other in zip(plain, found, strict=True):
        assert one.probabilities == other.probabilities
        assert (max(one.probabilities.values()) >= least.threshold) == named
        assert other.label == (one.label if named else None)


def test_a_set_has_the_classes_that_are_probable_enough(half: Path) -> None:
    found = slimcls.load(half).predict(TEXTS, sets=20)
    assert all(one.label for one in found)
    for one in found:
        assert one.classes == tuple(
            name for name, share in one.probabilities.items() if share >= 0.3
        )
    assert slimcls.load(half).predict(TEXTS)[0].classes is None


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".txt", ".jsonl", ".parquet"])
def test_files_of_every_kind_say_it(
    kind: str, half: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / f"new{kind}"
    frame = pd.DataFrame({"text": TEXTS})
    {
        ".csv": lambda: frame.to_csv(source, index=False),
        ".tsv": lambda: frame.to_csv(source, index=False, sep="\t"),
        ".txt": lambda: source.write_text("\n".join(TEXTS)),
        ".jsonl": lambda: frame.to_json(source, orient="records", lines=True),
        ".parquet": lambda: frame.to_parquet(source, index=False),
    }[kind]()
    assert main([str(half), str(source), "--abstain-risk", "5", "--sets", "20"]) == 0
    said = capsys.readouterr().err
    assert "of the validation texts 50% get an answer, of which 0.0% are wrong" in said
    target = tmp_path / f"new.predicted{kind}"
    if kind == ".jsonl":
        rows = [json.loads(line) for line in target.read_text().splitlines()]
        labels, sets = [row["label"] for row in rows], [row["classes"] for row in rows]
    elif kind == ".parquet":
        table = pd.read_parquet(target)
        labels = [None if pd.isna(one) else one for one in table.label]
        sets = [list(one) for one in table.classes]
    elif kind == ".txt":
        lines = [line.split("\t") for line in target.read_text().splitlines()]
        labels, sets = [one[0] or None for one in lines], [json.loads(one[4]) for one in lines]
    else:
        with target.open(newline="") as file:
            cells = list(csv.DictReader(file, delimiter={".csv": ",", ".tsv": "\t"}[kind]))
        labels = [row["label"] or None for row in cells]
        sets = [json.loads(row["classes"]) for row in cells]
    wanted = slimcls.load(half).predict(TEXTS, abstain_risk=5, sets=20)
    assert labels == [one.label for one in wanted]
    assert sets == [list(one.classes or ()) for one in wanted]


def test_a_single_text_says_it(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unsure = next(
        text
        for text, one in zip(TEXTS, slimcls.load(half).predict(TEXTS, abstain_risk=5), strict=True)
        if one.label is None
    )
    assert main([str(half), unsure, "--abstain-risk", "5", "--sets", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "(not sure enough to name a class)"
    assert lines[-1].startswith("  set: ")
    assert main([str(half), unsure, "--abstain-risk", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] is None


@pytest.mark.parametrize(
    ("confidence", "words", "expected"),
    [
        (None, ["--abstain-risk", "5"], "--abstain-risk: this classifier has no scores of valid"),
        (None, ["--sets", "5"], "--sets: this classifier has no scores of validation texts"),
        (HALF, ["--abstain-risk", "0"], "--abstain-risk 0: must be a percentage above 0"),
        (HALF, ["--sets", "100"], "--sets 100: must be a percentage above 0 and below 100"),
        (HALF, ["--abstain-risk", "1"], "--abstain-risk 1: the 200 validation texts do not show"),
        (HALF | {"named": [1]}, [], "'confidence' has values of the wrong kind"),
    ],
)
def test_what_cannot_be_promised_is_one_line(
    confidence: Any, words: list[str], expected: str, result: RunResult, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = with_confidence(result, tmp_path / "m", confidence)
    (tmp_path / "a.csv").write_text("text\nrain\n")
    assert cli.run(lambda: main([str(folder), str(tmp_path / "a.csv"), *words])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not (tmp_path / "a.predicted.csv").exists()


def test_an_artefact_without_scores_of_validation_texts_still_classifies(
    result: RunResult, tmp_path: Path
) -> None:
    classifier = slimcls.load(with_confidence(result, tmp_path / "old", None))
    (one,) = classifier.predict("rain and wind")
    logits = classifier.logits(classifier.encoder.encode(["rain and wind"]).ids)[0]
    assert list(one.probabilities.values()) == pytest.approx(logits.softmax(0).tolist(), rel=1e-5)
    with pytest.raises(UserError):
        classifier.abstention(5)
    assert not math.isnan(sum(one.probabilities.values()))
