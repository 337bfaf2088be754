"""A whole fit of a tiny model: what it leaves and says, and that it goes on where it stopped."""

from __future__ import annotations

import csv
import dataclasses
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import PATIENCE, ROOT, WORDS, made_up_rows, write_csv
from transformers import AutoModelForSequenceClassification

import slimcls
from slimcls import runs
from slimcls.__main__ import main as slimcls_main
from slimcls.backbones.families import family_of
from slimcls.data.dataset import read_dataset
from slimcls.errors import UserError
from slimcls.fit import Found, main, run
from slimcls.kinds import CHEAP
from slimcls.runs.results import read_result
from slimcls.search import handover
from slimcls.search.answer import Answer
from slimcls.search.doctor import look
from slimcls.search.kept_plan import PLAN, keep_plan
from slimcls.search.plan import CHEAPEST, CONFIRMING, READING, TRAINING, Plan
from slimcls.search.settings import FitConfig
from slimcls.search.work import Fit

#: What is left of an answer when what takes time is left out.
TIMES = ("seconds", "milliseconds")
#: The steps of a plan that trains.
STEPS = (CHEAPEST, READING, TRAINING, CONFIRMING)


def rows(count: int = 120, seed: int = 1) -> list[tuple[str, str]]:
    """Texts of which a sixth have a wrong label."""
    chance = random.Random(seed)
    return [
        (text, chance.choice(list(WORDS)) if chance.random() < 0.17 else label)
        for text, label in made_up_rows(count, seed)
    ]


def settings(file: Path, out: Path, **more: Any) -> dict[str, Any]:
    return {"model": "tiny-gpt2", "budget": "20m", "out": str(out), **more}


def planned(config: FitConfig, **changes: Any) -> FitConfig:
    """A fit whose plan takes seconds, as one that was begun has it."""
    plain = Plan(None, None, (2, 1), (), 2, 1, dict.fromkeys(STEPS, 1.0))
    learnt = look(config.dataset, config.folder).dataset
    keep_plan(config, read_dataset(learnt).fingerprint, dataclasses.replace(plain, **changes))
    return config


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fit") / "tickets.csv"
    write_csv(path, [*rows(), ("", "food"), rows()[0]])
    return path


@pytest.fixture(scope="module")
def found(file: Path) -> Found:
    config = FitConfig(dataset=str(file), **settings(file, file.parent / "fits"))
    return run(planned(config, frozen=(2, 1), seeds=3))


