"""Rivals: the items of a run, one schema, and what scikit-learn gives for the same texts."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import WORDS, Command, made_up_rows, write_csv
from data.shared_data import data_dir
from grids import HeldElsewhere, table, write_grid
from safetensors.torch import load_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from slimcls import grid, load, predict, runs
from slimcls.backbones import sources
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import open_cut
from slimcls.baseline import METHODS, BaselineConfig, baseline, main
from slimcls.config import RunConfig
from slimcls.data import catalog, tables
from slimcls.data.splits import Example, Splits
from slimcls.errors import UserError
from slimcls.rivals.methods import RIVALS, STRENGTHS, Nothing, Rival, Words, coefficients
from slimcls.runs.schema import RunResult
from slimcls.runs.summary import run_summary
from slimcls.session.inputs import draw_items
from slimcls.train import train

FAST: dict[str, Any] = {
    "model": "tiny-gpt2", "mode": "cls", "keep": 1, "shots": 20, "epochs": 1, "accelerator": "cpu",
    "save_model": "none",
}  # fmt: skip
ALONE = ("majority", "tfidf", "embeddings", "probe")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As all tests have it, but a third of the labels are wrong: nobody is right by ease."""
    folder = tmp_path_factory.mktemp("data") / "toy"
    folder.mkdir()
    chance = random.Random(0)
    for name, count, seed in (("train", 300, 1), ("test", 60, 2)):
        rows = [
            (text, chance.choice(list(WORDS)) if chance.random() < 0.5 else label)
            for text, label in made_up_rows(count, seed)
        ]
        write_csv(folder / f"{name}.csv", rows)
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rivals")


@pytest.fixture(scope="module")
def rivals(toy: Path, out: Path) -> dict[str, RunResult]:
    """Every rival on the toy data, by method."""
    results = baseline(BaselineConfig(dataset=str(toy), out=str(out), **FAST))
    assert [result.method for result in results] == [
        "majority", "tfidf", "embeddings", "probe", "untrained", "random-blocks",
    ]  # fmt: skip
    return {result.method: result for result in results}


@pytest.fixture(scope="module")
def tuned(toy: Path, out: Path) -> RunResult:
    """The run that they are compared to."""
    return train(RunConfig(dataset=str(toy), out=str(out), **FAST))


@pytest.fixture(scope="module")
def splits(toy: Path) -> Splits:
    return draw_items(
        RunConfig(dataset=str(toy), **FAST), tables.read_tables(catalog.find_dataset(str(toy)))
    )


def texts(items: tuple[Example, ...]) -> list[str]:
    return [item.text for item in items]


def labels(items: tuple[Example, ...]) -> list[int]:
    return [item.label for item in items]


def probabilities(result: RunResult) -> Any:
    table = pd.read_parquet(result.folder / "predictions.parquet")
    return np.stack(table.probabilities)


def test_each_is_tested_on_the_items_of_the_run(
    rivals: dict[str, RunResult], tuned: RunResult, out: Path
) -> None:
    table = runs.predictions(runs.load(out))
    wanted = table[table.run == tuned.run].reset_index(drop=True)
    assert len(wanted) == 60
    for result in rivals.values():
        found = table[table.run == result.run].reset_index(drop=True)
        assert found.id.equals(wanted.id)
        assert found.label.equals(wanted.label)
        for name in ("train_items", "validation_items", "test_items", "repeats_removed"):
            assert getattr(result, name) == getattr(tuned, name), name
        assert (found.label == found.prediction).mean() == result.test_accuracy
        assert np.allclose(found.probabilities.map(sum), 1)


