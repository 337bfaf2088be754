"""``model/`` opens in plain transformers, in a process that cannot import slimcls."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import made_up_rows

import slimcls
from slimcls.artefact import FORMAT
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.runs import RunResult
from slimcls.train import train

FAMILIES = ["tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"]
KINDS = [("cls", None), ("p-cls", None), ("lm", "label-words"), ("lm", "sequence")]
ODD = [
    "",
    "   \n ",
    "rain and wind",
    "ends in a special token <|endoftext|>",
    "ends in another </s>",
    "<s> begins so",
    "<pad>",
    "Zürich, 東京 and 🙂 in one line\nand a second",
    "  blanks around  ",
    "bread " * 900,
]

PLAIN = """
import json, sys
try:
    import slimcls
    sys.exit("slimcls must not be importable here")
except ImportError:
    pass
texts = json.load(open(sys.argv[1]))
code = open(sys.argv[2]).read()
exec(code, globals())
print(json.dumps([classify([text])[0].tolist() for text in texts]))
print(json.dumps(classify(texts).tolist()))
print(json.dumps(type(model).__name__))
"""


def plain_scores(model: Path, texts: list[str], tmp_path: Path) -> tuple[Any, Any, str]:
    """Scores one by one and together, and the model's class, by the code of the model card."""
    card = (model / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", card, flags=re.S)
    (tmp_path / "code.py").write_text(block)
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    (tmp_path / "plain.py").write_text(PLAIN)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-S", "-c", _only_packages(), tmp_path / "plain.py",
         tmp_path / "texts.json", tmp_path / "code.py"],
        capture_output=True, text=True, cwd=model, env=environment, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alone, together, name = done.stdout.splitlines()[-3:]
    return json.loads(alone), json.loads(together), json.loads(name)


def _only_packages() -> str:
    """Runs a script with the installed packages but without slimcls, however it is installed."""
    return (
        "import runpy, sys, sysconfig\n"
        "sys.path.append(sysconfig.get_path('purelib'))\n"
        "class Not:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'slimcls':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Not())\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )


def make_run(toy: Path, out: Path, **settings: Any) -> RunResult:
    defaults: dict[str, Any] = {
        "model": "tiny-gpt2", "keep": 2, "shots": 16, "epochs": 1, "lr": 1e-3, "accelerator": "cpu",
        "max_text_tokens": 24,
    }  # fmt: skip
    return train(RunConfig(dataset=str(toy), out=str(out), **(defaults | settings)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("mode", "loss"), KINDS)
def test_plain_transformers_gives_the_same_scores(
    toy: Path, tmp_path: Path, family: str, mode: str, loss: str | None
) -> None:
    result = make_run(toy, tmp_path, model=family, mode=mode, lm_loss=loss)
    classifier = slimcls.load(result.folder)
    ours = classifier.scores(classifier.encoder.encode(ODD).ids)
    alone, together, name = plain_scores(result.folder / "model", ODD, tmp_path)
    for theirs in (alone, together):
        torch.testing.assert_close(ours, torch.tensor(theirs), atol=1e-5, rtol=0)
    assert name.endswith("ForSequenceClassification") is (mode != "lm")


def test_what_the_folder_holds(toy: Path, tmp_path: Path) -> None:
    result = make_run(toy, tmp_path, mode="p-cls", layers=[0, 2, 5], keep=3)
    model = result.folder / "model"
    config = json.loads((model / "config.json").read_text())
    assert config["id2label"] == {"0": "food", "1": "travel", "2": "weather"}
    assert config["n_layer"] == 3
    assert config["pad_token_id"] is not None
    assert json.loads((model / "tokenizer_config.json").read_text())["padding_side"] == "right"
    names = {path.name for path in model.rglob("*")}
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
    scores = classifier.scores(classifier.encoder.encode(ODD[2:5]).ids)
    assert scores.isfinite().all()


def test_artefacts_that_cannot_be_opened(toy: Path, tmp_path: Path) -> None:
    result = make_run(toy, tmp_path / "runs", mode="cls")
    path = result.folder / "model" / "slimcls.json"
    good = path.read_text()
    cases = {
        json.dumps(json.loads(good) | {"format": FORMAT + 1}): "newer than this slimcls",
        "{": "not a description that slimcls wrote",
        "[]": "not a description that slimcls wrote",
    }
    for content, message in cases.items():
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            slimcls.load(result.folder)
    path.write_text(good)
    weights = result.folder / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be read"):
        slimcls.load(result.folder)
    bare = make_run(toy, tmp_path / "runs", mode="cls", save_model="none")
    with pytest.raises(UserError, match="--save-model none"):
        slimcls.load(bare.folder)
    with pytest.raises(UserError, match="no such run directory"):
        slimcls.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="not a run directory"):
        slimcls.load(tmp_path)