def alike(answer: Answer) -> Any:
    """An answer without what is timed."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: bare(one) for name, one in value.items() if name not in TIMES}
        return [bare(one) for one in value] if isinstance(value, list | tuple) else value

    return bare(dataclasses.asdict(answer))


def test_the_folder_holds_what_was_promised(found: Found) -> None:
    names = {path.name for path in found.folder.iterdir()}
    assert names >= {"model", "runs", "fit.json", "plan.json", "report.html", "candidates.csv",
                     "cleaned.csv"}  # fmt: skip
    page = (found.folder / "report.html").read_text(encoding="utf-8")
    assert "tickets.csv" in page
    with (found.folder / "candidates.csv").open(newline="") as opened:
        table = list(csv.DictReader(opened))
    assert [row["name"] for row in table if row["chosen"] == "True"] == [
        one.name for one in found.answer.candidates if one.chosen
    ]


def test_candidates_are_ordinary_runs(found: Found) -> None:
    folders = set(runs.load(found.folder / "runs")["folder"])
    for one in found.answer.candidates:
        result = read_result(found.folder / one.run)
        assert result is not None
        assert str(result.folder) in folders
        assert result.validation_accuracy == pytest.approx(one.accuracy)
        assert result.config.seed == 1


def test_what_is_handed_over_was_confirmed_on_other_seeds(found: Found) -> None:
    mine = found.answer.confirmed[0]
    (chosen,) = (one for one in found.answer.candidates if one.chosen)
    assert mine.name == chosen.name
    assert mine.seeds == (2, 3, 4)
    table = runs.load(found.folder / "runs")
    methods = {"rival": "tfidf", "frozen": "mean-probe", "cut": "fine-tuned"}
    mine_too = table[table["method"].eq(methods[chosen.kind])]
    if chosen.layers is not None:
        mine_too = mine_too[mine_too["keep"].eq(chosen.layers)]
    again = mine_too[mine_too["seed"].isin(mine.seeds)]
    assert again["test_accuracy"].mean() == pytest.approx(mine.accuracy)


def test_the_classifier_that_is_handed_over_answers(found: Found) -> None:
    (said,) = found.load().predict("rain and wind and snow today")
    assert said.label in WORDS
    assert slimcls.load(found.folder).labels == list(said.probabilities)


def test_the_answer_is_read_back_as_it_was(
    found: Found, capsys: pytest.CaptureFixture[str]
) -> None:
    again = slimcls.fit(found.answer.dataset, **settings(Path(), found.folder))
    assert again.answer == found.answer
    assert "finished before" in capsys.readouterr().err


def test_another_question_is_not_answered_from_there(found: Found) -> None:
    with pytest.raises(UserError, match="another --max-loss"):
        slimcls.fit(found.answer.dataset, **settings(Path(), found.folder, max_loss=5.0))


def test_what_the_data_check_mended_is_told(found: Found) -> None:
    kinds = {one.kind: one for one in found.answer.findings}
    assert any(one.done for one in kinds.values())
    cleaned = pd.read_csv(found.folder / "cleaned.csv")
    assert len(cleaned) == len(rows())


def test_a_table_is_taken_as_a_file_is(found: Found, tmp_path: Path) -> None:
    frame = pd.DataFrame(rows(60), columns=["text", "label"])
    there = slimcls.fit(frame, model="tiny-gpt2", budget="1s", out=str(tmp_path / "f"))
    assert there.answer.verdict == "no reference"
    assert (tmp_path / "f.data.csv").is_file()
    with pytest.raises(UserError, match="out: a folder is needed"):
        slimcls.fit(frame)
    with pytest.raises(UserError, match="a table is wanted, not int"):
        slimcls.fit(3)


def test_no_time_gives_the_rival_and_says_what_more_would_buy(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(file), "--model", "tiny-gpt2", "--budget", "1s", "--out", str(tmp_path / "f")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "Take TF-IDF" in said
    assert "No layer of the model was trained beside it" in said
    assert "More time: with --budget " in said


def test_limits_that_nothing_meets_are_named(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "f"
    there = slimcls.fit(file, **settings(file, out, budget="1s", max_mb=0.001))
    assert "No candidate is within --max-mb 0.001; this is the nearest." in there.answer.sentence


def test_a_folder_of_something_else_is_left_alone(file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"mine: holds other things \(notes.txt\) and no fit"):
            slimcls.fit(file, **settings(file, tmp_path / "mine", overwrite=overwrite))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_starting_again_takes_away_what_the_fit_wrote_and_nothing_else(
    file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "f"
    slimcls.fit(file, **settings(file, out, budget="1s"))
    written = {path.name for path in out.iterdir()}
    (out / "thesis.txt").write_text("mine")
    (out / "runs" / "gone").mkdir()
    slimcls.fit(file, **settings(file, out, budget="1s", overwrite=True))
    assert {path.name for path in out.iterdir()} == {*written, "thesis.txt"}
    assert not (out / "runs" / "gone").exists()


def test_the_folder_one_is_in_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tickets" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "tickets")
    assert FitConfig(dataset=".").folder == Path("fits/tickets")
    monkeypatch.chdir("deeper")
    assert FitConfig(dataset="..").folder == Path("fits/tickets")


def test_what_is_printed_to_be_typed_can_be(tmp_path: Path) -> None:
    """With the column that was named, and to start again."""
    rows = made_up_rows(20, 3)
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("note", "what they say", "kind"), *(("x", *row) for row in rows)])
    columns = {"text_column": "what they say", "label_column": "kind"}
    given: Any = {**columns, "max_mb": 1234567.8}
    found = slimcls.fit(path, model="tiny-gpt2", budget="1s", out=tmp_path / "f", **given)
    typed = {what: shlex.split(words) for what, words in found.answer.commands.items()}
    again = typed["do it again"]
    assert again[again.index("--max-mb") + 1] == "1234567.8"
    assert main(again[2:]) == 0
    words = ["predict", str(tmp_path / "f"), str(path), "--text-column", "what they say"]
    assert typed["classify a file"][1:] == [word.replace(str(path), "new.csv") for word in words]


def test_two_test_texts_are_the_least(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--test-size 1: must be at least 2$"):
        FitConfig(dataset="x", test_size=1)
    for name, rows in (("train", made_up_rows(90, 3)), ("test", made_up_rows(20, 4)[:1])):
        (tmp_path / "parts").mkdir(exist_ok=True)
        write_csv(tmp_path / "parts" / f"{name}.csv", rows)
    with pytest.raises(UserError, match=r"parts: 1 text to choose by; a fit needs two$"):
        slimcls.fit(tmp_path / "parts", model="tiny-gpt2", budget="1s", out=tmp_path / "f")


@pytest.mark.fault("kills")
@pytest.mark.slow
def test_kill_9_changes_nothing(found: Found, tmp_path: Path) -> None:
    """At random moments; the plan is that of the fit that nobody has disturbed."""
    out = tmp_path / "fits"
    out.mkdir()
    (out / PLAN).write_text((found.folder / PLAN).read_text())
    words = [sys.executable, "-m", "slimcls.fit", found.answer.dataset, "--model", "tiny-gpt2"]
    words += ["--budget", "20m", "--out", str(out)]
    chance = random.Random(os.getpid())
    kills = int(os.environ.get("SLIMCLS_FAULTS", "1"))
    for _ in range(kills):
        process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        time.sleep(chance.uniform(3, 12))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    answer = handover.finished(FitConfig(dataset=found.answer.dataset, **settings(Path(), out)))
    assert answer is not None
    theirs, mine = alike(answer), alike(found.answer)
    assert {**theirs, "commands": 0} == {**mine, "commands": 0}


def test_frozen_layers_are_handed_over_as_they_were_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing trained beside them, and in a plain folder that any program opens."""
    write_csv(tmp_path / "rows.csv", made_up_rows(80, 3))
    monkeypatch.setattr("slimcls.search.choosing._size", lambda one: one.candidate.kind != "frozen")
    monkeypatch.setattr("slimcls.search.choosing.may_lose", lambda *_: True)
    made = settings(tmp_path, tmp_path / "f")
    config = planned(
        FitConfig(dataset=str(tmp_path / "rows.csv"), **made), depths=(), frozen=(2,), seeds=3
    )
    estimated, weighed = [], Fit._weighed

    def watched(self: Fit, choice: Any, found: Any) -> Any:
        estimated.append(choice.chosen.candidate.megabytes)
        return weighed(self, choice, found)

    monkeypatch.setattr(Fit, "_weighed", watched)
    found = run(config)
    answer = found.answer
    # Eight test texts show nothing of any.
    assert (
        "ake tiny-gpt2, 2 of 6 layers, frozen as they were pretrained, with logistic regression"
    ) in answer.sentence
    assert answer.sentence.endswith("so nothing says what training would add.")
    assert answer.commands["make it small, without torch"].endswith("--bits 8")
    (chosen,) = (one for one in answer.candidates if one.chosen)
    files = [path for path in (found.folder / "model").iterdir() if path.is_file()]
    assert chosen.megabytes == pytest.approx(sum(file.stat().st_size for file in files) / 1e6)
    assert estimated == [pytest.approx(chosen.megabytes, rel=0.1)], "with its tokenizer"
    assert (chosen.name, chosen.kind) == ("2 of 6 layers, frozen", "frozen")
    mine = runs.load(found.folder / "runs").query("method == 'mean-probe'")
    assert sorted(mine["seed"]) == [1, 2, 3, 4]
    confirmed = mine[mine["seed"] > 1]["test_accuracy"].mean()
    assert answer.confirmed[0].accuracy == pytest.approx(confirmed)
    plain = AutoModelForSequenceClassification.from_pretrained(found.folder / "model")
    assert plain.config.num_hidden_layers == 3
    assert found.load().labels == list(plain.config.id2label.values())