def test_the_rows_are_of_one_table(
    rivals: dict[str, RunResult], tuned: RunResult, out: Path
) -> None:
    frame = runs.load(out).set_index("method")
    assert set(frame.index) == {"fine-tuned", *rivals}
    same = ["dataset", "data_fingerprint", "seed", "shots", "demos", "split", "validation_size"]
    assert len(frame[same].drop_duplicates()) == 1
    assert frame.keep.to_dict() == {
        "fine-tuned": 1, "random-blocks": 1, "untrained": 1, **dict.fromkeys(ALONE, 0),
    }  # fmt: skip
    assert frame["mode"].drop("untrained").eq("cls").all()
    assert frame["mode"]["untrained"] == "lm"
    assert frame.model[["majority", "tfidf"]].tolist() == ["", ""]
    assert frame.model[["embeddings", "probe"]].tolist() == ["tiny-gpt2"] * 2
    assert frame.depth.to_dict() | {"majority": 0, "tfidf": 0} == frame.depth.to_dict()
    for method in ("embeddings", "probe"):
        assert frame.source_fingerprint[method] == frame.source_fingerprint["fine-tuned"]
    assert frame.random_blocks.sum() == 1
    for method, result in rivals.items():
        alone = runs.read_result(result.folder)
        assert alone
        assert alone.run == result.folder.name == frame.run[method]
        assert alone.test_accuracy == result.test_accuracy
        assert pd.isna(alone.params_saved) == (method in ("majority", "tfidf"))


def test_a_folder_looks_like_a_runs(rivals: dict[str, RunResult]) -> None:
    for method in ALONE:
        folder = rivals[method].folder
        names = {path.name for path in folder.iterdir()}
        assert names - {".lock"} == {
            "config.yaml", "log.txt", "predictions.parquet", "result.parquet", "validation.parquet",
        }  # fmt: skip
        assert f"-{method}-" in folder.name
        assert "chosen on validation: " in (folder / "log.txt").read_text()
    assert "-k1-random-s0-" in rivals["random-blocks"].folder.name


def test_the_log_says_what_is_loaded_and_what_is_drawn(
    rivals: dict[str, RunResult], tuned: RunResult
) -> None:
    said = (rivals["random-blocks"].folder / "log.txt").read_text()
    drawn = "drawing the weights of 1 layers of tiny-gpt2 at random, loading its embeddings\n"
    assert drawn in said
    assert "loading 1 layers" not in said
    assert "loading 1 layers of tiny-gpt2\n" in (tuned.folder / "log.txt").read_text()


@pytest.mark.parametrize("method", [*ALONE, "untrained"])
def test_predict_says_what_a_baseline_lacks(rivals: dict[str, RunResult], method: str) -> None:
    """No setting saves what cannot be; all but a probe could be."""
    with pytest.raises(UserError) as caught:
        predict.main([str(rivals[method].folder), "a text"])
    said = str(caught.value)
    assert ("--save-model best" in said) == (method != "probe")
    figures = f"the figures of a baseline ({method}), which leaves no model"
    assert (figures in said) == (method == "probe")


def test_words_are_those_of_scikit_learn(rivals: dict[str, RunResult], splits: Splits) -> None:
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    inputs = words.fit_transform(texts(splits.train))
    best: tuple[float, Any] = (-1.0, None)
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000).fit(inputs, labels(splits.train))
        score = model.score(words.transform(texts(splits.validation)), labels(splits.validation))
        best = max(best, (score, model), key=lambda pair: pair[0])
    result = rivals["tfidf"]
    expected = best[1].predict_proba(words.transform(texts(splits.test)))
    assert result.validation_accuracy == best[0]
    assert result.test_accuracy == np.mean(expected.argmax(1) == labels(splits.test))
    assert np.allclose(probabilities(result), expected)
    assert result.params_trained == best[1].coef_.size + 3
    assert result.params_kept == 0
    assert result.labels_used == len(splits.train) + len(splits.validation)


