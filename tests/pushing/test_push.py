"""``slimcls push``: a run and its card on a hub on loopback, in one commit, and back again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from backbones.hub_home import at_hub
from backbones.hub_home import run as run_code
from conftest import PATIENCE, ROOT, made_up_rows
from hub_server import Hub
from hub_writes import READS, WRITES
from hypothesis import given
from hypothesis import strategies as st

import slimcls
from slimcls.baseline import BaselineConfig, baseline
from slimcls.cascade import cascade
from slimcls.cascading.settings import CascadeConfig
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.export import export
from slimcls.exporting.settings import ExportConfig
from slimcls.push import main, push
from slimcls.pushing.settings import PushConfig
from slimcls.runs.schema import RunResult
from slimcls.session.card_data import card_data
from slimcls.train import train

TEXTS = [text for text, _ in made_up_rows(12, 5)]


def trained(toy: Path, out: Path, **more: Any) -> RunResult:
    quick = {"shots": 4, "epochs": 1, "lr": 3e-3, "baseline": False, "accelerator": "cpu"}
    named = {"dataset": str(toy), "model": "tiny-gpt2", "mode": "cls", "keep": 1, "out": str(out)}
    return train(RunConfig(**named | quick | more))


@pytest.fixture(scope="module")
def cls(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return trained(toy, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def prompted(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return trained(toy, tmp_path_factory.mktemp("runs"), mode="p-cls")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """An empty hub, and this process logged in to it."""
    (tmp_path / "hub/models").mkdir(parents=True)
    with at_hub(tmp_path / "hub", tmp_path / "home") as running:
        yield running


def pushed(hub: Hub, repo: str) -> Path:
    return hub.folder / "models" / repo / "main"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def head(folder: Path) -> dict[str, Any]:
    found = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert isinstance(found, dict)
    return found


def sent(run: RunResult | Path, repo: str = "me/tickets", **more: Any) -> str:
    folder = run.folder if isinstance(run, RunResult) else run
    return push(PushConfig(run=str(folder), repo=repo, **more))


def test_a_run_is_pushed_in_one_commit_and_is_private(hub: Hub, cls: RunResult) -> None:
    said = sent(cls)
    there = pushed(hub, "me/tickets")
    assert names(there) == names(cls.folder / "model")
    for name in names(there) - {"README.md"}:
        assert (there / name).read_bytes() == (cls.folder / "model" / name).read_bytes()
    assert (there / ".private").exists()
    assert [title for title, _ in hub.writes.commits] == ["Push with slimcls"]
    assert said.startswith(f"{hub.url}/me/tickets: private, commit ")
    assert 'slimcls predict me/tickets "some text"' in said


def test_what_was_pushed_classifies_elsewhere(hub: Hub, cls: RunResult, tmp_path: Path) -> None:
    """A process with an empty home: slimcls and plain transformers."""
    sent(cls)
    expected = [one.probabilities for one in slimcls.load(cls.folder).predict(TEXTS)]
    code = """
import json, sys
import slimcls
from transformers import pipeline
texts = json.loads(sys.argv[1])
found = slimcls.load("me/tickets").predict(texts)
pipe = pipeline("text-classification", "me/tickets", truncation=True)
print(json.dumps([[one.label for one in found], [one.probabilities for one in found],
                  [one["label"] for one in pipe(texts)]]))
