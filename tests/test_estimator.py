"""SlimClassifier inside scikit-learn: what it learns from, and what its tools make of it."""

from __future__ import annotations

import gc
import io
import json
import os
import pickle
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import made_up_rows
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from slimcls import SlimClassifier, UserError
from slimcls.config import RunConfig
from slimcls.data.memory import tables_in_memory
from slimcls.data.splits import draw
from slimcls.estimator import SETTINGS
from slimcls.roles import Role, settings_with

TEXTS, LABELS = map(list, zip(*made_up_rows(240, 3), strict=True))
NEW = [text for text, _ in made_up_rows(9, 4)]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def small(**settings: Any) -> SlimClassifier:
    return SlimClassifier(
        **{"model": "tiny-gpt2", "mode": "cls", "keep": 1, "lr": 3e-3, "epochs": 1} | settings
    )


@pytest.fixture(scope="module")
def fitted() -> SlimClassifier:
    with pytest.warns(UserWarning, match="too early to show"):
        return small(epochs=4).fit(TEXTS, LABELS)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, nothing in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_it_learns_classes_by_their_names(fitted: SlimClassifier) -> None:
    assert fitted.classes_.tolist() == ["food", "travel", "weather"]
    shares = fitted.predict_proba(TEXTS)
    assert shares.shape == (240, 3)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert (fitted.classes_[shares.argmax(1)] == fitted.predict(TEXTS)).all()
    assert fitted.score(TEXTS, LABELS) > 0.6, "a third by chance"
    assert fitted.outcome_.test_items == 0
    assert np.isnan(fitted.outcome_.test_accuracy)
    assert fitted.outcome_.test_nll is None
    assert fitted.outcome_.validation_items == 48, "a fifth"
    assert fitted.outcome_.train_items == 240 - 48 - 3, "a demonstration a class"


def test_the_card_says_that_nothing_was_tested(fitted: SlimClassifier) -> None:
    card = (fitted._model.path / "README.md").read_text(encoding="utf-8")
    assert "Nothing was tested" in card
    assert "nan" not in card


def test_settings_are_those_of_a_run_that_needs_no_files() -> None:
    names = {f.name for f in fields(RunConfig)}
    assert set(SETTINGS) == names - set(settings_with(Role.DISK))
    given = SlimClassifier().get_params()
    assert set(given) == {*SETTINGS, "template", "label_words", "verbose"}
    plain = RunConfig(dataset="toy")
    other = {name for name in SETTINGS if given[name] != getattr(plain, name)}
    assert other == {"shots", "keep"}, "keep: None stands for 2 there too"
    with pytest.raises(TypeError, match="dataset"):
        SlimClassifier(dataset="sst2")


def test_a_clone_has_the_settings_and_nothing_learnt(fitted: SlimClassifier) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert repr(copy) == "SlimClassifier(epochs=4, keep=1, lr=0.003, mode='cls', model='tiny-gpt2')"
    with pytest.raises(NotFittedError):
        copy.predict(NEW)


