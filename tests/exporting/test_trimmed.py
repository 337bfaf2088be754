"""slimcls export --vocabulary: fewer tokens, the same classifier for texts that have only those."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import made_up_rows
from exporting.conftest import make_run
from processes import finished

import slimcls
from slimcls import UserError
from slimcls.classifier.artefact import load_run
from slimcls.config import RunConfig
from slimcls.data.cutting import tokens_of
from slimcls.data.prompts import PromptBuilder
from slimcls.export import export
from slimcls.exporting.parity import ODD
from slimcls.exporting.report import Report
from slimcls.exporting.retuning import retuned
from slimcls.exporting.settings import ExportConfig
from slimcls.exporting.trimming import counted_texts, fewest
from slimcls.session.again import drawn_again
from slimcls.train import train

TEXTS = [text for text, _ in made_up_rows(20, 5)]
TOKENS = 420


def asked(run: Path, out: Path, **settings: Any) -> ExportConfig:
    return ExportConfig(run=str(run), out=str(out), **{"tolerate": 100, **settings})


@pytest.fixture(scope="module")
def trimmed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    out = tmp_path_factory.mktemp("trimmed") / "out"
    return out, export(asked(run, out, vocabulary=TOKENS, to="transformers"))


def logits(classifier: Any, texts: list[str]) -> Any:
    return np.asarray(classifier.logits(classifier.encoder.encode(texts).ids))


def names(classifier: Any, text: str) -> set[str]:
    (ids,) = classifier.encoder.encode([text]).ids
    return set(classifier.encoder.tokenizer.convert_ids_to_tokens(ids))


def test_texts_of_kept_tokens_have_the_runs_logits_and_all_have_some(
    run: Path, trimmed: tuple[Path, Report]
) -> None:
    ours, theirs = load_run(run), slimcls.load(trimmed[0])
    vocabulary = theirs.encoder.tokenizer.get_vocab()
    assert len(vocabulary) == TOKENS
    kept = [text for text in (*TEXTS, *ODD) if names(ours, text) <= vocabulary.keys()]
    assert len(kept) > 5
    np.testing.assert_allclose(logits(theirs, kept), logits(ours, kept), atol=1e-6)
    assert np.isfinite(logits(theirs, [*TEXTS, *ODD])).all()
    assert theirs.encoder.shared_prefix_ids()  # the demonstrations are in it


def test_what_is_said_of_it(run: Path, trimmed: tuple[Path, Report]) -> None:
    folder, report = trimmed
    found, drawn = report.trimmed, drawn_again(run, None)
    assert found is not None
    assert (found.tokens, found.of, found.epochs, found.tried) == (TOKENS, 1024, 0, {})
    ours, theirs = load_run(run), slimcls.load(folder)
    texts = [item.text for item in drawn.splits.validation]
    lengths = [len(ids) for ids in tokens_of(theirs.encoder.tokenizer, texts, whole=False)]
    assert found.per_text == pytest.approx(np.mean(lengths))
    assert found.per_text_of_run <= found.per_text
    assert found.per_other_of_run < found.per_other
    vocabulary = theirs.encoder.tokenizer.get_vocab()
    whole = sum(names(ours, text) <= vocabulary.keys() for text in texts)
    assert (found.as_before, found.validation) == (whole, len(texts))
    assert json.loads((folder / "slimcls.json").read_text())["trimmed"] == {
        "tokens": TOKENS, "of": 1024,
    }  # fmt: skip
    assert json.loads((folder / "parity.json").read_text())["trimmed"]["counted"] == found.counted
    assert f"{TOKENS:,} of 1,024 tokens" in (folder / "README.md").read_text()
    size = (run / "model" / "model.safetensors").stat().st_size
    saved = size - (folder / "model.safetensors").stat().st_size
    assert saved == pytest.approx(4 * 32 * (1024 - TOKENS), rel=0.02)


def test_neither_validation_nor_test_texts_are_counted(run: Path, tmp_path: Path) -> None:
    drawn = drawn_again(run, None)
    held_out = {item.text for item in (*drawn.splits.validation, *drawn.splits.test)}
    file = tmp_path / "more.txt"
    file.write_text("\n".join(["more of it", *sorted(held_out)]))
    found = counted_texts(drawn, str(file))
    assert "more of it" in found
    assert not held_out & set(found)
    assert {item.text for item in drawn.splits.train} < set(found)
    assert counted_texts(drawn, "rest") == [text for text in found if text != "more of it"]


#: Opens the folder with transformers alone.
OPENS = """
import json, sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, texts = sys.argv[1], json.loads(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
with torch.no_grad():
    print(json.dumps(model(**batch).logits.tolist()))
assert "slimcls" not in sys.modules
"""


def test_transformers_opens_it_without_slimcls(trimmed: tuple[Path, Report]) -> None:
    texts = [*TEXTS[:5], "", "Köln, unheard of: 日本"]
    words = ["-c", OPENS, trimmed[0], json.dumps(texts)]
    done = finished(*words, cwd=trimmed[0].parent)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        json.loads(done.stdout), logits(slimcls.load(trimmed[0]), texts), atol=1e-5
    )


def test_a_trimmed_folder_becomes_onnx_of_fewer_bits(
    run: Path, trimmed: tuple[Path, Report], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    report = export(asked(run, out, vocabulary=TOKENS, bits=8))
    assert report.trimmed is not None
    assert report.trimmed.tokens == TOKENS
    small, plain = slimcls.load(out), slimcls.load(trimmed[0])
    assert small.encoder.encode(TEXTS) == plain.encoder.encode(TEXTS)
    assert 0 < np.abs(logits(small, TEXTS) - logits(plain, TEXTS)).max() < 0.2


def test_a_tokenizer_of_another_export_is_refused(
    exported: dict[int, tuple[Path, Report]], trimmed: tuple[Path, Report], tmp_path: Path
) -> None:
    folder = shutil.copytree(exported[32][0], tmp_path / "folder")
    shutil.copy(trimmed[0] / "tokenizer.json", folder)
    with pytest.raises(UserError, match=r"tokenizer\.json: is damaged or of another export"):
        slimcls.load(folder)
    # In a plain folder the other way round: more tokens than the model has rows for.
    folder = shutil.copytree(trimmed[0], tmp_path / "plain")
    shutil.copy(exported[32][0] / "tokenizer.json", folder)
    with pytest.raises(UserError, match="both must be of the same run"):
        slimcls.load(folder)


@pytest.fixture(scope="module")
def whole_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose prompt is no part of its tokenizer, with a head of a row a token."""
    folder = tmp_path_factory.mktemp("words")
    return make_run(folder, model="tiny-neox", mode="lm", lm_loss="sequence", epochs=1, keep=1)


def test_a_language_model_with_label_words_of_its_own(whole_words: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(asked(whole_words, out, vocabulary=700, to="transformers"))
    ours, theirs = load_run(whole_words), slimcls.load(out)
    assert isinstance(ours.encoder, PromptBuilder)
    assert isinstance(theirs.encoder, PromptBuilder)
    assert theirs.model.config.vocab_size <= 700
    told = [
        [side.encoder.tokenizer.convert_ids_to_tokens(ids) for ids in side.encoder.label_ids]
        for side in (ours, theirs)
    ]
    assert told[0] == told[1]
    about = json.loads((out / "slimcls.json").read_text())
    assert about["label_word_ids"] == theirs.encoder.label_ids
    vocabulary = theirs.encoder.tokenizer.get_vocab()
    kept = [text for text in TEXTS if names(ours, text) <= vocabulary.keys()]
    # Over the whole vocabulary fewer tokens share all the probability: what each class has follows.
    apart = logits(theirs, kept) - logits(ours, kept)
    assert kept
    assert (apart > 0).all()
    with pytest.raises(UserError, match="--retune 1: not for a run of --lm-loss sequence"):
        export(asked(whole_words, tmp_path / "no", vocabulary=700, to="transformers", retune=1))
    assert not (tmp_path / "no").exists()


def test_a_layer_that_averages_is_not_tuned(tmp_path: Path, toy: Path) -> None:
    made = train(
        RunConfig(
            dataset=str(toy), model="tiny-llama", mode="cls", keep=2, pool="mean", shots=20,
            epochs=1, baseline=False, out=str(tmp_path / "runs"),
        )
    )  # fmt: skip
    out = tmp_path / "no"
    with pytest.raises(UserError, match="--retune 1: not for a run whose last layer averages"):
        export(asked(made.folder, out, vocabulary=700, to="transformers", retune=1))
    assert not out.exists()


def test_the_fewest_that_fit_are_found() -> None:
    sizes = list(range(10, 200, 10))
    for least in (10, 70, 190):
        asked_for: list[int] = []

        def fits(size: int, least: int = least, seen: list[int] = asked_for) -> bool:
            seen.append(size)
            return size >= least

        assert fewest(sizes, fits) == least
        assert len(asked_for) <= 5
    assert fewest(sizes, lambda size: False) is None


def test_auto_takes_the_fewest_that_may_be(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = export(asked(run, out, vocabulary="auto", to="transformers", tolerate=25))
    found = report.trimmed
    assert found is not None
    fitting = [tokens for tokens, share in found.tried.items() if share <= 25]
    assert len(slimcls.load(out).encoder.tokenizer.get_vocab()) == found.tokens
    assert found.tokens <= min(fitting) < found.tokens + 64
    assert report.validation is not None
    assert report.validation.share == found.tried[min(fitting)]
    assert {path.name for path in out.iterdir()} == {
        "config.json", "model.safetensors", "parity.json", "README.md", "slimcls.json",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_retuning_learns_what_the_run_says(run: Path, tmp_path: Path) -> None:
    ours, drawn = load_run(run), drawn_again(run, None)
    texts = counted_texts(drawn, None)
    spoilt = load_run(run)
    with torch.no_grad():
        spoilt.model.score.weight += torch.linspace(-6, 6, 3)[:, None]

    def apart(classifier: Any) -> float:
        wanted, given = (
            torch.as_tensor(logits(one, texts)).log_softmax(1) for one in (ours, classifier)
        )
        return float((wanted.exp() * (wanted - given)).sum(1).mean())

    before = apart(spoilt)
    scratch = tmp_path / "scratch"
    again = retuned(spoilt, ours, texts, drawn, epochs=8, scratch=scratch)
    assert before > 0.05
    assert apart(again) < before / 2
    assert apart(spoilt) == before
    assert not scratch.exists()


def test_a_retuned_export_leaves_the_run_as_it_was(run: Path, tmp_path: Path) -> None:
    of_run = []
    for epochs in (0, 1):
        out = tmp_path / str(epochs)
        report = export(asked(run, out, vocabulary=330, to="transformers", retune=epochs))
        assert report.trimmed is not None
        assert report.accuracy is not None
        assert report.trimmed.epochs == epochs
        of_run.append(report.accuracy.run)
        assert not (out / "retuning").exists()
    assert of_run[0] == of_run[1]
    zero, one = (logits(slimcls.load(tmp_path / name), TEXTS) for name in "01")
    assert np.abs(zero - one).max() > 1e-4
