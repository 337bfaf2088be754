"""slimcls export: the folder says what the run says, or nothing is written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PATIENCE, made_up_rows, write_csv

import slimcls
from slimcls import UserError
from slimcls.classifier.artefact import load_run
from slimcls.classifier.confidence import log_likelihood_loss, measured, probabilities
from slimcls.classifier.description import FORMAT
from slimcls.export import export, main
from slimcls.exporting import bits
from slimcls.exporting.folder import soon_read
from slimcls.exporting.parity import ODD, WITHIN, Outcome, check_tokens
from slimcls.exporting.report import Report
from slimcls.exporting.settings import ExportConfig
from slimcls.predict import main as predict
from slimcls.runs.results import read_result
from slimcls.session.again import drawn_again

Exported = dict[int, tuple[Path, Report]]
TEXTS = [text for text, _ in made_up_rows(20, 5)]


def validation_items(run: Path) -> int:
    result = read_result(run)
    assert result is not None
    return result.validation_items


def test_in_32_bits_nothing_changes(run: Path, exported: Exported) -> None:
    ours, theirs = load_run(run), slimcls.load(exported[32][0])
    texts = [*ODD, *TEXTS]
    encoded = ours.encoder.encode(texts)
    assert theirs.encoder.encode(texts) == encoded
    np.testing.assert_allclose(
        theirs.logits(encoded.ids), ours.logits(encoded.ids).numpy(), atol=1e-6, rtol=1e-6
    )
    assert theirs.labels == ours.labels
    # Probabilities, sets and thresholds, too: they hang on the run's temperature and validation.
    for mine, other in zip(
        ours.predict(TEXTS, sets=30), theirs.predict(TEXTS, sets=30), strict=True
    ):
        assert (mine.label, mine.classes) == (other.label, other.classes)
        assert other.probabilities == pytest.approx(mine.probabilities, abs=1e-5)


@pytest.mark.parametrize("few", [8, 4])
def test_fewer_bits_are_calibrated_by_scores_of_their_own(
    run: Path, exported: Exported, few: int
) -> None:
    folder, report = exported[few]
    classifier, items = slimcls.load(folder), drawn_again(run, None).splits.validation
    ids = classifier.encoder.encode([item.text for item in items]).ids
    logits, labels = np.asarray(classifier.logits(ids), float), [item.label for item in items]
    assert classifier.confidence == measured(logits, labels)
    assert classifier.confidence != load_run(run).confidence
    found = report.calibration
    assert found is not None
    assert found.temperature == classifier.confidence.temperature
    run_confidence = load_run(run).confidence
    assert run_confidence is not None
    assert found.temperature_of_run == run_confidence.temperature
    for temperature, loss in ((found.temperature, found.loss),
                              (found.temperature_of_run, found.loss_before)):  # fmt: skip
        shares = probabilities(logits, temperature)
        assert loss == pytest.approx(log_likelihood_loss(shares, labels))
    assert exported[32][1].calibration is None
    # Sets and thresholds hang on these scores.
    assert classifier.predict(TEXTS, sets=30)[0].classes is not None


def test_without_validation_texts_fewer_bits_keep_no_promise(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    alone = shutil.copytree(run / "model", tmp_path / "alone")
    report = export(asked(alone, out, bits=8, tolerate=100))
    assert report.calibration is None
    assert "Its probabilities were not calibrated anew." in (out / "README.md").read_text()
    classifier, of_run = slimcls.load(out), load_run(run)
    assert classifier.confidence is not None
    assert of_run.confidence is not None
    assert classifier.confidence.temperature == of_run.confidence.temperature
    with pytest.raises(UserError, match=r"--sets: .* ask the run that it was exported from"):
        classifier.predict(TEXTS, sets=30)
    with pytest.raises(UserError, match=r"--abstain-risk: .* ask the run"):
        classifier.predict(TEXTS, abstain_risk=30)


@pytest.mark.parametrize("few", [8, 4])
def test_fewer_bits_make_it_smaller_and_every_matrix_is_counted(
    exported: Exported, few: int
) -> None:
    folder, report = exported[few]
    assert report.quantised is not None
    # Four in each of two blocks, tokens, positions, and the head.
    assert report.quantised.matrices == 2 * 4 + 2 + 1
    assert report.quantised.left < report.quantised.parameters / 4
    sizes = [(exported[b][0] / "model.onnx").stat().st_size for b in (32, few)]
    assert sizes[0] - sizes[1] > 0.6 * 4 * report.quantised.parameters
    predictions = slimcls.load(folder).predict(TEXTS)
    whole = slimcls.load(exported[32][0]).predict(TEXTS)
    apart = [
        abs(one.probabilities[name] - other.probabilities[name])
        for one, other in zip(predictions, whole, strict=True)
        for name in one.probabilities
    ]
    assert 0 < max(apart) < 0.2


def test_what_the_folder_holds(run: Path, exported: Exported) -> None:
    folder, report = exported[8]
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.onnx", "tokenizer.json", "slimcls.json", "parity.json", "README.md"}
    about = json.loads((folder / "slimcls.json").read_text())
    of_run = json.loads((run / "model" / "slimcls.json").read_text())
    assert about.keys() - of_run.keys() == {"onnx"}
    assert [key for key in of_run if about[key] != of_run[key]] == ["confidence"]
    assert about["onnx"]["bits"] == 8
    assert about["onnx"]["prefix_tokens"] > 50
    assert json.loads((folder / "parity.json").read_text())["bits"] == 8
    assert report.validation is not None
    assert report.validation.texts == validation_items(run)
    content = (folder / "model.onnx").read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert b"site-packages" not in content


def test_the_report_is_that_of_both_on_validation(run: Path, exported: Exported) -> None:
    report = exported[8][1]
    assert report.validation is not None
    assert report.accuracy is not None
    low, high = report.accuracy.low, report.accuracy.high
    assert low <= report.accuracy.difference <= high
    validated = json.loads((run / "model" / "slimcls.json").read_text())
    assert validated["mode"] == "p-cls"
    table = (exported[8][0] / "README.md").read_text()
    assert f"{report.accuracy.exported:.3f} (the run: {report.accuracy.run:.3f})" in table


def test_the_code_of_the_card_gives_the_same_label(exported: Exported) -> None:
    folder = exported[32][0]
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.S)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=PATIENCE,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == slimcls.load(folder).predict("An example text.")[0].label


#: What an exported classifier was seen to import without a use for it.
IDLE = {"difflib", "slimcls.backbones.families", "slimcls.config", "subprocess", "asyncio"}


def test_a_first_answer_waits_for_nothing_without_use(exported: Exported) -> None:
    code = (
        "import sys; before = set(sys.modules); import os, slimcls; "
        f"slimcls.load({str(exported[32][0])!r}).predict('rain'); "
        "print(*sorted(set(sys.modules) - before), os.environ['OPENBLAS_THREAD_TIMEOUT'])"
    )
    for given, wanted in ({}, "20"), ({"OPENBLAS_THREAD_TIMEOUT": "9"}, "9"):
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_THREAD_TIMEOUT"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE,
            env=environment | given, check=True,
        )  # fmt: skip
        *modules, timeout = done.stdout.split()
        assert "slimcls.classifier.runtime" in modules
        assert not IDLE & set(modules)
        assert timeout == wanted


def test_merges_are_written_as_is_read_soonest(run: Path, exported: Exported) -> None:
    model = json.loads((exported[32][0] / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    own = load_run(run).encoder.tokenizer.backend_tokenizer
    lists = json.loads(own.to_str())["model"]["merges"]
    assert len(lists) > 100
    assert model["merges"] == [f"{left} {right}" for left, right in lists]


def test_a_merge_with_a_blank_in_it_stays_a_list() -> None:
    described = {"model": {"type": "BPE", "merges": [["a", "b"], ["a ", "b"]]}}
    assert soon_read(described) == described
    described["model"]["merges"].pop()  # type: ignore[attr-defined]
    assert soon_read(described) == {"model": {"type": "BPE", "merges": ["a b"]}}
    unigram = {"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}
    assert soon_read(unigram) == unigram


def test_files_are_classified_as_with_the_run(
    run: Path, exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_csv(tmp_path / "new.csv", [(text, "") for text in TEXTS])
    source.write_text(source.read_text().replace("text,label", "text,note"))
    for name, folder in (("run", run), ("exported", exported[32][0])):
        assert predict([str(folder), str(source), "--out", str(tmp_path / f"{name}.csv")]) == 0
    ours, theirs = ((tmp_path / f"{name}.csv").read_text() for name in ("run", "exported"))
    labels = [[row.split(",")[:3] for row in text.splitlines()] for text in (ours, theirs)]
    assert labels[0] == labels[1]
    assert len(labels[0]) == 1 + len(TEXTS)


def test_texts_of_any_length_and_threads(exported: Exported) -> None:
    classifier = slimcls.load(exported[32][0])
    texts = ["", "x" * 10**6, "word " * 200_000, *TEXTS]
    alone = [classifier.predict(text)[0] for text in texts]
    assert [one.label for one in classifier.predict(texts)] == [one.label for one in alone]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: classifier.predict(text)[0], texts)) == alone


GONE = object()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": FORMAT + 1}, "newer than this slimcls"),
        ({"onnx": []}, "'onnx': a value of the wrong kind"),
        ({"onnx": {"bits": 8}}, "'onnx': 'prefix_tokens' is missing"),
        ({"onnx.prefix_tokens": 3}, "tokens before every text, not 3"),
        ({"onnx.sha256": {}}, "is damaged or of another export"),
        ({"labels": ["a", "b"]}, "3 label words for 2 labels"),
        ({"answers_alone": GONE}, "'answers_alone' is missing"),
    ],
)
def test_a_changed_description_is_one_line(
    exported: Exported, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = shutil.copytree(exported[32][0], tmp_path / "folder")
    path = folder / "slimcls.json"
    content = json.loads(path.read_text())
    for key, value in changes.items():
        *outer, last = key.split(".")
        inside = content[outer[0]] if outer else content
        if value is GONE:
            del inside[last]
        else:
            inside[last] = value
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=re.escape(message)) as fault:
        slimcls.load(folder)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_damaged_and_foreign_files_are_one_line(
    exported: Exported, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(exported[32][0], tmp_path / "folder")
    whole = (folder / name).read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for content in (flipped, whole[:1000], b"", (exported[8][0] / "model.onnx").read_bytes()):
        (folder / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}: is damaged or of another export"):
            slimcls.load(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name}: cannot be read"):
        slimcls.load(folder)


def test_a_file_that_was_never_one_is_one_line(exported: Exported, tmp_path: Path) -> None:
    """With a hash that fits, what the libraries say is passed on."""
    from slimcls.storage.hashes import sha256_of

    for name, message in (("model.onnx", "onnxruntime cannot open it"),
                          ("tokenizer.json", "is no tokenizer")):  # fmt: skip
        folder = shutil.copytree(exported[32][0], tmp_path / name)
        (folder / name).write_text("{}")
        about = json.loads((folder / "slimcls.json").read_text())
        about["onnx"]["sha256"][name] = sha256_of(folder / name)
        (folder / "slimcls.json").write_text(json.dumps(about))
        with pytest.raises(UserError, match=message):
            slimcls.load(folder)


def asked(run: Path, out: Path, **settings: Any) -> ExportConfig:
    return ExportConfig(run=str(run), out=str(out), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits": 16}, "--bits 16: must be one of 32, 8, 4"),
        ({"tolerate": 101.0}, "--tolerate 101.0: must be from 0 to 100"),
        ({"to": "tflite"}, "--to"),
        ({"vocabulary": 0}, "--vocabulary 0: must be at least 1, or auto"),
        ({"vocabulary": "some"}, "--vocabulary"),
        ({"retune": 1}, "--retune 1: needs --vocabulary"),
        ({"retune": -1, "vocabulary": 500}, "--retune -1: must be at least 0"),
        ({"unlabelled": "no.txt", "vocabulary": 500}, "--unlabelled no.txt: no such file"),
        ({"unlabelled": "no.txt"}, "--unlabelled no.txt: needs --vocabulary"),
        ({"to": "transformers"}, "--to transformers: needs --vocabulary"),
        ({"to": "transformers", "vocabulary": 500, "bits": 8}, "--bits 8: only --to onnx"),
    ],
)
def test_settings_that_cannot_be(
    run: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        asked(run, tmp_path / "out", **settings)


def test_what_cannot_be_exported_is_one_line(run: Path, exported: Exported, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bare = shutil.copytree(run, tmp_path / "bare", ignore=shutil.ignore_patterns("model"))
    begun = shutil.copytree(bare, tmp_path / "begun", ignore=shutil.ignore_patterns("result.*"))
    alone = shutil.copytree(run / "model", tmp_path / "alone")
    cases = [
        (asked(bare, out), "made with --save-model none; run it again"),
        (asked(begun, out), "the run is not finished"),
        (asked(tmp_path, out), "not a run directory"),
        (asked(tmp_path / "nowhere", out), "no such run directory"),
        (asked(exported[8][0], out), "was exported already"),
        (asked(run, run), "is there and was not exported; name another folder"),
        (asked(run, exported[8][0]), "--overwrite writes over it"),
        # A model folder alone has no validation texts.
        (asked(alone, out, bits=8), "--tolerate 100 exports without comparing"),
        (asked(alone, out, vocabulary=500), "--vocabulary needs the texts of the run"),
        (asked(run, out, vocabulary=200), "give at least as many"),
    ]
    before = sorted(path.name for path in run.iterdir())
    for config, message in cases:
        with pytest.raises(UserError, match=message):
            export(config)
    assert not out.exists()
    assert sorted(path.name for path in run.iterdir()) == before


def test_a_model_folder_alone_is_exported_with_a_note(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    alone = shutil.copytree(run / "model", tmp_path / "alone")
    assert main([str(alone), str(out)]) == 0
    said = capsys.readouterr()
    assert "note: validation texts are not compared" in said.err
    assert "validation      its texts could not be had: nothing was compared" in said.out
    assert slimcls.load(out).predict(TEXTS) == slimcls.load(out).predict(TEXTS)
    with pytest.raises(UserError, match="was exported; name the run"):
        load_run(out)


def test_the_model_folder_in_a_run_is_compared_as_the_run_is(run: Path, tmp_path: Path) -> None:
    by_folder, by_run = (
        export(asked(one, tmp_path / name)) for name, one in (("a", run / "model"), ("b", run))
    )
    assert by_folder.accuracy is not None
    assert by_folder.accuracy == by_run.accuracy


def test_too_many_other_labels_and_nothing_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(Outcome):
        """All texts but one get another label."""

        def _differ(self) -> Any:
            return np.arange(len(self._run)) > 0

    monkeypatch.setattr("slimcls.exporting.making.Outcome", Other)
    items = validation_items(run)
    with pytest.raises(UserError, match=rf"{items - 1} of {items} validation texts get another"):
        export(asked(run, tmp_path / "out", bits=8, tolerate=50))
    assert list(tmp_path.iterdir()) == []


def test_a_matrix_that_is_left_out_is_a_refusal(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bits, "_HELD", ("Gather",))
    for few in (8, 4):
        with pytest.raises(UserError, match=rf"--bits {few}: 9 of 11 matrices .* cannot be"):
            bits.quantise(exported[32][0] / "model.onnx", tmp_path / "few.onnx", few)


class Fixed:
    """A classifier of fixed tokens and logits."""

    def __init__(self, logits: list[list[float]], ids: list[list[int]] | None = None) -> None:
        self._logits = np.array(logits)
        self.encoder = self
        self.ids = ids or [[1]] * len(logits)

    def encode(self, texts: list[str]) -> Any:
        return self

    def logits(self, ids: list[list[int]]) -> Any:
        return self._logits


def outcome(run: Any, exported: Any) -> Outcome:
    return Outcome(run, exported, ["a", "b"])


def test_a_graph_that_computes_something_else_is_refused() -> None:
    run = Fixed([[1.0, 2.0], [40.0, 0.0]])
    outcome(run, Fixed([[1.0, 2.0], [40.0, 30 * WITHIN]])).check_graph()
    for odd in (41 * WITHIN, float("nan")):
        with pytest.raises(UserError, match="the exported graph gives other logits"):
            outcome(run, Fixed([[1.0, 2.0], [40.0, odd]])).check_graph()
    with pytest.raises(UserError, match="gives other tokens than the run's for 'b'"):
        check_tokens(run, Fixed([[1.0, 2.0]] * 2, [[1], [2]]), ["a", "b"])


def test_what_is_compared() -> None:
    both = outcome(Fixed([[1.0, 2.0], [40.0, 0.0]]), Fixed([[3.0, 2.0], [40.0, 0.0]]))
    seen, right = both.compared(), both.accuracies([1, 0])
    assert (seen.texts, seen.labels_differ, seen.share) == (2, 1, 50.0)
    assert seen.logits_differ == 2.0
    assert seen.probabilities_differ == pytest.approx(2 / (1 + np.exp(-1)) - 1)
    assert (right.run, right.exported, right.difference) == (1.0, 0.5, -0.5)


def test_the_command_says_what_changed(
    run: Path, exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(exported[32][0], tmp_path / "folder")
    words = [str(run), str(folder), "--bits", "4", "--tolerate", "100", "--overwrite"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{folder}: ONNX, 4 bits\n  size ")
    assert f"of {validation_items(run)} other labels" in said
    assert json.loads((folder / "slimcls.json").read_text())["onnx"]["bits"] == 4
