"""``model/`` opens in plain transformers, in a process that cannot import slimcls."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from classifier.odd_texts import MANY, ODD, compare_with_pipeline
from conftest import PATIENCE, made_up_rows
from safetensors.torch import load_file, save_file
from transformers import pipeline

import slimcls
from slimcls.backbones import sources
from slimcls.backbones.tiny import CONTEXT, build
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.classifier.description import FORMAT
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.runs.schema import RunResult
from slimcls.train import train

FAMILIES = ["tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"]
KINDS = [("cls", None), ("p-cls", None), ("lm", "label-words"), ("lm", "sequence")]
#: Runs the code of every model card, with the packages of this environment but without slimcls.
PLAIN = """
import json, os, sys
sys.path.append(sys.argv[1])
class NoSlimcls:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "slimcls":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoSlimcls())
texts, cards = json.load(open(sys.argv[2]))
results = {}
for name, (folder, code) in cards.items():
    os.chdir(folder)
    scope = {}
    exec(code, scope)
    alone = [scope["classify"]([text])[0].tolist() for text in texts]
    together = scope["classify"](texts).tolist()
    results[name] = (alone, together, type(scope["model"]).__name__)
assert "slimcls" not in sys.modules
json.dump(results, open(sys.argv[3], "w"))
"""


def plain_results(
    models: dict[str, Path], folder: Path, texts: Sequence[object] = ODD
) -> dict[str, Any]:
    """Per model: logits one by one, logits together, the model's class."""
    cards = {}
    for name, model in models.items():
        (code,) = re.findall(r"```python\n(.*?)```", (model / "README.md").read_text(), flags=re.S)
        cards[name] = (str(model), code)
    (folder / "cards.json").write_text(json.dumps([texts, cards]))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PLAIN, sysconfig.get_path("purelib"),
         folder / "cards.json", folder / "results.json"],
        capture_output=True, text=True, cwd=folder, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "results.json").read_text())


def make_run(toy: Path, out: Path, **settings: Any) -> RunResult:
    defaults: dict[str, Any] = {
        "model": "tiny-gpt2", "keep": 2, "shots": 16, "epochs": 1, "lr": 1e-3, "accelerator": "cpu",
        "max_text_tokens": 24,
    }  # fmt: skip
    return train(RunConfig(dataset=str(toy), out=str(out), **(defaults | settings)))


@pytest.fixture(scope="module")
def plain(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Any]:
    """A run of every family and mode, and what plain transformers makes of all of them."""
    folder = tmp_path_factory.mktemp("plain")
    models = {}
    for family in [*FAMILIES, CANNOT]:
        model = str(unable(folder)) if family == CANNOT else family
        for mode, loss in KINDS:
            result = make_run(toy, folder / "runs", model=model, mode=mode, lm_loss=loss)
            models[f"{family} {mode} {loss}"] = result.folder / "model"
    return models, plain_results(models, folder)


#: A model whose tokenizer cannot have a prompt in it, since it begins every text in a way of its
#: own.
CANNOT = "begins"


def unable(folder: Path) -> Path:
    made = shutil.copytree(build("tiny-gpt2"), folder / CANNOT)
    path = made / "tokenizer.json"
    described = json.loads(path.read_text()) | {"normalizer": {"type": "Prepend", "prepend": "_"}}
    path.write_text(json.dumps(described))
    return made


def answers_alone(family: str, mode: str, loss: str | None) -> bool:
    return mode == "cls" or (family != CANNOT and loss != "sequence")


@pytest.mark.parametrize("family", [*FAMILIES, CANNOT])
@pytest.mark.parametrize(("mode", "loss"), KINDS)
def test_plain_transformers_gives_the_same_logits(
    plain: tuple[dict[str, Path], Any], family: str, mode: str, loss: str | None
) -> None:
    models, results = plain
    name = f"{family} {mode} {loss}"
    classifier = slimcls.load(models[name])
    ours = classifier.logits(classifier.encoder.encode(ODD).ids)
    alone, together, model_class = results[name]
    for theirs in (alone, together):
        torch.testing.assert_close(ours, torch.tensor(theirs), atol=1e-5, rtol=0)
    is_lm = mode == "lm" and not answers_alone(family, mode, loss)
    assert model_class.endswith("ForSequenceClassification") is not is_lm