def test_embeddings_are_the_models_own(rivals: dict[str, RunResult], splits: Splits) -> None:
    source = sources.find("tiny-gpt2", None)
    tokenizer = open_tokenizer(source)
    table = open_cut(source, (0,), head="lm").get_input_embeddings().weight.detach().double()

    def means(items: tuple[Example, ...]) -> Any:
        ids = [tokenizer(text.strip())["input_ids"] for text in texts(items)]
        return torch.stack([table[item].mean(0) for item in ids]).numpy()

    scaler = StandardScaler().fit(means(splits.train))
    best: tuple[float, Any] = (-1.0, None)
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000)
        model.fit(scaler.transform(means(splits.train)), labels(splits.train))
        score = model.score(scaler.transform(means(splits.validation)), labels(splits.validation))
        best = max(best, (score, model), key=lambda pair: pair[0])
    result = rivals["embeddings"]
    assert result.validation_accuracy == best[0]
    expected = best[1].predict_proba(scaler.transform(means(splits.test)))
    assert np.allclose(probabilities(result), expected)
    assert result.params_kept == table.numel()
    assert result.params_full > table.numel()
    assert result.params_saved == 1 - table.numel() / result.params_full
    assert result.params_trained == 3 * table.shape[1] + 3
    assert result.model_mb > table.numel() * 4 / 1e6


def test_a_probe_says_what_it_chose_and_among_what(rivals: dict[str, RunResult]) -> None:
    result = rivals["probe"]
    tried = json.loads(result.tried)
    assert len(tried) == 7 * 3, "depths 0 to 6, three poolings"
    best = min(tried, key=lambda one: one["log_loss"])
    assert result.read_layers == best["layers"]
    assert result.validation_accuracy == best["accuracy"]
    assert result.chosen == (
        f"{best['layers']} layer{'s' * (best['layers'] != 1)}, {best['pooling']}, "
        f"C = {best['strength']:.2g}"
    )
    log = (result.folder / "log.txt").read_text()
    assert f"chosen on validation: {result.chosen}\nlayers   last   mean   both\n     0  0." in log
    columns = 32 * (2 if best["pooling"] == "both" else 1)
    assert result.params_trained == 3 * columns + 3
    assert result.params_kept <= result.params_full
    assert json.loads(rivals["tfidf"].tried)[0]["name"] == "C = 0.001"
    assert rivals["tfidf"].chosen.startswith("C = ")


def test_a_probe_of_prompts_is_one_for_both_modes(toy: Path, tmp_path: Path) -> None:
    prompts = FAST | {"mode": "p-cls"}
    config: dict[str, Any] = {"dataset": str(toy), "out": str(tmp_path), "method": "probe"}
    (first,) = baseline(BaselineConfig(**config, **prompts))
    (again,) = baseline(BaselineConfig(**config, **FAST | {"mode": "lm", "lm_loss": "sequence"}))
    assert first.mode == "p-cls"
    assert again.folder == first.folder
    assert first.labels_used > baseline(BaselineConfig(**config, **FAST))[0].labels_used


def test_the_majority_is_what_validation_has_most_of() -> None:
    train = [Example(0, "x", 0), Example(1, "y", 0), Example(2, "z", 1)]
    validation = [Example(3, "u", 1), Example(4, "v", 1), Example(5, "w", 0)]
    rival = Rival(RIVALS["majority"], Nothing(), train, validation, ("a", "b", "c"))
    assert rival.chosen == "b"
    assert rival.tried == {"a": 1 / 3, "b": 2 / 3}
    assert rival.logits(["p", "q"]).softmax(1).tolist() == [[0, 1, 0]] * 2
    assert coefficients(rival.classifier) == 0
    even = Rival(RIVALS["majority"], Nothing(), train, validation[1:], ("a", "b", "c"))
    assert even.chosen == "a", "of equally good ones the more frequent in training"


def test_a_class_without_training_texts_cannot_be_predicted() -> None:
    items = [Example(n, f"{'rain' if n % 2 else 'soup'} {n}", 2 * (n % 2)) for n in range(20)]
    rival = Rival(RIVALS["tfidf"], Words(), items, items[:4], ("a", "b", "c"))
    logits = rival.logits(["rain", "soup", "unheard of"])
    assert logits.argmax(1).tolist()[:2] == [2, 0]
    assert logits[:, 1].eq(float("-inf")).all()
    assert logits.softmax(1).isfinite().all()


