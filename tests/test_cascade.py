"""A run with exits leaves early: chosen, written, opened, asked; refused where it cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Command, made_up_rows, write_csv
from transformers import AutoModelForSequenceClassification

import slimcls
from slimcls import runs
from slimcls.cascade import cascade, main
from slimcls.cascading.family import exits_of_run
from slimcls.cascading.settings import CascadeConfig
from slimcls.classifier.artefact import load_run
from slimcls.classifier.cascade import EXITS_FILE, Cascade
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.train import train

DEPTHS = [1, 2, 5]
KINDS: dict[str, dict[str, Any]] = {
    "cls": {"mode": "cls"},
    "p-cls": {"mode": "p-cls", "model": "tiny-gpt2", "exits": [1, 2]},
    "lm": {"mode": "lm"},
    "lm, a head of its own": {"mode": "lm", "model": "tiny-opt-post", "exits": [1, 2]},
}
#: What is the same in all modes and families is tried in one.
ONE = pytest.mark.parametrize("made", ["cls"], indirect=True)
#: Of the 60 validation texts of the toy; its exits are not good.
RISK = 25.0


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, toy: Path, tmp_path_factory: Any) -> Path:
    """The deepest run of a training, which leaves early; some texts do at each depth."""
    usual: dict[str, Any] = {
        "model": "tiny-llama", "exits": DEPTHS, "shots": 16, "epochs": 2, "lr": 2e-3,
        "accelerator": "cpu", "baseline": False, "max_text_tokens": 24,
    }  # fmt: skip
    out = tmp_path_factory.mktemp("runs")
    run = train(RunConfig(dataset=str(toy), out=str(out), **usual | KINDS[request.param])).folder
    cascade(CascadeConfig(run=str(run), risk=RISK))
    spread(run)
    return run


def spread(run: Path) -> None:
    """Another threshold, at which half of the toy's texts leave at the first exit."""
    texts = [text for text, _ in made_up_rows(60, 2)]
    opened = slimcls.load(run)
    assert isinstance(opened, Cascade)
    shallow = exits_of_run(run).runs[0].folder
    heat = opened.rule.temperatures[0]
    logits = slimcls.load(shallow).logits(slimcls.load(shallow).encoder.encode(texts).ids) / heat
    change(run, threshold=float(logits.softmax(1).amax(1).median()))


def change(run: Path, **values: object) -> None:
    path = run / "model" / "slimcls.json"
    described = json.loads(path.read_text())
    described["cascade"] |= values
    path.write_text(json.dumps(described))


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of all runs of the training, to be damaged."""
    shutil.copytree(made.parent, tmp_path / "runs")
    yield tmp_path / "runs" / made.name
    shutil.rmtree(tmp_path / "runs")


def answers_alone(run: Path) -> bool:
    """Whether plain transformers classifies with a run's folder."""
    return bool(json.loads((run / "model" / "slimcls.json").read_text())["answers_alone"])


def new_texts() -> list[str]:
    return [text for text, _ in made_up_rows(90, 5)]


def test_a_text_is_told_what_its_exits_own_run_tells_it(made: Path) -> None:
    exits, texts = exits_of_run(made), new_texts()
    found = slimcls.load(made).predict(texts)
    by_depth = {
        depth: slimcls.load(run.folder, leave_early=False).predict(texts)
        for depth, run in zip(exits.depths, exits.runs, strict=True)
    }
    assert {one.depth for one in found} >= {exits.depths[0], exits.depths[-1]}
    for place, one in enumerate(found):
        assert one.depth is not None
        alone = by_depth[one.depth][place]
        assert one.label == alone.label
        shares = list(one.probabilities.values())
        # Both have the temperature that was fitted to the same validation texts.
        np.testing.assert_allclose(shares, list(alone.probabilities.values()), atol=1e-5)
    opened = slimcls.load(made)
    assert isinstance(opened, Cascade)
    for one in found:
        sure = max(one.probabilities.values()) >= opened.rule.threshold
        assert sure or one.depth == exits.depths[-1]