class _Noting(pickle.Unpickler):
    """Unpickles, and notes of which packages a pickle names anything."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.named: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.named.add(module.partition(".")[0])
        return super().find_class(module, name)


def test_a_pickle_answers_alike_and_holds_files_alone(fitted: SlimClassifier) -> None:
    fitted.predict(NEW)
    noting = _Noting(pickle.dumps(fitted))
    again = noting.load()
    assert noting.named <= {"slimcls", "numpy", "builtins"}
    assert again._opened is None, "nothing is opened before it is asked"
    assert (again.predict_proba(NEW) == fitted.predict_proba(NEW)).all()
    assert again.outcome_.run == fitted.outcome_.run
    assert {path.suffix for path in again._model.path.iterdir()} == {".json", ".md", ".safetensors"}


def test_folders_go_with_the_object_and_after_a_failure(temporary: Path) -> None:
    model = small().fit(TEXTS[:60], LABELS[:60])
    (kept,) = temporary.iterdir()
    assert (kept / "model.safetensors").is_file()
    second = pickle.loads(pickle.dumps(model))
    assert len(list(temporary.iterdir())) == 2
    before = model.predict(NEW)
    with pytest.raises(UserError, match="--keep 99"):
        model.set_params(keep=99).fit(TEXTS, LABELS)
    assert (model.predict(NEW) == before).all(), "an earlier fit stays"
    assert len(list(temporary.iterdir())) == 2
    if not (child := os.fork()):
        del model, second
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert len(list(temporary.iterdir())) == 2, "a forked process removes what is not its own"
    del model, second
    gc.collect()
    assert not list(temporary.iterdir())


def test_numbers_truth_values_and_columns_of_tables() -> None:
    numbers = [{"food": 7, "travel": -1, "weather": 30}[label] for label in LABELS[:60]]
    table = pd.DataFrame({"said": TEXTS[:60], "class": numbers}, index=range(100, 160))
    model = small(keep=2).fit(table[["said"]], table["class"])
    assert model.classes_.tolist() == [-1, 7, 30]
    found = model.predict(table["said"])
    assert found.dtype == np.int64
    for same in (TEXTS[:60], np.array(TEXTS[:60]), np.array(TEXTS[:60], object)[:, None]):
        assert (model.predict(same) == found).all()
    assert len(model._opened.model.transformer.h) == 2
    rain = small().fit(TEXTS[:60], [label == "weather" for label in LABELS[:60]])
    assert rain.classes_.dtype == bool
    assert rain.predict(NEW).dtype == bool


def test_a_prompt_has_the_label_words_that_were_given(fitted: SlimClassifier) -> None:
    words = {"food": "meal", "travel": "trip", "weather": "sky"}
    model = small(mode="lm", template="{text} is about {label}", label_words=words)
    folder = model.fit(TEXTS[:60], LABELS[:60])._model.path
    told = json.loads((folder / "slimcls.json").read_text(encoding="utf-8"))
    assert (told["template"], told["label_words"]) == (model.template, list(words.values()))
    with pytest.raises(ValueError, match="no word for the class 'weather'"):
        model.set_params(label_words={"food": "a", "travel": "b"}).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match=r"template: must hold \{label\} exactly once"):
        model.set_params(template="{text}", label_words=None).fit(TEXTS, LABELS)


def test_the_same_rows_and_seed_give_the_same_classifier(fitted: SlimClassifier) -> None:
    again = clone(fitted).fit(pd.Series(TEXTS[::-1]), np.array(LABELS[::-1]))
    assert (again.predict_proba(NEW) == fitted.predict_proba(NEW)).all()
    other = clone(fitted).set_params(seed=1).fit(TEXTS, LABELS)
    assert (other.predict_proba(NEW) != fitted.predict_proba(NEW)).any()


def test_tools_of_scikit_learn_take_it() -> None:
    texts, labels = np.array(TEXTS[:90], object), np.array(LABELS[:90])
    scores = cross_val_score(small(), texts, labels, cv=2, error_score="raise")
    assert scores.shape == (2,)
    search = GridSearchCV(small(), {"keep": [1, np.int64(2)]}, cv=2, error_score="raise")
    search.fit(texts, labels)
    assert search.best_params_["keep"] in (1, 2)
    assert search.best_estimator_.outcome_.params_kept > 0
    lower = FunctionTransformer(lambda column: [text.lower() for text in column])
    piped = make_pipeline(lower, small()).fit(texts, labels)
    assert (piped.predict(NEW) == piped[-1].predict([text.lower() for text in NEW])).all()
    calibrated = CalibratedClassifierCV(small(), method="sigmoid", cv=2).fit(texts, labels)
    np.testing.assert_allclose(calibrated.predict_proba(NEW).sum(1), 1)


@pytest.mark.parametrize(
    ("texts", "labels", "said"),
    [
        ("one text", ["a"], "X is one string; give a list of texts"),
        ([], [], "X holds no text"),
        ([1, "b"], ["a", "b"], r"X\[0\] is 1, not a string"),
        ([float("nan"), "b"], ["a", "b"], r"X\[0\] is nan, not a string"),
        (pd.DataFrame({"a": ["b"], "c": ["d"]}), ["a"], "X has 2 columns"),
        (7, [1], "X is a int, not a list or column"),
        (TEXTS, LABELS[:5], "inconsistent numbers of samples"),
        (TEXTS, None, "requires y to be passed"),
        (TEXTS, ["same"] * 240, "one class only"),
        (TEXTS, [None, *LABELS[1:]], r"y\[0\] is missing"),
        (TEXTS, np.linspace(0, 1, 240), "continuous"),
        (TEXTS[:4], np.array(["a", 1, "a", 1], object), "several types"),
        (TEXTS[:4], ["a", "a ", "a", "b"], "'a' is the name of two classes"),
        (["", "  ", "rain", "sun"], list("abab"), "X row 0: no text"),
        (["a\ud800", *TEXTS[1:]], LABELS, "UTF-8"),
        (["rain", "soup"], ["a", "b"], "nothing is left to validate on"),
        (TEXTS, 3, "y: "),
        (TEXTS, ["\ud800", "b"] * 120, "half a surrogate pair"),
        (TEXTS, pd.Series([True, False] * 120, dtype=object), "y: Unknown label type"),
    ],
)
def test_what_cannot_be_used_is_a_user_error(texts: Any, labels: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        small().fit(texts, labels)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"label_words": {"a": "yes", "b": 3}}, "the word for the class 'b' is 3, no text"),
        ({"label_words": 3}, "label_words: must be a mapping"),
        ({"template": 3}, "template: 3 is no text"),
    ],
)
def test_words_that_are_none_are_refused_before_training(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        small(mode="lm", **settings).fit(TEXTS[:40], ["a", "b"] * 20)


def test_a_size_of_batches_that_is_none_is_refused(fitted: SlimClassifier) -> None:
    """With -1 there was no batch, and every class was as probable as another."""
    for size in (-1, 0, "x", 2.5):
        broken = pickle.loads(pickle.dumps(fitted)).set_params(eval_batch_size=size)
        with pytest.raises(UserError, match=r"batch_size .*: must be a whole number from 1 up"):
            broken.predict_proba(NEW)


def test_it_says_nothing_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    small().fit(TEXTS[:30], LABELS[:30])
    assert capsys.readouterr() == ("", "")
    small(verbose=True).fit(TEXTS[:30], LABELS[:30])
    assert "validation accuracy" in capsys.readouterr().err


def test_rows_in_memory_are_drawn_without_a_test_part() -> None:
    data = tables_in_memory(TEXTS, LABELS, sorted(set(LABELS)))
    assert len(data.test) == 0
    assert data.validation is None
    sizes = {"validation_size": 30, "test_size": 1000}
    splits = draw(data, shots="all", demos=1, seed=0, **sizes)
    assert (len(splits.test), len(splits.validation), len(splits.demonstrations)) == (0, 30, 3)
    assert len(splits.train) == 240 - 33
    other = tables_in_memory(TEXTS, LABELS[::-1], sorted(set(LABELS)))
    assert data.fingerprint != other.fingerprint
