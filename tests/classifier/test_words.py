"""Rivals that are kept: they open without torch, and say what they said when they were measured."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from classifier.odd_texts import MANY
from conftest import ROOT, WORDS, made_up_rows, write_csv
from data.shared_data import data_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import finished
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from slimcls import load, runs
from slimcls.backbones import sources
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.baseline import BaselineConfig, baseline
from slimcls.classifier.artefact import load_run
from slimcls.data.dataset import read_dataset
from slimcls.data.encoding import TextEncoder
from slimcls.data.reader import read_rows
from slimcls.data.token_means import TokenMeans
from slimcls.errors import UserError
from slimcls.export import export
from slimcls.exporting.settings import ExportConfig
from slimcls.kinds import CHEAP
from slimcls.rivals.methods import Embeddings
from slimcls.runs.schema import RunResult
from slimcls.session.inputs import draw_items
from slimcls.storage.hashes import sha256_of

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


def kept(rows: Path, method: str, **more: Any) -> RunResult:
    """The run of a rival that is kept, as a fit has it."""
    settings = {
        "dataset": str(rows),
        "method": method,
        "model": "tiny-gpt2",
        "shots": "all",
        "save_model": "best",
        "out": str(rows.parent / "runs"),
    }
    if method == "embeddings":
        settings["save_dtype"] = "float16"
    (result,) = baseline(BaselineConfig(**settings | more))  # type: ignore[arg-type]
    return result


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of which some have a wrong label, so that probabilities are of all sizes."""
    folder = tmp_path_factory.mktemp("words")
    chance = random.Random(1)
    made = [
        (text, chance.choice(list(WORDS)) if chance.random() < 0.3 else label)
        for text, label in made_up_rows(120, 1)
    ]
    return write_csv(folder / "rows.csv", made)


@pytest.fixture(scope="module", params=CHEAP)
def measured(request: pytest.FixtureRequest, rows: Path) -> RunResult:
    return kept(rows, request.param)


@pytest.fixture(scope="module")
def vectors(rows: Path) -> RunResult:
    return kept(rows, "embeddings")


@pytest.fixture(scope="module")
def words(rows: Path) -> RunResult:
    return kept(rows, "tfidf")


def said_again(result: RunResult, texts: Sequence[Any]) -> None:
    """What the folder says of the test texts is what the run said of them."""
    said = runs.predictions(runs.load(result.folder))
    found = load(result.folder).predict([texts[row] for row in said["id"]], batch_size=7)
    assert [one.label for one in found] == said["prediction"].tolist()
    shares = [list(one.probabilities.values()) for one in found]
    np.testing.assert_allclose(shares, np.stack(said["probabilities"].tolist()), atol=1e-9)


def test_it_says_what_it_said_when_it_was_measured(measured: RunResult) -> None:
    table = read_rows(Path(measured.config.dataset)).columns["text"]
    said_again(measured, [str(text) for text in table])


@pytest.mark.parametrize("method", ["tfidf", "embeddings"])
def test_so_does_one_of_text_pairs(method: str, tmp_path: Path) -> None:
    lines = [(text, f"{label} or not ", label) for text, label in made_up_rows(90, 4)]
    header = ("premise", "hypothesis", "label")
    pd.DataFrame(lines, columns=header).to_csv(tmp_path / "rows.csv", index=False)
    result = kept(tmp_path / "rows.csv", method)
    assert load(result.folder).pair == ("premise", "hypothesis")
    said_again(result, [(first, second) for first, second, _ in lines])


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_embeddings_of_another_precision_are_those_that_were_measured(
    rows: Path, dtype: str | None
) -> None:
    result = kept(rows, "embeddings", save_dtype=dtype)
    table = read_rows(rows).columns["text"]
    said_again(result, [str(text) for text in table])
    assert load(result.folder).pipeline[0].rows.dtype == np.float32  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sst2", "trec"])
def test_so_does_the_packaged_model(name: str, tmp_path: Path) -> None:
    data = data_dir()
    result = kept(
        tmp_path / name, "embeddings", dataset=name, data_dir=str(data), shots=20, seed=5,
        model="smollm2-135m", test_size=200,
    )  # fmt: skip
    tables = read_dataset(name, data_dir=str(data))
    items = draw_items(result.config, tables).test
    texts = {item.id: item.text for item in items}
    assert len(items) == 200
    said_again(result, [texts.get(row, "") for row in range(max(texts) + 1)])
    assert 55 < result.model_mb < 62, "49,152 rows of 576 numbers in two bytes, and a tokenizer"


def test_its_size_is_that_of_its_files(measured: RunResult) -> None:
    files = [file for file in (measured.folder / "model").iterdir() if file.name != "README.md"]
    size = sum(file.stat().st_size for file in files) / 1e6
    assert size < measured.model_mb < size + 0.01, "and its card"