def test_batches_and_their_order_change_nothing(made: Path) -> None:
    texts, opened = new_texts(), slimcls.load(made)
    together = opened.predict(texts)
    for other in (opened.predict(texts, batch_size=7), [opened.predict(t)[0] for t in texts]):
        assert [(one.label, one.depth) for one in other] == [
            (one.label, one.depth) for one in together
        ]
    assert opened.predict([]) == []


def test_the_folder_is_still_that_of_the_deepest_cut(made: Path) -> None:
    plain, texts = slimcls.load(made, leave_early=False), new_texts()
    assert not isinstance(plain, Cascade)
    assert not isinstance(load_run(made), Cascade)
    found = plain.predict(texts)
    assert {one.depth for one in found} == {None}
    if (
        plain.encoder is None
        or not json.loads((made / "model/slimcls.json").read_text())["answers_alone"]
    ):
        return
    model, info = AutoModelForSequenceClassification.from_pretrained(
        made / "model", output_loading_info=True
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.num_hidden_layers == exits_of_run(made).depths[-1]


def test_what_is_written_says_what_was_shown(made: Path, copied: Path) -> None:
    done = cascade(CascadeConfig(run=str(copied), risk=RISK))
    exits = exits_of_run(copied)
    assert done.rule.depths == exits.depths
    assert done.rule.risk == RISK / 100 >= done.rule.bound > 0
    assert sum(done.rule.texts) == done.validation.items == exits.runs[-1].outcome.validation_items
    held = slimcls.load(copied)
    assert isinstance(held, Cascade)
    assert held.rule == done.rule
    # What it says of the test part is what comes out when the texts are asked.
    texts = [text for text, _ in made_up_rows(60, 2)]
    predicted = pd.read_parquet(copied / "predictions.parquet")
    labels = held.predict([texts[int(place)] for place in predicted.id])
    right = [one.label == label for one, label in zip(labels, predicted.label, strict=True)]
    assert done.test is not None
    assert done.test.accuracy == pytest.approx(np.mean(right))
    depths = [done.rule.depths[end] for end in done.test.ends]
    assert depths == [one.depth for one in labels]
    card = (copied / "model" / "README.md").read_text()
    assert card.count("## Leaving early") == 1
    assert card.startswith((made / "model" / "README.md").read_text().partition("## Leav")[0])
    names = sorted(path.name for path in (copied / "model").iterdir())
    assert names == sorted({path.name for path in (made / "model").iterdir()})


@ONE
def test_its_probabilities_keep_promises_too(made: Path) -> None:
    opened = slimcls.load(made)
    assert opened.confidence is not None
    assert opened.confidence.temperature == 1
    found = opened.predict(new_texts(), sets=20)
    assert all(one.classes is not None for one in found)


@ONE
def test_files_get_the_depth(made: Path, tmp_path: Path) -> None:
    from slimcls.predict import main as predict

    source = write_csv(tmp_path / "new.csv", made_up_rows(30, 5))
    assert predict([str(made), str(source)]) == 0
    rows = pd.read_csv(tmp_path / "new.predicted.csv")
    wanted = slimcls.load(made).predict(list(rows.text))
    assert rows.depth.tolist() == [one.depth for one in wanted]
    assert predict([str(made), str(source), "--overwrite", "--no-leave-early"]) == 0
    assert "depth" not in pd.read_csv(tmp_path / "new.predicted.csv").columns
    pd.DataFrame({"text": rows.text}).to_parquet(tmp_path / "new.parquet")
    assert predict([str(made), str(tmp_path / "new.parquet")]) == 0
    assert pd.read_parquet(tmp_path / "new.predicted.parquet").depth.tolist() == list(rows.depth)
    (tmp_path / "new.txt").write_text("\n".join(rows.text), encoding="utf-8")
    assert predict([str(made), str(tmp_path / "new.txt")]) == 0
    lines = (tmp_path / "new.predicted.txt").read_text().splitlines()
    assert [int(line.split("\t")[4]) for line in lines] == rows.depth.tolist()


@ONE
def test_a_text_on_the_terminal(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from slimcls.predict import main as predict

    (one,) = slimcls.load(made).predict("rain and wind")
    assert predict([str(made), "rain and wind"]) == 0
    layers = "layer" if one.depth == 1 else "layers"
    assert f"  left after {one.depth} {layers}\n" in capsys.readouterr().out
    assert predict([str(made), "rain and wind", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["depth"] == one.depth


@ONE
def test_serving_says_the_depth(made: Path) -> None:
    from fastapi.testclient import TestClient

    from slimcls.serving.server import opened
    from slimcls.serving.settings import ServeConfig

    texts = new_texts()[:9]
    with TestClient(opened(ServeConfig(run=str(made)))) as client:
        found = client.post("/predict", json={"texts": texts}).json()["predictions"]
    assert [one["depth"] for one in found] == [p.depth for p in slimcls.load(made).predict(texts)]
    with TestClient(opened(ServeConfig(run=str(made), leave_early=False))) as client:
        (one,) = client.post("/predict", json={"texts": texts[0]}).json()["predictions"]
    assert "depth" not in one


@ONE
def test_what_is_exported_sees_all_layers(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from slimcls.export import export
    from slimcls.exporting.settings import ExportConfig

    if not answers_alone(made):
        return
    export(ExportConfig(run=str(made), out=str(tmp_path / "small")))
    assert "leaves early; what is exported sees every text with all its layers" in (
        capsys.readouterr().err
    )
    texts = new_texts()
    small = slimcls.load(tmp_path / "small")
    plain = slimcls.load(made, leave_early=False)
    assert [one.label for one in small.predict(texts)] == [
        one.label for one in plain.predict(texts)
    ]
    assert "cascade" not in json.loads((tmp_path / "small" / "slimcls.json").read_text())


def refused(run: Path, risk: float = RISK) -> str:
    with pytest.raises(UserError) as caught:
        cascade(CascadeConfig(run=str(run), risk=risk))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@ONE
def test_what_cannot_be_shown_is_refused_and_nothing_changes(copied: Path) -> None:
    before = {path.name: path.read_bytes() for path in (copied / "model").iterdir()}
    said = refused(copied, 0.5)
    assert "--risk 0.5: the 60 validation texts of" in said
    least = float(said.partition(" show ")[2].split()[0])
    assert 4 < least <= RISK, "60 texts show five points or so at best"
    assert before == {path.name: path.read_bytes() for path in (copied / "model").iterdir()}
    assert cascade(CascadeConfig(run=str(copied), risk=least)).rule.bound <= least / 100
    assert f"{least:.1f} or more" in refused(copied, least - 0.1)


@pytest.mark.parametrize("risk", [0.0, 100.0, -1.0])
def test_a_risk_that_is_none(risk: float) -> None:
    with pytest.raises(UserError, match="must be a percentage above 0 and below 100"):
        CascadeConfig(run="runs/x", risk=risk)


@pytest.mark.parametrize("risk", [float("nan"), float("inf")])
def test_a_risk_that_is_no_number(risk: float) -> None:
    with pytest.raises(UserError, match=f"--risk {risk}: must be a number"):
        CascadeConfig(run="runs/x", risk=risk)


@ONE
def test_runs_that_cannot_leave_early(copied: Path, toy: Path, tmp_path: Path) -> None:
    shallow, *_, deepest = exits_of_run(copied).runs
    deeper = ", ".join(map(str, deepest.config.exits[1:]))
    said = refused(shallow.folder)
    assert "the shallowest of its exits, above which no text can leave" in said
    assert f"name the run of {deeper} layers" in said
    assert "no such run directory" in refused(tmp_path / "nowhere")
    assert "no finished run there" in refused(tmp_path)
    assert "no finished run there" in refused(copied / "model")
    table = (shallow.folder / "validation.parquet").read_bytes()
    (shallow.folder / "validation.parquet").write_bytes(table[:100])
    assert "validation.parquet: cannot be read" in refused(copied)
    (shallow.folder / "validation.parquet").unlink()
    assert "validation.parquet: cannot be read" in refused(copied)
    shutil.copy(shallow.folder / "predictions.parquet", shallow.folder / "validation.parquet")
    assert "validation.parquet: " in refused(copied)
    (shallow.folder / "validation.parquet").write_bytes(table)
    shutil.rmtree(shallow.folder / "model")
    assert "--save-model best" in refused(copied)
    shutil.rmtree(shallow.folder)
    assert f"exits at {len(shallow.config.layers or ())} layers are not beside it" in (
        refused(copied)
    )
    alone = RunConfig(
        dataset=str(toy), model="tiny-gpt2", mode="cls", keep=1, epochs=0, out=str(tmp_path / "a"),
        accelerator="cpu", baseline=False, shots=16,
    )  # fmt: skip
    assert "was trained without exits; train with --exits" in refused(train(alone).folder)


@ONE
def test_exits_of_another_training_are_refused(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    shallow = exits_of_run(copied).runs[0].folder
    (path,) = (shallow / "model").glob("model*.safetensors")
    tensors = load_file(path)
    name = next(name for name in tensors if ".0." in name)
    tensors[name][0] += 1e-3
    save_file(tensors, path, {"format": "pt"})
    said = refused(copied)
    assert f"{name} is not as in" in said
    assert "not of one training" in said


@ONE
def test_damaged_folders(made: Path, copied: Path) -> None:
    def said() -> str:
        with pytest.raises(UserError) as caught:
            slimcls.load(copied)
        assert "\n" not in str(caught.value)
        assert slimcls.load(copied, leave_early=False).predict("rain")
        return str(caught.value)

    path = copied / "model" / EXITS_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\0\0\1\1")
    assert "is damaged or of another run" in said()
    path.unlink()
    assert f"{EXITS_FILE}: cannot be read" in said()
    path.write_bytes(whole)
    rule = json.loads((copied / "model" / "slimcls.json").read_text())["cascade"]
    change(copied, depths=[*rule["depths"][:-1], 9])
    assert "its exits end at 9 layers, its model at" in said()
    change(copied, depths=[1, *range(2, len(rule["depths"])), rule["depths"][-1]])
    slimcls.load(copied)
    change(copied, threshold="high")
    with pytest.raises(UserError, match="'cascade' has values of the wrong kind"):
        slimcls.load(copied, leave_early=False)


def test_a_depth_between_is_asked_for_as_well(toy: Path, tmp_path: Path) -> None:
    """The run of any exit but the shallowest can leave early, at those above it."""
    config = RunConfig(
        dataset=str(toy), model="tiny-llama", mode="cls", exits=DEPTHS, shots=30, epochs=1,
        lr=1e-3, out=str(tmp_path), accelerator="cpu", baseline=False,
    )  # fmt: skip
    train(config)
    found = runs.load(tmp_path).set_index("keep").folder
    made = cascade(CascadeConfig(run=found[2], risk=60))
    assert made.rule.depths == (1, 2)
    assert {one.depth for one in slimcls.load(found[2]).predict(new_texts())} <= {1, 2}
    # Other trainings beside it are told apart.
    train(RunConfig(**vars(config) | {"seed": 1, "layers": None}))
    assert exits_of_run(Path(found[5])).depths == (1, 2, 5)
    assert {run.config.seed for run in exits_of_run(Path(found[5])).runs} == {0}


@ONE
def test_the_command(made: Path, copied: Path, command: Command) -> None:
    done = command("slimcls", "cascade", copied, "--risk", RISK)
    assert done.returncode == 0, done.stderr
    assert f"{copied}/model: leaves early" in done.stdout
    assert "at most 25 points lost against" in done.stdout
    bad = command("slimcls", "cascade", copied, "--risk", "0.1")
    assert bad.returncode == 2
    assert len(bad.stderr.splitlines()) == 1
    with pytest.raises(UserError, match="--risk -3: must be a percentage"):
        main([str(made), "--risk", "-3"])
