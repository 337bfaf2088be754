"""Classifiers of text pairs: trained in every mode, handed over, asked in every way."""

from __future__ import annotations

import csv
import json
import platform
import tempfile
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classifier.odd_texts import ODD
from classifier.test_artefact import CANNOT, plain_results, unable
from conftest import made_up_pairs, write_pairs
from exporting.traced import traced_once
from serving.test_serving import served
from torch.testing import assert_close
from training.test_golden import TOLERANCE, losses_of
from transformers import pipeline

import slimcls
from slimcls import cli, runs
from slimcls.backbones import sources
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import open_cut
from slimcls.baseline import BaselineConfig, baseline
from slimcls.classifier.artefact import load_run
from slimcls.classifier.task import Task
from slimcls.config import RunConfig
from slimcls.data.batches import Items
from slimcls.data.pairs import Pair
from slimcls.errors import UserError
from slimcls.export import export
from slimcls.exporting.settings import ExportConfig
from slimcls.log import Log
from slimcls.predict import main as predict
from slimcls.runs.schema import RunResult
from slimcls.search.doctor import look
from slimcls.train import train
from slimcls.training.loop import Work

KINDS = [("cls", None), ("p-cls", None), ("lm", "label-words"), ("lm", "sequence")]
#: Runs that are made: every mode, and what differs by the tokenizer.
NAMES = [
    *(f"tiny-gpt2 {mode} {loss}" for mode, loss in KINDS),
    "tiny-opt p-cls None",
    f"{CANNOT} cls None",
    f"{CANNOT} p-cls None",
]
SOME = [text for text in ODD if text.strip()]
PAIRS: list[tuple[str, str]] = [
    *zip(SOME, ["bread and soup", *SOME[:-1]], strict=True),
    *((first, second) for first, second, _ in made_up_pairs(8, 9)),
    ("bread " * 300, "rain " * 300),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs.csv", made_up_pairs(200, 1))


def make_run(data: Path, out: Path, **settings: Any) -> RunResult:
    defaults: dict[str, Any] = {
        "model": "tiny-gpt2", "keep": 2, "shots": 24, "epochs": 1, "lr": 1e-3, "accelerator": "cpu",
        "max_text_tokens": 24, "baseline": False,
    }  # fmt: skip
    return train(RunConfig(dataset=str(data), out=str(out), **(defaults | settings)))


@pytest.fixture(scope="module")
def results(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    """The runs of ``NAMES``."""
    folder = tmp_path_factory.mktemp("runs")
    made, cannot = {}, str(unable(folder))
    for name in NAMES:
        family, mode, loss = name.split()
        model = cannot if family == CANNOT else family
        lm_loss = loss if mode == "lm" else None
        made[name] = make_run(data, folder / "runs", model=model, mode=mode, lm_loss=lm_loss)
    return made


@pytest.fixture(scope="module")
def plain(results: dict[str, RunResult], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What plain transformers makes of all of them, by the code of their cards."""
    models = {name: result.folder / "model" for name, result in results.items()}
    return plain_results(models, tmp_path_factory.mktemp("plain"), PAIRS)


@pytest.fixture(scope="module")
def run(results: dict[str, RunResult]) -> Path:
    return results["tiny-gpt2 p-cls None"].folder


every = pytest.mark.parametrize("name", NAMES)


def alone(name: str) -> bool:
    family, mode, loss = name.split()
    return mode == "cls" or (family != CANNOT and loss != "sequence")


@every
def test_plain_transformers_gives_the_same_logits(
    results: dict[str, RunResult], plain: Any, name: str
) -> None:
    classifier = load_run(results[name].folder)
    given = [Pair(*pair) for pair in PAIRS]
    ours = classifier.logits(classifier.encoder.encode(given).ids)
    apart, together, _ = plain[name]
    for theirs in (apart, together):
        assert_close(ours, torch.tensor(theirs), atol=1e-5, rtol=0)
    # Neither the batch nor what stands beside a pair in it changes a logit.
    few = classifier.logits(classifier.encoder.encode(given).ids, batch_size=3)
    assert_close(ours, few, atol=1e-6, rtol=0)


@every
def test_the_pipeline_gives_what_slimcls_gives(results: dict[str, RunResult], name: str) -> None:
    folder = results[name].folder / "model"
    said = json.loads((folder / "slimcls.json").read_text())
    assert said["pair"] == ["premise", "hypothesis"]
    assert said["answers_alone"] is alone(name)
    if not alone(name):
        return
    classifier = slimcls.load(folder)
    heat = classifier.confidence.temperature if classifier.confidence else 1.0
    classify: Any = pipeline("text-classification", str(folder), truncation=True, device="cpu")
    for pair, ours in zip(PAIRS, classifier.predict(PAIRS), strict=True):
        row = classify({"text": pair[0], "text_pair": pair[1]}, top_k=None)
        assert max(row, key=itemgetter("score"))["label"] == ours.label
        powers = {entry["label"]: entry["score"] ** (1 / heat) for entry in row}
        shares = {label: power / sum(powers.values()) for label, power in powers.items()}
        assert shares == pytest.approx(ours.probabilities, abs=1e-5)


@every
def test_a_saved_run_says_what_it_said_when_it_was_tested(
    results: dict[str, RunResult], data: Path, name: str
) -> None:
    result = results[name]
    with data.open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = runs.predictions(runs.load(result.folder))
    asked = [(rows[row]["premise"], rows[row]["hypothesis"]) for row in table["id"]]
    found = slimcls.load(result.folder).predict(asked, batch_size=5)
    assert [one.label for one in found] == table["prediction"].tolist()
    assert [rows[row]["label"] for row in table["id"]] == table["label"].tolist()
    for one, row in zip(found, table["probabilities"], strict=True):
        assert list(one.probabilities.values()) == pytest.approx(list(row), abs=1e-5)


def test_both_texts_matter_and_so_does_their_order(run: Path) -> None:
    classifier = slimcls.load(run)
    pairs = [("rain", "wind"), ("rain", "bread"), ("bread", "wind"), ("wind", "rain")]
    found = [one.probabilities["same"] for one in classifier.predict(pairs)]
    assert len(set(found)) == len(pairs)


def test_the_cutting_is_told_and_counted(data: Path, tmp_path: Path) -> None:
    result = make_run(data, tmp_path, mode="cls", max_text_tokens=9)
    assert result.outcome.text_tokens == 8
    assert result.outcome.texts_cut > 0
    assert "have more than 8 tokens and were cut" in (result.folder / "log.txt").read_text()


# ---------------------------------------------------------------- asked in Python


def test_pairs_come_in_many_forms(run: Path) -> None:
    classifier = slimcls.load(run)
    (wanted,) = classifier.predict(("rain", "wind"))
    for given in (
        [("rain", "wind")], [["rain", "wind"]], [Pair("rain", "wind")], Pair("rain", "wind"),
        np.array([["rain", "wind"]]), iter([("rain", "wind")]),
    ):  # fmt: skip
        assert classifier.predict(given) == [wanted]
    assert classifier.predict([]) == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("rain", r"texts is a str; this classifier takes pairs of texts: \(premise, hypothesis\)"),
        (["rain"], r"texts\[0\] is 'rain'; this classifier takes pairs"),
        ([("a", "b"), "ab"], r"texts\[1\] is 'ab'; this"),
        ([("a", "b", "c")], r"texts\[0\] is \('a', 'b', 'c'\); this"),
        ([("a", 1)], r"texts\[0\] is \('a', 1\); this"),
        ([{"a": 1, "b": 2}], r"texts\[0\] is \{'a': 1, 'b': 2\}; this"),
        ([("a", " ")], r"texts\[0\]: a text of the pair is empty"),
        (("", "b"), r"texts\[0\]: a text of the pair is empty"),
        (7, r"texts is a int; this classifier takes pairs"),
    ],
)
def test_what_is_no_pair(run: Path, given: Any, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        slimcls.load(run).predict(given)


def test_a_classifier_of_texts_takes_no_pair(toy: Path, tmp_path: Path) -> None:
    result = make_run(toy, tmp_path, mode="cls", keep=1)
    with pytest.raises(UserError, match=r"texts\[0\] is \('a', 'b'\), not a string"):
        slimcls.load(result.folder).predict([("a", "b")])
    assert json.loads((result.folder / "model/slimcls.json").read_text())["format"] == 2


# ---------------------------------------------------------------- asked on the command line


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert cli.run(lambda: predict([str(word) for word in words])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_pair_on_the_command_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (wanted,) = slimcls.load(run).predict(("rain", "wind"))
    assert predict([str(run), "rain", "--hypothesis", "wind"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == wanted.label
    assert predict([str(run), "rain", "--hypothesis", "wind", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [said["premise"], said["hypothesis"], said["label"]] == ["rain", "wind", wanted.label]


def test_a_pair_too_few_or_too_many(
    run: Path, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "give the second one with --hypothesis TEXT" in refused(capsys, run, "rain")
    assert "give the second one" in refused(capsys, run, "rain", "--hypothesis", " ")
    assert "premise and hypothesis" in refused(capsys, run, "-")
    new = write_pairs(tmp_path / "new.csv", made_up_pairs(4, 3))
    assert "a file has both texts" in refused(capsys, run, new, "--hypothesis", "wind")
    (tmp_path / "new.txt").write_text("rain\n")
    assert "text pairs take two" in refused(capsys, run, tmp_path / "new.txt")
    assert not (tmp_path / "new.predicted.txt").exists()
    single = make_run(toy, tmp_path, mode="cls", keep=1).folder
    capsys.readouterr()
    assert "takes one text" in refused(capsys, single, "rain", "--hypothesis", "wind")


@pytest.mark.parametrize("header", [("premise", "hypothesis"), ("left", "right")])
def test_a_file_of_pairs(run: Path, tmp_path: Path, header: tuple[str, str]) -> None:
    rows = made_up_pairs(30, 4)
    new = write_pairs(tmp_path / "new.csv", [*rows, ("", "b", "same")], header)
    named = [] if header[0] == "premise" else ["--text-column", ",".join(header)]
    assert predict([str(run), str(new), *named]) == 0
    with (tmp_path / "new.predicted.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    wanted = slimcls.load(run).predict([row[:2] for row in rows])
    assert [row["predicted_label"] for row in found] == [one.label for one in wanted]
    assert [(row[header[0]], row[header[1]]) for row in found] == [row[:2] for row in rows]


# ---------------------------------------------------------------- behind HTTP


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[Any]:
    with served(slimcls.load(run), max_characters=1000, max_texts=9) as client:
        yield client


def test_pairs_over_http(run: Path, client: Any) -> None:
    status, said = client.post({"texts": [list(pair) for pair in PAIRS[-8:-1]]})
    assert status == 200
    for found, one in zip(
        said["predictions"], slimcls.load(run).predict(PAIRS[-8:-1]), strict=True
    ):
        assert found["label"] == one.label
        assert found["probabilities"] == pytest.approx(one.probabilities, abs=1e-6)


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        ("rain", '[["a first", "a second"]]'),
        (["rain", "wind"], '[["a first", "a second"]]'),
        ([["rain", "wind", "sun"]], '[["a first", "a second"]]'),
        ([["rain", 1]], '[["a first", "a second"]]'),
        ([["rain", " "]], "texts[0] is empty on one side"),
        ([["rain", "wind"], ["x" * 600, "y" * 600]], "texts[1] has 1201 characters"),
        ([["rain", "\ud800"]], "texts[0]: "),
        ([["rain", "wind"]] * 10, "10 texts; give from 1 to 9"),
    ],
)
def test_what_is_no_pair_over_http(client: Any, sent: Any, fault: str) -> None:
    status, said = client.post({"texts": sent})
    assert status == 422
    assert fault in said["detail"]


# ---------------------------------------------------------------- exported, as words, in a fit


@pytest.fixture(scope="module")
def once() -> Iterator[None]:
    """The graph of a run is traced once."""
    with traced_once():
        yield


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize("name", ["tiny-gpt2 cls None", "tiny-opt p-cls None"])
def test_an_exported_folder(results: dict[str, RunResult], tmp_path: Path, name: str) -> None:
    run = results[name].folder
    report = export(ExportConfig(run=str(run), out=str(tmp_path / "out"), tolerate=100))
    assert report.odd.labels_differ == 0
    ours, theirs = load_run(run), slimcls.load(tmp_path / "out")
    assert theirs.pair == ("premise", "hypothesis")
    for one, other in zip(ours.predict(PAIRS), theirs.predict(PAIRS), strict=True):
        assert one.label == other.label
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-5)


@pytest.mark.usefixtures("once")
def test_the_code_of_an_exported_card(results: dict[str, RunResult], tmp_path: Path) -> None:
    run, out = results["tiny-opt p-cls None"].folder, tmp_path / "out"
    export(ExportConfig(run=str(run), out=str(out), tolerate=100))
    card = (out / "README.md").read_text()
    assert "slimcls predict FOLDER TEXT --hypothesis TEXT" in card
    code = card.partition("```python\n")[2].partition("```")[0]
    scope: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        exec(code, scope)
    theirs = load_run(run)
    given = theirs.encoder.encode([Pair("A first text.", "A second text.")]).ids
    assert_close(torch.tensor(scope["logits"])[None], theirs.logits(given), atol=1e-5, rtol=0)


def test_exported_with_fewer_tokens_as_a_plain_folder(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = ExportConfig(
        run=str(run), out=str(out), to="transformers", vocabulary=400, tolerate=100
    )
    assert export(config).trimmed is not None
    classify: Any = pipeline("text-classification", str(out), truncation=True, device="cpu")
    for pair, ours in zip(PAIRS, slimcls.load(out).predict(PAIRS), strict=True):
        (row,) = classify([{"text": pair[0], "text_pair": pair[1]}])
        assert row["label"] == ours.label


def test_tfidf_is_kept_and_sees_that_texts_overlap(tmp_path: Path) -> None:
    words = ["rain", "wind", "bread", "soup", "train", "road", "apple", "honey"]
    chance = np.random.default_rng(0)
    rows = []
    for place in range(400):
        first = chance.choice(words, 3, replace=False)
        others = [word for word in words if word not in first]
        second = chance.permutation(first if place % 2 else chance.choice(others, 3, replace=False))
        label = "same" if place % 2 else "other"
        rows.append((f"{' '.join(first)} {place}", f"{' '.join(second)} {place + 1}", label))
    data = write_pairs(tmp_path / "pairs.csv", rows)
    config = BaselineConfig(
        dataset=str(data), method="tfidf", shots="all", out=str(tmp_path / "runs"),
        save_model="best",
    )  # fmt: skip
    (result,) = baseline(config)
    assert result.test_accuracy > 0.95, "which words there are says nothing here"
    classifier = slimcls.load(result.folder)
    assert classifier.pair == ("premise", "hypothesis")
    table = runs.predictions(runs.load(result.folder))
    found = classifier.predict([rows[row][:2] for row in table["id"]], batch_size=7)
    assert [one.label for one in found] == table["prediction"].tolist()


def test_a_fit_looks_at_both_texts_and_mends_a_copy_of_pairs(tmp_path: Path) -> None:
    rows = made_up_pairs(80, 1)
    near = (rows[4][0], rows[4][1].replace(" 14", " 94"), rows[4][2])
    leak = [(first, f"{second} {label}", label) for first, second, label in rows]
    path = write_pairs(
        tmp_path / "pairs.csv", [*leak, leak[0], ("", "b", "same"), (near[0], "x", "same")]
    )
    found = look(str(path), tmp_path)
    kinds = {finding.kind: finding for finding in found.findings}
    assert {"leak", "repeat", "empty text"} <= set(kinds)
    with (tmp_path / "cleaned.csv").open(newline="") as file:
        header, *cleaned = csv.reader(file)
    assert header == ["premise", "hypothesis", "label"]
    assert [tuple(row) for row in cleaned] == [*leak, (near[0], "x", "same")]
    assert found.text_column is None


def test_a_cut_learns_pairs_from_a_teacher(data: Path, tmp_path: Path) -> None:
    teacher = make_run(data, tmp_path, mode="cls", keep=3)
    more = write_pairs(tmp_path / "more.csv", made_up_pairs(20, 7))
    taught = make_run(
        data, tmp_path, mode="cls", keep=1, teacher=str(teacher.folder), unlabelled=str(more)
    )
    assert taught.outcome.unlabelled_texts == 20


def test_pairs_choose_layers_as_texts_do(data: Path, tmp_path: Path) -> None:
    assert len(make_run(data, tmp_path, mode="cls", select="bi").config.layers or []) == 2


# ---------------------------------------------------------------- golden losses

RECORD = Path(__file__).parent / "golden" / "pairs.json"
GOLDEN = [(family, *kind) for family in ("tiny-gpt2", "tiny-llama") for kind in KINDS]


def first_losses(family: str, name: Any, lm_loss: Any, folder: Path) -> list[float]:
    """Losses of one epoch of three steps on pairs of texts."""
    rows = [(Pair(first, second), int(label == "same"))
            for first, second, label in made_up_pairs(20, 3)]  # fmt: skip
    prompted: dict[str, Any] = {
        "template": "Premise: {premise}\nHypothesis: {hypothesis}\nLabel:{label}",
        "label_words": ("Other", "Same"), "demonstrations": tuple(rows[:2]), "lm_loss": lm_loss,
    }  # fmt: skip
    source = sources.find(family, None)
    tokenizer = open_tokenizer(source, never_empty=name == "cls")
    task = Task(
        mode=name, labels=("other", "same"), context=tokenizer.model_max_length,
        max_text_tokens=24, pair=("premise", "hypothesis"), **({} if name == "cls" else prompted),
    )  # fmt: skip
    encoder = task.encoder(tokenizer)
    mode = task.strategy(encoder)
    prefix = encoder.shared_prefix_ids() if mode.shares_prefix else []
    config = RunConfig(
        dataset="made up", model=family, mode=name, lm_loss=lm_loss, epochs=1, lr=1e-3, seed=7,
        batch_size=4, precision="32", accelerator="cpu",
    )  # fmt: skip
    model = open_cut(source, (0, 1), head=mode.head, labels=list(task.labels), seed=7,
                     pad_token_id=tokenizer.pad_token_id)  # fmt: skip

    def items(some: list[tuple[Pair, int]], *, learnt: bool) -> Items:
        labels = [label for _, label in some]
        ids = encoder.encode([pair for pair, _ in some]).ids
        if learnt:
            ids = [mode.training_ids(one, label) for one, label in zip(ids, labels, strict=True)]
        return Items([one[len(prefix) :] for one in ids], labels)

    learnt, judged = items(rows[2:14], learnt=True), items(rows[14:], learnt=False)
    return losses_of(Work(model, mode, config, learnt, judged, prefix, folder, Log()))


@pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"),
    reason="torch draws dropout from another generator on other processors",
)
@pytest.mark.parametrize(("family", "name", "lm_loss"), GOLDEN)
def test_first_losses(family: str, name: str, lm_loss: str | None, tmp_path: Path) -> None:
    losses = first_losses(family, name, lm_loss, tmp_path)
    assert len(losses) == 3
    recorded = json.loads(RECORD.read_text())[f"{family} {name} {lm_loss}"]
    assert losses == pytest.approx(recorded, rel=TOLERANCE)


def record() -> None:
    """Write the file anew."""
    found = {}
    for family, name, lm_loss in GOLDEN:
        with tempfile.TemporaryDirectory() as folder:
            found[f"{family} {name} {lm_loss}"] = first_losses(family, name, lm_loss, Path(folder))
    RECORD.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    record()