def test_its_bytes_are_the_same_every_time(measured: RunResult, tmp_path: Path) -> None:
    """In another process too, where everything lies elsewhere in memory; sizes decide in a fit."""
    again = (
        "from slimcls.baseline import main; import sys; ballast = [object() for _ in range(9999)];"
        "main(sys.argv[1:])"
    )
    flags = [measured.config.dataset, "--method", measured.method, "--model", "tiny-gpt2"]
    flags += ["--shots", "all", "--save-model", "best", "--out", str(tmp_path)]
    flags += ["--save-dtype", "float16"] if measured.method == "embeddings" else []
    done = finished("-c", again, *flags, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (other,) = tmp_path.glob("*/model")
    assert other.parent.name == measured.folder.name
    for file in (measured.folder / "model").iterdir():
        assert (other / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_card_says_what_it_is(measured: RunResult) -> None:
    card = (measured.folder / "model" / "README.md").read_text(encoding="utf-8")
    titles = {
        "majority": "# Majority class, classifying",
        "tfidf": "# TF-IDF, classifying",
        "embeddings": "# Mean of the embeddings, classifying",
    }
    assert titles[measured.method] in card
    assert measured.chosen in card
    assert f"| test | {measured.test_accuracy:.3f} |" in card
    assert ("tiny-gpt2" in card) == ("float16" in card) == (measured.method == "embeddings")
    described = json.loads((measured.folder / "model" / "slimcls.json").read_text())
    assert described["method"] == measured.method
    assert described["format"] == (4 if measured.method == "embeddings" else 2)


def test_odd_texts_have_the_tokens_of_the_run(vectors: RunResult) -> None:
    encoder = load(vectors.folder).pipeline[0].encoder  # type: ignore[union-attr]
    many = [*MANY, "rain " * 700, "x" * 5000]
    assert encoder.encode(many) == usual_encoder().encode(many)


@settings(max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_has_the_mean_of_its_tokens(text: str) -> None:
    chance = np.random.default_rng(0)
    encoder = usual_encoder()
    table = chance.normal(size=(len(encoder.tokenizer), 3)).astype(np.float32)
    (step,) = Embeddings(encoder, torch.from_numpy(table)).steps
    assert isinstance(step, TokenMeans)
    (found,) = step.transform([text])
    ids = encoder.encode([text]).ids[0]
    np.testing.assert_allclose(found, table[ids].astype(np.float64).mean(0), atol=1e-12)
    again = pickle.loads(pickle.dumps(step))
    assert "_encoder" not in vars(again), "what is open is not kept"
    np.testing.assert_array_equal(again.transform([text]), [found])


@cache
def usual_encoder() -> TextEncoder:
    """As the run of the tiny model has it."""
    tokenizer = open_tokenizer(sources.find("tiny-gpt2", None))
    return TextEncoder(tokenizer, context=tokenizer.model_max_length)


def repacked(result: RunResult, folder: Path, pipeline: Any, **described: str) -> Path:
    """The folder with another pipeline in it, whose hash is the one that is described."""
    shutil.copytree(result.folder / "model", folder)
    skops.io.dump(pipeline, folder / "pipeline.skops")
    held = json.loads((folder / "slimcls.json").read_text())
    found = described | {"sha256": sha256_of(folder / "pipeline.skops")}
    (folder / "slimcls.json").write_text(json.dumps(held | found))
    return folder


def test_no_type_but_the_one_is_opened(
    vectors: RunResult, words: RunResult, tmp_path: Path
) -> None:
    """A file that names what would run code is refused, whatever its description says."""
    ran = FunctionTransformer(os.getcwd)
    for name, result in (("a", vectors), ("b", words)):
        folder = repacked(result, tmp_path / name, make_pipeline(ran))
        with pytest.raises(UserError, match=r"pipeline\.skops: cannot be opened \(Untrusted types"):
            load(folder)
    own = load(vectors.folder).pipeline  # type: ignore[union-attr]
    folder = repacked(words, tmp_path / "c", own)
    with pytest.raises(UserError, match=r"Untrusted types.*TokenMeans"):
        load(folder)
    folder = repacked(words, tmp_path / "d", own, method="other")
    with pytest.raises(UserError, match="'method' must be one of majority, tfidf, embeddings"):
        load(folder)
    own[0].tokenizer = "{}"
    folder = repacked(vectors, tmp_path / "e", own)
    with pytest.raises(UserError, match="what is kept as a tokenizer: is no tokenizer"):
        load(folder).predict("rain")


def test_a_description_of_tfidf_without_a_method_is_read(words: RunResult, tmp_path: Path) -> None:
    """As they were written at first."""
    shutil.copytree(words.folder / "model", tmp_path / "model")
    path = tmp_path / "model" / "slimcls.json"
    held = json.loads(path.read_text())
    del held["method"]
    path.write_text(json.dumps(held))
    found, expected = (load(at).predict("rain and wind") for at in (path.parent, words.folder))
    assert found == expected


def test_an_export_is_refused(measured: RunResult, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no layer of a model in it"):
        export(ExportConfig(run=str(measured.folder), out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_validation_answers_are_kept(measured: RunResult) -> None:
    import pandas as pd

    rows = pd.read_parquet(measured.folder / "validation.parquet")
    labels = load(measured.folder).labels
    named = [labels[int(np.argmax(row))] for row in rows["logits"]]
    assert np.mean(np.array(named) == rows["label"]) == measured.validation_accuracy


def test_it_needs_no_torch(measured: RunResult) -> None:
    words = [sys.executable, "-c", ALONE, str(measured.folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    said = load(measured.folder).predict("rain and wind")[0].label
    assert done.stdout == f"{said}\n"


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
    with pytest.raises(UserError, match="no layer of a model in it"):
        load_run(measured.folder)