def test_the_weaker_of_equal_candidates_is_not_taken() -> None:
    items = [Example(n, "rain" if n % 2 else "soup", n % 2) for n in range(20)]
    rival = Rival(RIVALS["tfidf"], Words(), items, items, ("a", "b"))
    assert set(rival.tried.values()) == {1.0}
    assert rival.chosen == f"C = {STRENGTHS[0]:g}"


def test_finished_ones_are_answered_and_settings_of_training_do_not_matter(
    rivals: dict[str, RunResult], toy: Path, out: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/result.parquet")}
    other = FAST | {"lr": 1e-4, "batch_size": 4, "epochs": 2, "tune": "lora"}
    for method in (*ALONE, "untrained"):
        config = BaselineConfig(dataset=str(toy), out=str(out), method=method, **other)
        assert baseline(config)[0].folder == rivals[method].folder
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/result.parquet")} == before
    cut = BaselineConfig(dataset=str(toy), out=str(out), method="tfidf", seed=1, **other)
    assert baseline(cut)[0].folder != rivals["tfidf"].folder


def test_overwriting_measures_again(toy: Path, tmp_path: Path) -> None:
    config: dict[str, Any] = {"dataset": str(toy), "out": str(tmp_path), "method": "majority"}
    first = baseline(BaselineConfig(**config, **FAST))[0]
    (first.folder / "stale").write_text("x")
    again = baseline(BaselineConfig(**config, overwrite=True, **FAST))[0]
    assert again.folder == first.folder
    assert not (again.folder / "stale").exists()
    held = HeldElsewhere(first.folder)
    with pytest.raises(UserError, match="another process"):
        baseline(BaselineConfig(**config, overwrite=True, **FAST))
    held.let_go()


def test_a_saved_config_repeats_the_rival(
    rivals: dict[str, RunResult], command: Command, tmp_path: Path
) -> None:
    folder = rivals["tfidf"].folder
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert (saved["method"], saved["model"], saved["keep"]) == ("tfidf", "", "all")
    done = command("slimcls", "baseline", "--config", folder / "config.yaml", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / folder.name / "result.parquet").is_file()
    title, _, line = done.stdout.splitlines()
    assert title.endswith(", seed 0, 60 test items")
    assert line.split()[:2] == ["tfidf", f"{rivals['tfidf'].test_accuracy:.3f}"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--method", "tfid"], "--method tfid: must be one of all, majority, tfidf, "),
        (["--model", "tiny-gpt3"], "unknown model 'tiny-gpt3'"),
        (["--keep", "99"], "--keep 99"),
        (["--dataset", "nowhere.csv"], "nowhere.csv"),
        (["--keep", "0"], "--keep 0: at least one layer must stay"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    command: Command, toy: Path, tmp_path: Path, words: list[str], expected: str
) -> None:
    common = ["--dataset", toy, "--model", "tiny-gpt2", "--shots", 5]
    done = command("slimcls.baseline", *common, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("slimcls: error: ")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_grid_has_each_rival_once(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every cut, not of those alone that searched; a rival that fails stops no other."""
    path, out = tmp_path / "g.yaml", tmp_path / "out"
    at = {"over": ["lr"], "at": {"keep": 2}}
    write_grid(path, toy, mode=["lm", "cls"], keep=[1, 2], lr=[1e-3, 3e-3], choose=at)
    words = ["--out", str(out), "--data-dir", str(tmp_path)]
    with pytest.raises(UserError, match="no cut is finished in "):
        main(["--grid", str(path), *words])
    assert grid.main(["--config", str(path), *words]) == 0

    def fails(*_: Any) -> RunResult:
        raise UserError("no such luck")

    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "tfidf", fails)
        assert main([f"--grid={path}", *words]) == 1
    said = capsys.readouterr()
    assert "failed: tfidf, " in said.err
    assert "4 of 4 cuts finished: 10 rivals, 1 failed" in said.out
    assert main(["--grid", str(path), *words]) == 0
    rows = table(out)
    expected = {
        "fine-tuned": 6, "majority": 1, "tfidf": 1, "embeddings": 1, "probe": 2, "untrained": 2,
    }  # fmt: skip
    assert rows.method.value_counts().to_dict() == expected | {"random-blocks": 4}
    drawn = rows[rows.random_blocks]
    assert sorted(zip(drawn["mode"], drawn.keep, strict=True)) == [
        ("cls", 1), ("cls", 2), ("lm", 1), ("lm", 2),
    ]  # fmt: skip
    for mode, found in rows.groupby("mode"):
        chosen = found[(found.method == "fine-tuned") & (found.keep == 1)].lr
        assert set(found[found.random_blocks].lr) == set(chosen), mode
    assert not list(out.glob("*/model"))


def test_a_grid_without_seeds_and_choices_has_its_rivals(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, words = tmp_path / "g.yaml", ["--out", str(tmp_path / "out")]
    write_grid(path, toy, shots=[5, 10])
    assert grid.main(["--config", str(path), *words]) == 0
    assert main(["--grid", str(path), *words]) == 0
    methods = table(tmp_path / "out").method.value_counts()
    assert set(methods) == {2}
    assert set(methods.index) == {"fine-tuned", *ALONE, "random-blocks"}
    for more, again in ([], 10), (["--overwrite"], 0):
        capsys.readouterr()
        assert main(["--grid", str(path), *words, *more]) == 0
        assert capsys.readouterr().err.count("finished before") == again


def test_texts_without_words_are_said_so(tmp_path: Path) -> None:
    rows = [(f"{n % 10} {n // 10 % 10} {n // 100}", "ab"[n % 2]) for n in range(400)]
    path = write_csv(tmp_path / "digits.csv", rows)
    config = BaselineConfig(dataset=str(path), out=str(tmp_path), method="tfidf", shots=5)
    with pytest.raises(UserError, match="no training text has a word of two letters"):
        baseline(config)
    assert not list(tmp_path.glob("*/result.parquet"))


def test_words_beat_the_majority_on_real_questions(tmp_path: Path) -> None:
    results = {}
    for method in ("majority", "tfidf"):
        config = BaselineConfig(
            dataset="trec", data_dir=str(data_dir()), out=str(tmp_path), method=method, seed=0
        )
        (results[method],) = baseline(config)
    assert results["majority"].test_high < 0.3
    assert results["tfidf"].test_low > 0.65
    per_class = json.loads(results["tfidf"].per_class)
    assert sum(figures["items"] for figures in per_class) == 500


@pytest.mark.parametrize(
    "model", ["tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"]
)
def test_random_blocks_train_and_open_anywhere(
    model: str, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = FAST | {"model": model, "save_model": "best", "shots": 5, "keep": 2}
    config = BaselineConfig(dataset=str(toy), out=str(tmp_path), method="random-blocks", **settings)
    (result,) = baseline(config)
    assert (result.method, result.random_blocks) == ("random-blocks", True)
    assert result.epochs_run == 1
    assert "2 of 6 layers kept (0,1), their weights drawn anew" in capsys.readouterr().err
    folder = result.folder / "model"
    assert "drawn at random before training" in " ".join((folder / "README.md").read_text().split())
    assert run_summary(result).startswith(f"{model} cut to 2 layers with random blocks, cls on ")
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(["rain again", "salt"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = (theirs(**batch).logits / result.fitted_temperature).softmax(1)
    found = [list(p.probabilities.values()) for p in load(folder).predict(["rain again", "salt"])]
    assert torch.allclose(torch.tensor(found), expected, atol=1e-6)


def test_random_blocks_are_what_a_run_starts_from(toy: Path, tmp_path: Path) -> None:
    """Without an epoch the artefact holds them: by seed, and the rest as it was pretrained."""
    settings = FAST | {"save_model": "best", "mode": "lm", "epochs": 0, "out": str(tmp_path)}

    def weights(**more: Any) -> dict[str, torch.Tensor]:
        folder = train(RunConfig(dataset=str(toy), **settings | more)).folder / "model"
        found: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
        return found

    kept, drawn = weights(), weights(random_blocks=True)
    other = weights(random_blocks=True, seed=1)
    assert kept.keys() == drawn.keys()
    for name in kept:
        inside = ".h." in name
        assert torch.equal(kept[name], drawn[name]) == (not inside), name
        if inside and name.endswith("weight") and "ln_" not in name:
            assert not torch.equal(drawn[name], other[name]), name


def test_a_mean_probe_is_a_plain_model_that_says_what_its_regression_says(
    toy: Path, tmp_path: Path
) -> None:
    settings = FAST | {"keep": 2, "seed": 3, "save_model": "best"}
    config = BaselineConfig(dataset=str(toy), out=str(tmp_path), method="mean-probe", **settings)
    (result,) = baseline(config)
    assert (result.outcome.method, result.outcome.read_layers) == ("mean-probe", 2)
    assert result.config.layers == [0, 1]
    log = (result.folder / "log.txt").read_text()
    (agree,) = re.findall(r"says what the regression says of (\d+) of 60 validation texts", log)
    # States are kept in float16: where two classes are as good as equal, either may win.
    assert int(agree) >= 58
    table = pd.read_parquet(result.folder / "predictions.parquet")
    assert (table.label == table.prediction).mean() == result.outcome.test_accuracy
    plain = AutoModelForSequenceClassification.from_pretrained(result.folder / "model").eval()
    assert plain.config.num_hidden_layers == 3
    assert sum(p.numel() for p in plain.base_model.parameters()) == result.outcome.params_kept
    tokenizer = AutoTokenizer.from_pretrained(result.folder / "model")
    data = tables.read_tables(catalog.find_dataset(str(toy)))
    by_id = {item.id: item.text for item in draw_items(config, data).test}
    with torch.no_grad():
        said = [
            plain(**tokenizer(by_id[number], return_tensors="pt")).logits.argmax().item()
            for number in table.id[:20]
        ]
    assert [plain.config.id2label[place] for place in said] == table.prediction[:20].tolist()
    card = (result.folder / "model" / "README.md").read_text()
    assert "One more layer stands behind those and averages" in card
    assert "Only the head was fitted" in card
    assert "chose the strength" in card


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"model": "tiny-neox"}, "GPT-NeoX: its attention cannot be made even"),
        ({"keep": 2, "mode": "p-cls"}, "--method mean-probe: reads the mean over a bare text"),
        ({"keep": None, "layers": [3, 5]}, "--method mean-probe: reads the first --keep layers"),
    ],
)
def test_a_mean_probe_that_cannot_be_is_refused(
    words: dict[str, Any], said: str, toy: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        baseline(
            BaselineConfig(
                dataset=str(toy), out=str(tmp_path), method="mean-probe", **(FAST | words)
            )
        )
    assert not list(tmp_path.iterdir())


def test_a_mean_probe_of_all_layers_is_read_back(toy: Path, tmp_path: Path) -> None:
    settings = FAST | {"keep": "all", "save_model": "best"}
    config = BaselineConfig(dataset=str(toy), out=str(tmp_path), method="mean-probe", **settings)
    (first,), (again,) = baseline(config), baseline(config)
    assert again.outcome == first.outcome
    assert (first.config.keep, first.config.layers) == (6, [0, 1, 2, 3, 4, 5])
    assert load(first.folder).labels == sorted(WORDS)