"""
    (line,) = run_code(hub.url, tmp_path / "away", code, json.dumps(TEXTS), HF_TOKEN=WRITES)
    labels, probabilities, piped = json.loads(line)
    assert probabilities == expected
    assert labels == piped == [max(one, key=one.__getitem__) for one in expected]
    # The same again, with nothing listening any more.
    again = code.replace("texts = json", "import os; texts = json").replace("from transf", "# ")
    again = again.replace(
        'pipe = pipeline("text-classification", "me/tickets", truncation=True)', ""
    )
    again = again.replace('[one["label"] for one in pipe(texts)]', "[]")
    away = run_code("http://127.0.0.1:9", tmp_path / "away", again, json.dumps(TEXTS))
    assert json.loads(away[0])[1] == expected
    code = "import slimcls\ntry: slimcls.load('me/other')\nexcept ValueError as error: print(error)"
    (line,) = run_code("http://127.0.0.1:9", tmp_path / "away", code)
    assert line.startswith(
        "me/other: no such run directory here; it may be a classifier on the hub"
    )


def test_the_card_says_what_the_hub_wants_to_know(hub: Hub, cls: RunResult) -> None:
    sent(cls, license="mit", language="en,de")
    found = head(pushed(hub, "me/tickets"))
    (model,) = found.pop("model-index")
    assert found == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "license": "mit",
        "language": ["en", "de"],
        "metrics": ["accuracy", "f1"],
        "tags": ["slimcls", "layer-pruning", "text-classification"],
    }, "no base model and no dataset of the hub: a tiny model on files of one's own"
    assert model["name"] == "tickets"
    (result,) = model["results"]
    assert result["dataset"] == {"name": "toy", "type": "toy"}
    accuracy, f1 = result["metrics"]
    assert (accuracy["type"], accuracy["value"]) == ("accuracy", cls.test_accuracy)
    assert accuracy["name"] == (
        f"Accuracy on 60 test texts, 95 % Wilson interval {cls.test_low:.3f} to "
        f"{cls.test_high:.3f} over texts"
    )
    assert (f1["value"], f1["args"]) == (cls.test_macro_f1, {"average": "macro"})
    text = (pushed(hub, "me/tickets") / "README.md").read_text()
    assert 'pipeline("text-classification", "me/tickets", truncation=True)' in text
    own = (cls.folder / "model" / "README.md").read_text()
    assert own.split("---\n", 2)[2].strip() in text, "the run's own words are all there"


def test_licence_and_language_are_carried_over(
    hub: Hub, cls: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, repo, card in (
        ("models", "Base/model", "license: other\nlicense_name: own\nlicense_link: https://x.y/z"),
        ("datasets", "Some/texts", "language: en\nlicense: cc-by-4.0"),
    ):
        folder = hub.folder / kind / repo / "main"
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(f"---\n{card}\n---\n# It\n")
    source = {"hub": "Some/texts", "config": "default", "revision": "c" * 40, "split": "validation"}
    monkeypatch.setattr(cls.config, "model", "Base/model")
    monkeypatch.setattr(cls.outcome, "source_fingerprint", "hub:" + "d" * 40)
    monkeypatch.setattr(cls.outcome, "data_source", json.dumps(source))
    monkeypatch.setattr("slimcls.runs.results.read_result", lambda folder: cls)
    described = cls.folder / "model" / "slimcls.json"
    before = described.read_text()
    changed = json.loads(before) | {"model": "Base/model", "source": "hub:" + "d" * 40}
    described.write_text(json.dumps(changed))
    try:
        sent(cls)
    finally:
        described.write_text(before)
    found = head(pushed(hub, "me/tickets"))
    assert found["base_model"] == "Base/model"
    assert found["base_model_relation"] == "finetune"
    assert {name: found[name] for name in ("license", "license_name", "license_link")} == {
        "license": "other", "license_name": "own", "license_link": "https://x.y/z",
    }  # fmt: skip
    assert found["language"] == ["en"]
    assert found["datasets"] == ["Some/texts"]
    (result,) = found["model-index"][0]["results"]
    assert result["dataset"] == {
        "name": "toy", "type": "Some/texts", "config": "default", "split": "validation",
        "revision": "c" * 40,
    }  # fmt: skip


def test_the_packaged_model_and_data_have_their_ids() -> None:
    described = {"mode": "cls", "model": "smollm2-135m", "source": "sha256:1", "dataset": "agnews"}
    found = card_data(described | {"answers_alone": True}, None)
    assert found.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert found.datasets == ["fancyzhx/ag_news"]
    assert found.pipeline_tag == "text-classification"
    local = card_data(described | {"model": "Base/model"}, None)
    assert local.base_model is None, "a folder of that name"


def test_only_what_answers_alone_has_the_pipelines_tag(
    hub: Hub, toy: Path, tmp_path: Path, prompted: RunResult
) -> None:
    sent(prompted, "me/prompted")
    alone = json.loads((prompted.folder / "model/slimcls.json").read_text())["answers_alone"]
    assert alone
    assert head(pushed(hub, "me/prompted"))["pipeline_tag"] == "text-classification"
    whole = trained(toy, tmp_path / "runs", mode="lm", lm_loss="sequence")
    described = json.loads((whole.folder / "model/slimcls.json").read_text())
    sent(whole, "me/whole")
    found = head(pushed(hub, "me/whole"))
    assert ("pipeline_tag" in found) == described["answers_alone"]
    out = tmp_path / "small"
    export(ExportConfig(run=str(prompted.folder), out=str(out), tolerate=100))
    sent(out, "me/small")
    found = head(pushed(hub, "me/small"))
    assert "pipeline_tag" not in found
    assert found["tags"] == ["slimcls", "onnx", "layer-pruning", "text-classification"]
    assert names(pushed(hub, "me/small")) == names(out)
    away = slimcls.load("me/small").predict(TEXTS)
    assert [one.label for one in away] == [one.label for one in slimcls.load(out).predict(TEXTS)]


def test_a_classifier_of_words(hub: Hub, toy: Path, tmp_path: Path) -> None:
    (found,) = baseline(BaselineConfig(
        dataset=str(toy), shots=24, out=str(tmp_path), method="tfidf", save_model="best",
    ))  # fmt: skip
    sent(found, "me/words")
    there = pushed(hub, "me/words")
    assert names(there) == {"README.md", "pipeline.skops", "slimcls.json"}
    assert head(there)["library_name"] == "slimcls"
    assert head(there)["model-index"][0]["results"][0]["metrics"][0]["value"] == found.test_accuracy
    away = slimcls.load("me/words").predict(TEXTS)
    here = slimcls.load(found.folder).predict(TEXTS)
    assert [one.probabilities for one in away] == [one.probabilities for one in here]
    with pytest.raises(UserError, match=r"words of its training texts.*--show-texts"):
        sent(found, "me/open", public=True)


def test_training_texts_go_public_only_on_demand(
    hub: Hub, cls: RunResult, prompted: RunResult, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="3 of its training texts are in it: the demonstrations"):
        sent(prompted, public=True)
    assert not pushed(hub, "me/tickets").exists()
    assert hub.requests == [], "nobody was asked anything"
    sent(prompted)
    assert "note: 3 of its training texts are in it" in capsys.readouterr().err
    sent(prompted, "me/shown", public=True, show_texts=True)
    assert not (pushed(hub, "me/shown") / ".private").exists()
    sent(cls, "me/bare", public=True)
    files = [path.read_bytes() for path in pushed(hub, "me/bare").iterdir()]
    texts = [line.split(",")[0] for line in Path(cls.dataset, "train.csv").read_text().split("\n")]
    assert not any(text.encode() in file for text in texts[1:] if text for file in files)


def test_again_is_one_more_commit_of_what_has_changed(
    hub: Hub, cls: RunResult, prompted: RunResult
) -> None:
    sent(cls)
    (pushed(hub, "me/tickets") / "LICENSE").write_text("theirs")
    (pushed(hub, "me/tickets") / "model-00001-of-00002.safetensors").write_text("of another push")
    said = sent(cls, message="Once more")
    title, files = hub.writes.commits[-1]
    assert (title, files) == ("Once more", ["model-00001-of-00002.safetensors"])
    assert "LICENSE" in names(pushed(hub, "me/tickets"))
    assert "commit" in said
    count = len(hub.writes.commits)
    assert "nothing has changed" in sent(cls)
    assert len(hub.writes.commits) == count
    sent(prompted)
    assert "slimcls.json" in hub.writes.commits[-1][1]
    assert slimcls.load("me/tickets").predict(TEXTS[:3])[0].probabilities == pytest.approx(
        slimcls.load(prompted.folder).predict(TEXTS[:3])[0].probabilities
    )


def test_what_is_there_is_not_shown_to_others_nor_hidden(hub: Hub, cls: RunResult) -> None:
    sent(cls, "me/open", public=True)
    with pytest.raises(UserError, match="me/open: is there and public; --public says that you"):
        sent(cls, "me/open")
    sent(cls, "me/shut")
    with pytest.raises(UserError, match="me/shut: is there and private; leave out --public, or"):
        sent(cls, "me/shut", public=True)
    other = pushed(hub, "me/other")
    other.mkdir(parents=True)
    (other / ".private").touch()
    (other / "pytorch_model.bin").write_text("theirs")
    with pytest.raises(UserError, match="me/other: is there and holds something else"):
        sent(cls, "me/other")
    assert names(other) == {"pytorch_model.bin"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", '"/home/somebody/models/x"', r"config.json: names a place of this machine"),
        ("config.json", '"C:\\\\Users\\\\me\\\\x"', r"config.json: names a place of this machine"),
        ("tokenizer_config.json", '"~/x/y"', "tokenizer_config.json: names a place"),
        ("README.md", str(Path.home() / "notes.csv"), "README.md: names a place of this machine"),
        ("config.json", '"file:///home/somebody/x"', "config.json: names a place of this machine"),
        ("README.md", (Path.home() / "notes.csv").as_uri(), "README.md: names a place of this"),
        ("NOTICE", str(Path.home() / "notes.csv"), "NOTICE: names a place of this machine"),
        ("NOTICE", WRITES, "NOTICE: holds your token of the hub"),
        ("slimcls.json", str(Path.home()), "slimcls.json: names a place of this machine"),
        ("slimcls.json", '"/home/somebody/x"', "slimcls.json: names a place of this machine"),
        ("slimcls.json", WRITES, "slimcls.json: holds your token of the hub"),
    ],
)
def test_nothing_of_this_machine_travels(
    hub: Hub, cls: RunResult, tmp_path: Path, name: str, content: str, says: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(cls.folder, run)
    path = run / "model" / name
    if not name.endswith(".json"):
        before = path.read_text() if path.exists() else ""
        path.write_text(f"{before}\nSee {content} for more.\n")
    else:
        held = json.loads(path.read_text())
        held["_name_or_path"] = json.loads(content) if content.startswith('"') else content
        path.write_text(json.dumps(held))
    with pytest.raises(UserError, match=says):
        sent(run)
    assert not pushed(hub, "me/tickets").exists()


def test_what_leaves_early_there_leaves_early_elsewhere(
    hub: Hub, toy: Path, tmp_path: Path
) -> None:
    """The exits travel, and so does the notice of a model that has terms of use."""
    exits = {"exits": [1, 2], "keep": 2, "shots": 16}
    run = trained(toy, tmp_path / "runs", **exits).folder
    cascade(CascadeConfig(run=str(run), risk=60.0))
    (run / "model" / "NOTICE").write_text("terms")
    expected = slimcls.load(run).predict(TEXTS)
    assert {one.depth for one in expected} <= {1, 2}
    sent(run)
    there = pushed(hub, "me/tickets")
    assert names(there) == names(run / "model") >= {"exits.safetensors", "NOTICE"}
    code = """