@pytest.mark.parametrize("family", [*FAMILIES, CANNOT])
@pytest.mark.parametrize(("mode", "loss"), KINDS)
def test_the_pipeline_gives_what_slimcls_gives_or_nothing(
    plain: tuple[dict[str, Path], Any], family: str, mode: str, loss: str | None
) -> None:
    folder = plain[0][f"{family} {mode} {loss}"]
    said = json.loads((folder / "slimcls.json").read_text())
    assert said["answers_alone"] is answers_alone(family, mode, loss)
    card = (folder / "README.md").read_text()
    assert ("pipeline_tag: text-classification" in card) is said["answers_alone"]
    if not said["answers_alone"]:
        assert "opens nothing" in " ".join(card.split())
        with pytest.raises(ValueError, match=r"no file named model\.safetensors"):
            pipeline("text-classification", str(folder))
        return
    compare_with_pipeline(folder)


@pytest.mark.parametrize("family", [*FAMILIES, CANNOT])
@pytest.mark.parametrize(("mode", "loss"), KINDS)
def test_other_uses_of_the_tokenizer_find_no_prompt_in_it(
    plain: tuple[dict[str, Path], Any], family: str, mode: str, loss: str | None
) -> None:
    """Layers of a run are scored on bare texts."""
    model = plain[0][f"{CANNOT} cls None"].parents[2] / CANNOT if family == CANNOT else family
    bare = open_tokenizer(sources.find(str(model), None), never_empty=mode == "cls")
    found = slimcls.load(plain[0][f"{family} {mode} {loss}"]).tokenizer
    texts = ["rain and wind", " rain\n", "ends </s>"] if mode != "cls" else ["rain and wind"]
    assert found(texts)["input_ids"] == bare(texts)["input_ids"]
    assert found.model_max_length == (24 + len(bare("")["input_ids"]) if mode == "cls" else CONTEXT)


@pytest.mark.parametrize(("mode", "loss"), KINDS)
def test_a_folder_of_format_1_gives_what_it_gave(
    plain: tuple[dict[str, Path], Any], tmp_path: Path, mode: str, loss: str | None
) -> None:
    """It had the weights of the mode under their usual name, and no prompt in its tokenizer."""
    now = plain[0][f"{CANNOT} {mode} {loss}"]
    folder = shutil.copytree(now, tmp_path / "model")
    for weights in folder.glob("*.safetensors"):
        weights.rename(folder / "model.safetensors")
    path = folder / "slimcls.json"
    said = json.loads(path.read_text()) | {"format": 1}
    del said["answers_alone"]
    path.write_text(json.dumps(said))
    assert slimcls.load(folder).predict(MANY) == slimcls.load(now).predict(MANY)


def test_what_the_folder_holds(toy: Path, tmp_path: Path) -> None:
    result = make_run(toy, tmp_path, mode="p-cls", layers=[0, 2, 5], keep=3)
    model = result.folder / "model"
    config = json.loads((model / "config.json").read_text())
    assert config["id2label"] == {"0": "food", "1": "travel", "2": "weather"}
    assert config["n_layer"] == 3
    assert config["pad_token_id"] is not None
    assert json.loads((model / "tokenizer_config.json").read_text())["padding_side"] == "right"
    names = {path.name for path in model.rglob("*")}
    assert len({path.stat().st_mode for path in model.iterdir()}) == 1, "who reads one reads all"
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl", ".ckpt"))]
    description = json.loads((model / "slimcls.json").read_text())
    assert description["kept_layers"] == [0, 2, 5]
    assert description["labels"] == ["food", "travel", "weather"]
    assert [d["label"] for d in description["demonstrations"]] == ["food", "travel", "weather"]
    assert f"{result.test_accuracy:.3f}" in (model / "README.md").read_text()


def test_predictions_are_those_of_the_test(toy: Path, tmp_path: Path) -> None:
    import pandas as pd

    result = make_run(toy, tmp_path, mode="lm")
    table = pd.read_parquet(result.folder / "predictions.parquet")
    texts = [made_up_rows(60, 2)[place][0] for place in table["id"]]
    predictions = slimcls.load(result.folder).predict(texts)
    assert [p.label for p in predictions] == table["prediction"].tolist()
    assert (table["prediction"] == table["label"]).mean() == pytest.approx(result.test_accuracy)
    for prediction, row in zip(predictions, table["probabilities"], strict=True):
        assert list(prediction.probabilities.values()) == pytest.approx(list(row), abs=1e-5)
        assert sum(row) == pytest.approx(1)