def test_a_family_that_cannot_average_has_its_frozen_layers_measured(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", made_up_rows(80, 3))
    made = settings(tmp_path, tmp_path / "f") | {"model": "tiny-neox"}
    config = planned(
        FitConfig(dataset=str(tmp_path / "rows.csv"), **made), depths=(1,), frozen=(2,), seeds=1
    )
    found = run(config)
    (frozen,) = (one for one in found.answer.candidates if one.kind == "frozen")
    assert (frozen.name, frozen.run) == ("2 of 6 layers, frozen", "")
    assert frozen.excluded.startswith("measured, not handed over")
    assert not frozen.chosen
    cuts = runs.load(found.folder / "runs").query("method == 'fine-tuned'")
    assert cuts.pool.isna().all()
    assert cuts.probe_first.all()


def test_cuts_learn_texts_without_labels_from_the_deepest(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", made_up_rows(80, 3))
    write_csv(tmp_path / "more.csv", made_up_rows(60, 4))
    more = {"unlabelled": str(tmp_path / "more.csv")}
    made = settings(tmp_path, tmp_path / "f", **more)
    config = planned(FitConfig(dataset=str(tmp_path / "rows.csv"), **made))
    found = run(config)
    table = runs.load(found.folder / "runs").query("method == 'fine-tuned' and seed == 1")
    taught = {row.keep: (row.taught, row.unlabelled_texts) for row in table.itertuples()}
    assert taught[2] == ("", 0)
    assert taught[1][0].startswith("taught by 2 layers, cls")
    assert taught[1][1] > 40
    cuts = table[table.method == "fine-tuned"]
    assert set(cuts.pool) == {"mean"}
    # What learns from a teacher reads no label, which a regression would.
    begun = {keep: set(cells) for keep, cells in cuts.groupby("keep").probe_first}
    assert begun == {2: {True}, 1: {False}}
    assert not any("--unlabelled" in one for one in found.answer.advice)


def test_a_plan_with_nothing_to_train_is_told(tmp_path: Path) -> None:
    """Its depths are none, and so are those of its frozen layers."""
    write_csv(tmp_path / "rows.csv", made_up_rows(80, 3))
    made = settings(tmp_path, tmp_path / "f")
    config = planned(FitConfig(dataset=str(tmp_path / "rows.csv"), **made), depths=())
    assert run(config).answer.other == ""


def test_the_commands_that_are_named_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a cut, since a limit leaves TF-IDF out; the server is looked for alone."""
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    # Enough that one validation text of another label is not too many.
    write_csv(tmp_path / "rows.csv", made_up_rows(400, 3))
    write_csv(tmp_path / "new.csv", made_up_rows(9, 5))
    config = planned(FitConfig(dataset="rows.csv", **settings(Path(), Path("f"))))
    monkeypatch.setattr("slimcls.search.choosing._size", lambda one: -one.candidate.megabytes)
    monkeypatch.setattr("slimcls.search.choosing.may_lose", lambda *_: True)
    found = run(config)
    (chosen,) = (one for one in found.answer.candidates if one.chosen)
    assert chosen.layers == 2
    commands = dict(found.answer.commands)
    assert commands.pop("answer over HTTP") == "slimcls serve f"
    # Without its last word it says that all is there; with it, the fit starts again.
    again, commands["do it again"] = commands["do it again"], commands["do it again"][:-12]
    assert again.removeprefix(commands["do it again"]) == " --overwrite"
    for command in commands.values():
        verb, *words = shlex.split(command)
        assert verb == "slimcls"
        assert slimcls_main(words) == 0, command
    assert len(pd.read_csv("new.predicted.csv")) == 9
    assert slimcls.load("small").labels == found.load().labels
    assert "finished before" in capsys.readouterr().err


def test_the_choice_is_handed_over_without_torch_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or not, and it is said why; the fit is finished all the same."""
    pytest.importorskip("onnxscript")
    write_csv(tmp_path / "rows.csv", made_up_rows(80, 3))
    monkeypatch.setattr("slimcls.search.choosing._size", lambda one: -one.candidate.megabytes)
    monkeypatch.setattr("slimcls.search.choosing.may_lose", lambda *_: True)
    made = settings(tmp_path, tmp_path / "f", bits=32)
    answer = run(planned(FitConfig(dataset=str(tmp_path / "rows.csv"), **made))).answer
    (told,) = answer.notes
    assert re.fullmatch(
        r"small/ is the choice as ONNX in 32 bits: .* MB, right on .* before\)", told
    )
    out = tmp_path / "f" / "small"
    assert answer.commands["classify without torch"] == f"slimcls predict {out} new.csv"
    texts = [text for text, _ in made_up_rows(20, 5)]
    whole, small = (slimcls.load(at).predict(texts) for at in (tmp_path / "f", out))
    assert [one.label for one in small] == [one.label for one in whole]

    def refused(*_: Any) -> None:
        raise UserError("9 of 10 validation texts get another label")

    monkeypatch.setattr("slimcls.export.export", refused)
    made = settings(tmp_path, tmp_path / "g", bits=4)
    answer = run(planned(FitConfig(dataset=str(tmp_path / "rows.csv"), **made))).answer
    assert answer.notes == ("small/ was not written: 9 of 10 validation texts get another label",)
    assert "make it small, without torch" in answer.commands
    assert not (tmp_path / "g" / "small").exists()
    assert (tmp_path / "g" / "model").is_dir()


def test_bits_that_cannot_be_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--bits 7: must be one of 32, 8, 4$"):
        FitConfig(dataset="x", bits=7)


def test_what_is_no_better_than_guessing_is_said(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    chance = random.Random(0)
    rows = [(text, f"class {chance.randint(0, 40)}") for text, _ in made_up_rows(90, 3)]
    write_csv(tmp_path / "rows.csv", rows)
    found = slimcls.fit(tmp_path / "rows.csv", model="tiny-gpt2", budget="1s", out=tmp_path / "f")
    told = found.answer.sentence
    assert told.startswith(
        "Nothing here is shown to be right more often than one answer for all texts ("
    )
    assert "). If any, take " in told
    sides = {side.name: side.macro_f1 for side in found.answer.confirmed}
    mine = found.answer.confirmed[0].macro_f1
    assert f"alike, is {mine:.2f}, where one answer has {sides['majority class']:.2f}." in told
    assert [str(one.message) for one in recwarn if "unique classes" in str(one.message)] == []


def test_where_one_answer_is_as_good_it_is_handed_over_and_told(tmp_path: Path) -> None:
    """Once: nothing is said beside it of what is no better than one answer."""
    chance, said = random.Random(3), [word for words in WORDS.values() for word in words]
    lines = [
        (" ".join(chance.choice(said) for _ in range(9)), label)
        for label in ["food"] * 480 + ["weather"] * 20
    ]
    write_csv(tmp_path / "rows.csv", lines)
    out = tmp_path / "f"
    found = slimcls.fit(tmp_path / "rows.csv", model="tiny-gpt2", budget="1s", out=out)
    (chosen,) = (one for one in found.answer.candidates if one.chosen)
    assert chosen.method == "majority"
    told = found.answer.sentence
    assert told.startswith(
        "Nothing has been learnt here that is worth using. "
        "Take the majority class, one answer for all texts: it is right on 9"
    )
    assert "not shown to be" not in told
    files = (found.folder / chosen.run / "model").iterdir()
    assert chosen.megabytes == pytest.approx(sum(file.stat().st_size for file in files) / 1e6)
    assert {one.label for one in found.load().predict(["rain", "", "bread"])} == {"food"}
    assert "Majority class" in (out / "model" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny-gpt2", "smollm2-135m"])
def test_the_mean_of_the_embeddings_is_handed_over_as_it_was_confirmed(
    model: str, tmp_path: Path
) -> None:
    """Where a limit and the labels leave no other: its folder says what its run said."""
    write_csv(tmp_path / "rows.csv", rows(200))
    config = FitConfig(
        dataset=str(tmp_path / "rows.csv"), model=model, out=str(tmp_path / "f"), max_loss=99.0
    )
    keep = planned(config, depths=())
    found = run(keep)
    bench_run = next(
        read_result(folder)
        for folder in (found.folder / "runs").iterdir()
        if "embeddings" in folder.name and "-s1-" in folder.name
    )
    assert bench_run is not None
    said = runs.predictions(runs.load(bench_run.folder))
    texts = pd.read_csv(tmp_path / "rows.csv")["text"]
    again = slimcls.load(bench_run.folder).predict([texts[row] for row in said["id"]])
    assert [one.label for one in again] == said["prediction"].tolist()
    (mine,) = (one for one in found.answer.candidates if one.method == "embeddings")
    assert mine.run == f"runs/{bench_run.folder.name}"
    assert mine.accuracy == pytest.approx(bench_run.validation_accuracy)
    assert [one.name for one in found.answer.confirmed[1:]] != []
    assert set(CHEAP.values()) == {one.name for one in found.answer.confirmed}


def test_a_family_without_classifiers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "slimcls.search.work.family_of",
        lambda config: dataclasses.replace(family_of(config), classifies=False),
    )
    write_csv(tmp_path / "rows.csv", made_up_rows(40, 3))
    with pytest.raises(UserError, match=r"--model tiny-llama: .*slimcls train --mode lm can use"):
        slimcls.fit(tmp_path / "rows.csv", model="tiny-llama", out=tmp_path / "f")
    assert not (tmp_path / "f" / PLAN).exists()


def test_a_finished_fit_is_no_answer_for_other_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame(made_up_rows(60, 3), columns=["text", "label"])
    out = tmp_path / "v1.tickets"
    made = {"model": "tiny-gpt2", "budget": "1s", "out": str(out)}
    slimcls.fit(frame, **made)
    assert (tmp_path / "v1.tickets.data.csv").is_file()
    assert slimcls.fit(frame, **made).folder == out
    with pytest.raises(UserError, match="another content of its data"):
        slimcls.fit(frame.iloc[:50], **made)