import json, sys
import slimcls
found = slimcls.load("me/tickets").predict(json.loads(sys.argv[1]))
print(json.dumps([[one.depth, one.probabilities] for one in found]))
"""
    (line,) = run_code(hub.url, tmp_path / "away", code, json.dumps(TEXTS), HF_TOKEN=WRITES)
    assert json.loads(line) == [[one.depth, one.probabilities] for one in expected]


def test_no_file_of_a_run_but_its_model_travels(
    hub: Hub, cls: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(cls.folder, run)
    (run / "model" / "notes.txt").write_text("mine")
    (run / "model" / "secrets.json").write_text("{}")
    sent(run)
    assert names(pushed(hub, "me/tickets")) == names(cls.folder / "model")
    assert "note: stays here: notes.txt, secrets.json" in capsys.readouterr().err
    (run / "model" / "generation_config.json").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match=r"generation_config\.json: is a link to another file"):
        sent(run)


def test_a_card_that_was_changed_stays_so(hub: Hub, cls: RunResult, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(cls.folder, run)
    path = run / "model" / "README.md"
    path.write_text(
        path.read_text().replace("---\n", "---\nlicense: cc0-1.0\nthumbnail: x.png\n", 1)
        + "\nMine.\n"
    )
    sent(run)
    found = head(pushed(hub, "me/tickets"))
    assert (found["license"], found["thumbnail"]) == ("cc0-1.0", "x.png")
    assert "\nMine.\n" in (pushed(hub, "me/tickets") / "README.md").read_text()
    sent(run, license="mit")
    assert head(pushed(hub, "me/tickets"))["license"] == "mit"
    path.write_text("# No head at all\n")
    sent(run)
    assert head(pushed(hub, "me/tickets"))["pipeline_tag"] == "text-classification"
    path.write_text("---\n[: no\n---\n# It\n")
    with pytest.raises(UserError, match="the head of the card cannot be read"):
        sent(run)


@pytest.mark.parametrize(
    ("repo", "more", "says"),
    [
        ("tickets", {}, "tickets: must be ORG/NAME"),
        ("a/b/c", {}, "must be ORG/NAME"),
        ("me/", {}, "must be ORG/NAME"),
        ("me/a--b", {}, "no name that the hub takes"),
        ("me/a b", {}, "no name that the hub takes"),
        ("me/" + "x" * 97, {}, "no name that the hub takes"),
        ("me/x", {"license": "My own!"}, "--license My own!: must be a licence as the hub writes"),
        ("me/x", {"language": "English"}, "--language English: must be a code of ISO 639"),
        ("me/x", {"language": "en,"}, "must be a code of ISO 639"),
        ("me/x", {"message": " "}, "--message: is empty"),
        ("me/x", {"show_texts": True}, "--show-texts: only with --public"),
    ],
)
def test_what_is_written_wrongly(repo: str, more: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        PushConfig(run="run", repo=repo, **more)


@given(st.text(max_size=120))
def test_any_name_is_taken_or_refused_in_a_line(repo: str) -> None:
    from huggingface_hub.utils import validate_repo_id

    try:
        PushConfig(run="run", repo=repo)
    except UserError:
        return
    validate_repo_id(repo)


def test_what_is_no_run_is_a_line(hub: Hub, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    none = trained(toy, tmp_path / "runs", save_model="none", epochs=0)
    for run, says in (
        (tmp_path / "nowhere", "no such run directory"),
        (tmp_path / "empty", "not a run directory or artefact of slimcls"),
        (none.folder, "made with --save-model none; run it again with --save-model best"),
        (Path("me/tickets"), "me/tickets: no such run directory"),
    ):
        with pytest.raises(UserError, match=says):
            sent(run)
    assert hub.requests == []


def test_a_damaged_run_is_not_sent(hub: Hub, cls: RunResult, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(cls.folder, run)
    weights = run / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError):
        sent(run)
    assert not pushed(hub, "me/tickets").exists()


def test_without_a_token_or_with_a_wrong_one(
    hub: Hub, cls: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=r"nobody is logged in to http.*hf auth login"):
        sent(cls)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match="the hub does not take your token"):
        sent(cls)
    monkeypatch.setenv("HF_TOKEN", READS)
    with pytest.raises(UserError, match="your token may not write to me; take one that may"):
        sent(cls)
    monkeypatch.setenv("HF_TOKEN", WRITES)
    with pytest.raises(UserError, match="your token may not write to google"):
        sent(cls, "google/tickets")
    assert not list((hub.folder / "models").iterdir())


def test_without_a_network(cls: RunResult, command: Any) -> None:
    begun = time.perf_counter()
    done = command("slimcls.push", cls.folder, "me/tickets", HF_HUB_OFFLINE="0", HF_TOKEN=WRITES,
                   HF_ENDPOINT="http://127.0.0.1:9", TRANSFORMERS_OFFLINE="0")  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("slimcls: error: the hub cannot be reached: http://127.0.0.1:9 does not")
    assert time.perf_counter() - begun < PATIENCE


@pytest.mark.fault("refusals")
@pytest.mark.parametrize(
    ("route", "status", "says"),
    [
        ("create", "409", "somebody else changed it meanwhile"),
        ("create", "402", "the hub asks me for a payment"),
        ("preupload", "403", "your token may not write to me"),
        ("batch", "403", "your token may not write to me"),
        ("upload", "403", "your token may not write to me"),
        ("commit", "412", "somebody else changed it meanwhile"),
        ("commit", "500", "the hub says: "),
        ("commit", "cut", "the hub says: "),
        ("preupload", "429", "too many requests"),
    ],
)
def test_what_the_hub_refuses_is_a_line_and_publishes_nothing(
    hub: Hub, cls: RunResult, monkeypatch: pytest.MonkeyPatch, route: str, status: str, says: str
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.faults[route] = [status] * 9
    with pytest.raises(UserError, match=says) as caught:
        sent(cls)
    assert "nothing was published" in str(caught.value)
    assert "\n" not in str(caught.value)
    there = pushed(hub, "me/tickets")
    assert not there.exists() or names(there) == set()
    assert (route == "create") != ("(it was made, and is empty)" in str(caught.value))
    hub.faults.clear()
    sent(cls)
    assert names(there) == names(cls.folder / "model")
    assert len(hub.writes.commits) == 1


def test_who_comes_between_is_not_written_over(
    hub: Hub, cls: RunResult, prompted: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slimcls.pushing import sending

    sent(cls)
    look = sending.look

    def meanwhile(*given: Any) -> Any:
        found = look(*given)
        (pushed(hub, "me/tickets") / ".pushes").write_text("7")
        return found

    monkeypatch.setattr(sending, "look", meanwhile)
    with pytest.raises(UserError, match=r"somebody else changed it meanwhile.*\(it is as it was\)"):
        sent(prompted)
    assert len(hub.writes.commits) == 1


@pytest.mark.fault("kills")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("route", ["upload", "commit"])
def test_a_push_that_is_stopped_has_published_nothing(
    tmp_path: Path, cls: RunResult, hub: Hub, how: signal.Signals, route: str
) -> None:
    hub.faults[route] = ["stall"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1"}
    words = [sys.executable, "-m", "slimcls.push", str(cls.folder), "me/tickets"]
    running = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + PATIENCE
    while hub.faults[route] and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(how)
    _, said = running.communicate(timeout=PATIENCE)
    assert running.returncode == (143 if how == signal.SIGTERM else -signal.SIGKILL)
    assert names(pushed(hub, "me/tickets")) == set()
    assert hub.writes.commits == []
    assert "Traceback" not in said
    sent(cls)
    assert len(hub.writes.commits) == 1
    assert names(pushed(hub, "me/tickets")) == names(cls.folder / "model")


def test_the_command(hub: Hub, cls: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main([str(cls.folder / "model"), "me/tickets", "--license", "mit", "--language", "en"]) == 0
    )
    out = capsys.readouterr().out
    assert f"{hub.url}/me/tickets: private" in out
    assert "model-index" in head(pushed(hub, "me/tickets")), "RUN/model is of its run too"
    from slimcls.predict import main as predict

    assert predict(["me/tickets", "rain and wind"]) == 0
    assert capsys.readouterr().out.split()[0] in ("food", "travel", "weather")
    (hub.folder / "models/me/plain/main").mkdir(parents=True)
    with pytest.raises(
        UserError, match="me/plain: no such run directory here, and no classifier of"
    ):
        predict(["me/plain", "rain"])
    with pytest.raises(UserError, match="me/absent: no such run directory here, and no such model"):
        predict(["me/absent", "rain"])