@pytest.mark.parametrize("tune", ["lora", "head", "last-1"])
@pytest.mark.parametrize("family", FAMILIES)
def test_tuned_in_part_the_folder_is_as_plain(
    toy: Path, tmp_path: Path, family: str, tune: str
) -> None:
    result = make_run(toy, tmp_path, model=family, mode="cls", tune=tune, lr=1e-2)
    classifier = slimcls.load(result.folder)
    assert 0 < result.params_trained < result.params_kept
    assert not any("lora" in name for name, _ in classifier.model.named_parameters())
    logits = classifier.logits(classifier.encoder.encode(ODD[2:5]).ids)
    assert logits.isfinite().all()


@pytest.fixture(scope="module")
def finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The artefact of a run of each mode."""
    out = tmp_path_factory.mktemp("finished")
    return {m: make_run(toy, out, mode=m).folder / "model" for m in ("cls", "p-cls", "lm")}


GONE = object()


@pytest.mark.parametrize(
    ("mode", "file", "changes", "message"),
    [
        *[("cls", "slimcls.json", {k: GONE}, f"'{k}' is missing")
          for k in ("labels", "max_text_tokens", "context")],
        *[("p-cls", "slimcls.json", {k: GONE}, f"'{k}' is missing")
          for k in ("template", "label_words", "demonstrations")],
        ("lm", "slimcls.json", {"answers_alone": GONE}, "'answers_alone' is missing"),
        ("lm", "slimcls.json", {"answers_alone": 1}, "'answers_alone' has a value of the wrong"),
        ("lm", "slimcls.json", {"answers_alone": False}, "weights do not fit config.json"),
        ("lm", "slimcls.json", {"max_text_tokens": 500}, "--max-text-tokens 500: the model's"),
        ("lm", "slimcls.json", {"lm_loss": GONE}, "'lm_loss' is missing"),
        ("lm", "slimcls.json", {"lm_loss": "other"}, "'lm_loss' must be one of label-words"),
        ("cls", "slimcls.json", {"mode": GONE}, "'mode' must be one of cls, p-cls, lm"),
        ("cls", "slimcls.json", {"mode": "nli"}, "'mode' must be one of"),
        ("cls", "slimcls.json", {"mode": ["cls"]}, "'mode' must be one of"),
        ("cls", "slimcls.json", {"format": 0}, "there is no format 0"),
        ("cls", "slimcls.json", {"format": -1}, "there is no format -1"),
        ("cls", "slimcls.json", {"labels": "abc"}, "'labels' has a value of the wrong kind"),
        ("cls", "slimcls.json", {"labels": ["a", "a", "b"]}, "each once"),
        ("cls", "slimcls.json", {"labels": ["a", "b"]}, "names 2 labels, config.json 3"),
        ("p-cls", "slimcls.json", {"labels": ["a", "b"]}, "3 label words for 2 labels"),
        ("p-cls", "slimcls.json", {"demonstrations": [{"text": "a"}]}, "a demonstration lacks"),
        ("cls", "slimcls.json", {"context": "many"}, "'context' has a value of the wrong kind"),
        ("cls", "config.json", {"n_embd": 64}, "weights do not fit config.json"),
        ("cls", "config.json", {"n_layer": 3}, "weights do not fit config.json (2 layers, not 3)"),
        ("lm", "config.json", {"n_layer": 1}, "weights do not fit config.json"),
        ("lm", "config.json", {"vocab_size": 10**9}, "weights do not fit config.json"),
        ("cls", "config.json", {"n_embd": 10**6}, "weights do not fit config.json"),
        ("cls", "config.json", {"n_head": 5}, "not a valid configuration"),
        ("cls", "config.json", {"model_type": "none"}, "architecture 'none' is not supported"),
        ("cls", "config.json", {"n_positions": 8}, "weights do not fit config.json"),
        ("cls", "config.json", {"quantization_config": {"quant_method": "fp8"}}, "are quantised"),
        ("cls", "tokenizer_config.json", {"model_max_length": "x"}, "is no number"),
        ("cls", "slimcls.json", {"format": float("inf")}, "there is no format inf"),
        ("cls", "slimcls.json", {"format": 1.5}, "there is no format 1.5"),
        ("cls", "slimcls.json", {"context": 10**9}, "has a context of 1000000000 tokens"),
        ("cls", "slimcls.json", {"context": 0}, "must be at least 1"),
        ("cls", "slimcls.json", {"labels": ["a", "b", "\ud800"]}, "half a surrogate pair"),
        *[("p-cls", "slimcls.json", {"template": odd}, "'template' must h")
          for odd in ("", "{text}", "{label}", "{text} {text} {label}", "{label} {text}")],
    ],
)  # fmt: skip
def test_files_that_do_not_go_together_are_one_line(
    finished: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str],
    mode: str, file: str, changes: dict[str, Any], message: str,
) -> None:  # fmt: skip
    folder = shutil.copytree(finished[mode], tmp_path / "model")
    content = json.loads((folder / file).read_text()) | changes
    content = {key: value for key, value in content.items() if value is not GONE}
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(UserError) as fault:
        slimcls.load(folder)
    assert message in str(fault.value)
    assert "\n" not in str(fault.value)
    assert capfd.readouterr().err == ""


def test_a_pickle_in_the_folder_is_never_opened(
    finished: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(finished["cls"], tmp_path / "model")
    torch.save({"not": torch.zeros(1)}, folder / "pytorch_model.bin")
    slimcls.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no weights there \(model.safetensors\)"):
        slimcls.load(folder)
    assert capfd.readouterr().err == ""


def test_code_in_the_folder_is_never_run(
    finished: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder = shutil.copytree(finished["cls"], tmp_path / "model")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    tokens = folder / "tokenizer_config.json"
    asked = {"auto_map": {"AutoTokenizer": ["evil.T", None]}, "tokenizer_class": "T"}
    tokens.write_text(json.dumps(json.loads(tokens.read_text()) | asked))
    slimcls.load(folder)
    config = folder / "config.json"
    asked = {"auto_map": {"AutoConfig": "evil.C"}, "model_type": "evilmodel"}
    config.write_text(json.dumps(json.loads(config.read_text()) | asked))
    with pytest.raises(UserError, match="'evilmodel' is not supported"):
        slimcls.load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    finished: dict[str, Path], tmp_path: Path, odd: float
) -> None:
    folder = shutil.copytree(finished["cls"], tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["transformer.ln_f.weight"][3] = odd
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"ln_f.weight holds numbers that are not finite"):
        slimcls.load(folder)


def test_logits_that_are_no_numbers_are_refused(finished: dict[str, Path]) -> None:
    """Finite weights may still be too large for what is computed with them."""
    classifier = slimcls.load(finished["cls"])
    with torch.no_grad():
        classifier.model.score.weight.fill_(3e38)
        classifier.model.score.weight.mul_(classifier.model.transformer.ln_f.weight)
    with pytest.raises(UserError, match=r"the logits of texts\[0\] are not finite"):
        classifier.predict(["rain", "wind"])


def test_a_text_that_the_tokenizer_fails_on_is_one_line(
    finished: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(finished["cls"], tmp_path / "model")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}
    content["pre_tokenizer"] = split | {"invert": False}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="the tokenizer fails on a text"):
        slimcls.load(folder).predict(["a" * 60 + "!"])


def test_artefacts_that_cannot_be_opened(toy: Path, tmp_path: Path) -> None:
    result = make_run(toy, tmp_path / "runs", mode="cls")
    path = result.folder / "model" / "slimcls.json"
    good = path.read_text()
    cases = {
        json.dumps(json.loads(good) | {"format": FORMAT + 1}): "newer than this slimcls",
        "{": "not a description that slimcls wrote",
        "[]": "not a description that slimcls wrote",
        "[" * 50_000 + "]" * 50_000: "not a description that slimcls wrote",
    }
    for content, message in cases.items():
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            slimcls.load(result.folder)
    path.write_text(good)
    for given, message in (({"threads": 0}, "threads 0: must be"), ({}, "None: name a run")):
        with pytest.raises(UserError, match=message):
            slimcls.load(result.folder if given else None, **given)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--sets 'few': must be a number"):
        slimcls.load(result.folder).predict(["a"], sets="few")  # type: ignore[arg-type]
    weights = result.folder / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        slimcls.load(result.folder)
    bare = make_run(toy, tmp_path / "runs", mode="cls", save_model="none")
    with pytest.raises(UserError, match="--save-model none"):
        slimcls.load(bare.folder)
    with pytest.raises(UserError, match="no such run directory"):
        slimcls.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="not a run directory"):
        slimcls.load(tmp_path)
