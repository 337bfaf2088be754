"""slimcls.prune: folders that open anywhere, figures that go on, errors in one line."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import PATIENCE
from processes import finished
from pruning.texts import TINY, damaged, write_texts

from slimcls import prune as verb
from slimcls.backbones import saved, sources
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import open_cut
from slimcls.config import RunConfig
from slimcls.data import catalog, tables
from slimcls.data import texts as keys
from slimcls.errors import Busy, UserError
from slimcls.layers.samples import read_texts
from slimcls.log import Log
from slimcls.pruning import evaluation
from slimcls.pruning.parts import split
from slimcls.pruning.settings import PruneConfig
from slimcls.session.inputs import make_inputs

PLAIN = """
import sys, json, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = sys.argv[1]
model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
ids = torch.tensor([[5, 9, 17, 3]])
with torch.inference_mode():
    logits = model(ids).logits
    greedy = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    cached = model.generate(ids, **greedy)
    whole = model.generate(ids, **greedy, use_cache=False)
assert not any(name.startswith("slimcls") for name in sys.modules)
print(json.dumps([logits.flatten().tolist(), cached.tolist(), whole.tolist(), len(tokenizer)]))
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "texts.txt")


def settings(texts: Path, out: Path, **more: Any) -> PruneConfig:
    known = {"model": "tiny-gpt2", "text": str(texts), "out": str(out), "samples": 8}
    return PruneConfig(**(known | more))


@pytest.mark.parametrize("name", TINY)
def test_plain_transformers_generate_with_a_pruned_folder(
    name: str, texts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pruned"
    about = verb.prune(settings(texts, out, model=name, keep=4))
    assert len(about.kept_layers) == 4
    done = finished("-c", PLAIN, out)
    assert done.returncode == 0, done.stderr
    logits, cached, whole, size = json.loads(done.stdout.splitlines()[-1])
    assert cached == whole
    assert size > 100
    ours = open_cut(sources.find(name, None), about.kept_layers, head="lm")
    with torch.inference_mode():
        expected = ours(torch.tensor([[5, 9, 17, 3]])).logits.flatten()
    assert torch.allclose(torch.tensor(logits), expected, atol=1e-5)
    config = json.loads((out / "config.json").read_text())
    assert config["slimcls_kept_layers"] == about.kept_layers
    page = (out / "README.md").read_text()
    assert f"{name} with 4 of 6 layers" in page
    assert "chosen by `bi` on texts of texts.txt" in page


def test_layers_by_rule_by_hand_and_by_file(texts: Path, tmp_path: Path) -> None:
    rule = settings(texts, tmp_path / "a", select="even", keep=2, text=None)
    assert verb.prune(rule).scores == ""
    named = verb.prune(settings(texts, tmp_path / "b", layers=[0, 2, 5], text=None))
    assert (named.kept_layers, named.removed_layers) == ([0, 2, 5], [1, 3, 4])
    from slimcls import score

    path = tmp_path / "scores.json"
    words = ["--model", "tiny-gpt2", "--text", str(texts), "--samples", "8", "--out", str(path)]
    assert score.main(words) == 0
    scored = verb.prune(settings(texts, tmp_path / "c", keep=3, scores=str(path), text=None))
    assert scored.kept_layers == json.loads(path.read_text())["kept"]["3"]
    assert scored.scores.startswith("sha256:")


def test_a_pruned_folder_can_be_pruned_and_trained_further(texts: Path, tmp_path: Path) -> None:
    verb.prune(settings(texts, tmp_path / "a", layers=[0, 2, 5]))
    again = settings(texts, tmp_path / "b", model=str(tmp_path / "a"), layers=[0, 2])
    assert (verb.prune(again).depth, verb.prune(again_into(again, tmp_path / "c")).model) == (
        3,
        "a",
    )


def again_into(config: PruneConfig, out: Path) -> PruneConfig:
    return PruneConfig(model=config.model, layers=config.layers, out=str(out))


def test_parts_have_no_text_in_common(texts: Path) -> None:
    found = read_texts(str(texts))
    parts = split(found, seed=3)
    every = [
        keys.key(t) for part in (parts.scoring, parts.healing, parts.held_out) for t in part.texts
    ]
    assert len(every) == len(set(every)) == len(found) - parts.removed
    assert split(found, seed=4).held_out.texts != parts.held_out.texts
    nearly = found.texts[0] + " Indeed"
    more = type(found)(found.name, (*found.texts, nearly), (*found.places, "x"))
    with_copy = split(more, seed=3)
    assert with_copy.removed == parts.removed + 1
    assert nearly not in (*with_copy.scoring.texts, *with_copy.held_out.texts)


def test_perplexity_is_that_of_transformers(texts: Path) -> None:
    from slimcls.layers.samples import Sample

    model = open_cut(sources.find("tiny-llama", None), range(6), head="lm")
    ids = ((5, 9, 17, 3, 21), (8, 40, 11), (7, 7, 9, 30))
    figures = evaluation.measure(model, Sample(ids, ("a", "b", "c")))
    total, count = 0.0, 0
    for one in ids:
        words = torch.tensor([one])
        with torch.inference_mode():
            total += float(model(words, labels=words).loss) * (len(one) - 1)
        count += len(one) - 1
    assert figures.perplexity == pytest.approx(math.exp(total / count), rel=1e-5)
    assert figures.low <= figures.perplexity <= figures.high
    assert math.isnan(figures.accuracy)


def compared(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index(["criterion", "removed"]).sort_index()


def test_criteria_are_compared_on_the_same_texts(texts: Path, tmp_path: Path) -> None:
    config = settings(
        texts, tmp_path, evaluate=True, criteria="first,sequential,greedy-loss", most=3, held_out=6
    )
    table = compared(verb.evaluate(config))
    assert len(table) == 3 * 4
    whole = table.xs(0, level="removed").perplexity
    assert whole.nunique() == 1
    assert table.loc[("first", 2), "kept"] == "0,1,2,3"
    assert table.loc[("sequential", 2), "kept"] == "2,3,4,5"
    greedy = [len(kept.split(",")) for kept in table.loc["greedy-loss"].kept]
    assert greedy == [6, 5, 4, 3]


def test_a_stopped_comparison_goes_on(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(texts, tmp_path, evaluate=True, criteria="first,even", most=3, held_out=6)
    measure, calls = evaluation.measure, []

    def stops(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measure(*args)

    monkeypatch.setattr(evaluation, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        verb.evaluate(config)
    calls.clear()
    calls += [1] * 10
    table = verb.evaluate(config)
    assert len(calls) - 10 == table.kept.nunique() - 3
    monkeypatch.setattr(evaluation, "measure", lambda *args: pytest.fail("measured again"))
    assert verb.evaluate(config).equals(table)
    with pytest.raises(UserError, match="figures of other settings"):
        verb.evaluate(settings(texts, tmp_path, evaluate=True, criteria="first", held_out=5))


def test_label_words_are_scored_untrained(texts: Path, tmp_path: Path, toy: Path) -> None:
    toy = shutil.copytree(toy, tmp_path / "toy")
    known = {"criteria": "first", "most": 2, "held_out": 4, "dataset": str(toy)}
    config = settings(texts, tmp_path / "out", evaluate=True, **known)
    table = verb.evaluate(config)
    assert table.accuracy.tolist() == [plain_accuracy(toy, keep) for keep in (6, 5, 4)]
    for more in ({"demos": 2}, {"test_size": 5}, {"max_text_tokens": 8}):
        with pytest.raises(UserError, match="figures of other settings"):
            verb.evaluate(dataclasses.replace(config, **more))
    pd.read_csv(toy / "test.csv").iloc[:-1].to_csv(toy / "test.csv", index=False)
    with pytest.raises(UserError, match="figures of other settings"):
        verb.evaluate(config)


def plain_accuracy(toy: Path, keep: int) -> float:
    """The same items, each prompt on its own, by the logits of plain transformers."""
    run = RunConfig(
        dataset=str(toy), model="tiny-gpt2", mode="lm", shots=1, validation_size=1, test_size=500
    )
    source = sources.find("tiny-gpt2", None)
    data = tables.read_tables(catalog.find_dataset(str(toy)), None)
    tokenizer = open_tokenizer(source, never_empty=False)
    inputs = make_inputs(run, data, tokenizer, Log(quiet=True))
    model: Any = open_cut(source, range(keep), head="lm").eval()
    words = [ids[0] for ids in inputs.mode.word_ids]
    with torch.inference_mode():
        logits = [model(torch.tensor([ids])).logits[0, -1, words] for ids in inputs.test]
    right = [
        int(scores.argmax()) == item.label
        for scores, item in zip(logits, inputs.splits.test, strict=True)
    ]
    return sum(right) / len(right)


def test_the_command_writes_tables_and_figures(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--model",
        "tiny-opt",
        "--text",
        str(texts),
        "--out",
        str(tmp_path / "r"),
        "--evaluate",
    ]
    more = ["--held-out", "4", "--samples", "4", "--criteria", "bi,first", "--most", "2"]
    assert verb.main([*words, *more]) == 0
    assert "| first |" in capsys.readouterr().out
    assert verb.main([*words, "--held-out", "4", "--parts"]) == 0
    names = {path.name for path in (tmp_path / "r").iterdir()}
    assert {"removal.png", "removal.csv", "parts.svg", "parts.csv", "known.json"} <= names
    parts = pd.read_csv(tmp_path / "r" / "parts.csv")
    assert set(parts.criterion) == {"nothing", "block", "attention", "mlp"}
    assert len(parts) == 1 + 3 * 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--keep", "2", "--select", "bii"], "did you mean 'bi'"),
        (["--keep", "2"], "--text: --select bi looks at texts"),
        (["--select", "first"], "--keep: say how many layers stay"),
        (["--keep", "2", "--layers", "0,1"], "--layers names the layers itself"),
        (["--select", "bi", "--layers", "0,1"], "--layers names the layers itself"),
        (["--scores", "s.json", "--layers", "0,1"], "--layers names the layers itself"),
        (["--keep", "6", "--select", "even"], "--select even has nothing to choose"),
        (["--keep", "7", "--select", "first"], "--keep 7"),
        (["--layers", "0,9"], "--layers 0,9: the model has 6 layers"),
        (["--keep", "2", "--select", "first", "--heal", "5"], "--text: --heal trains on texts"),
        (["--evaluate"], "--text: perplexity needs texts"),
        (["--evaluate", "--text", "x.txt", "--keep", "2"], "--evaluate writes no model"),
        (["--evaluate", "--text", "x.txt", "--criteria", "bi,firts"], "did you mean 'first'"),
        (["--evaluate", "--text", "x.txt", "--criteria", ","], "--criteria: names none (known: bi"),
        (["--evaluate", "--text", "x.txt", "--scores", "s.json"], "--scores: --evaluate makes no"),
        (["--evaluate", "--text", "x.txt", "--demos", "2"], "--demos: --evaluate makes no use"),
        (["--evaluate", "--parts", "--text", "x.txt", "--most", "2"], "--most: --evaluate --parts"),
        (["--layers", "0,1", "--held-out", "5"], "--held-out: a pruned model makes no use of it"),
        (["--layers", "0,1", "--criteria", "bi"], "--criteria: a pruned model makes no use of it"),
        (["--layers", "0,1", "--out", "."], "--out .: is the folder you are in"),
        (["--keep", "2", "--text", "nowhere.txt"], "nowhere.txt"),
        (["--keep", "2", "--text", "empty.txt"], "empty.txt: the file is empty"),
        (["--keep", "2", "--text", "few.txt"], "few.txt: 3 different texts are too few"),
        (["--keep", "2", "--text", "short.txt"], "has fewer than 2 tokens; leave it out"),
        (["--evaluate", "--text", "short.txt"], "has fewer than 2 tokens; leave it out"),
    ],
)
def test_what_the_user_got_wrong_is_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, lines in (
        ("empty", []),
        ("few", ["some words", "others", "one more"]),
        ("short", "abcdefghijkl"),
    ):
        Path(f"{name}.txt").write_text("\n".join(lines))
    with pytest.raises(UserError, match=re.escape(message)):
        verb.main(["--model", "tiny-gpt2", "--out", "out", *words])
    assert not (tmp_path / "out").exists()


def test_scores_of_another_model_or_criterion_are_refused(texts: Path, tmp_path: Path) -> None:
    from slimcls import score

    path = tmp_path / "scores.json"
    words = ["--model", "tiny-opt", "--text", str(texts), "--samples", "4", "--out", str(path)]
    assert score.main(words) == 0
    known = {"text": None, "keep": 3, "scores": str(path)}
    with pytest.raises(UserError, match=r"measured on tiny-opt .* not on this tiny-gpt2"):
        verb.prune(settings(texts, tmp_path / "a", **known))
    with pytest.raises(UserError, match="holds bi scores; --select taylor needs its own"):
        verb.prune(settings(texts, tmp_path / "a", select="taylor", **known))
    assert not (tmp_path / "a").exists()


def test_nan_is_one_line_and_nothing_is_written(texts: Path, tmp_path: Path) -> None:
    folder = damaged(tmp_path)
    words = ["--model", str(folder), "--text", str(texts)]
    for more in (
        ["--evaluate", "--criteria", "first", "--held-out", "4"],
        ["--evaluate", "--criteria", "greedy-loss", "--samples", "4", "--held-out", "4"],
        ["--evaluate", "--parts", "--held-out", "4"],
        ["--keep", "2", "--samples", "4"],
        ["--keep", "5", "--select", "first", "--heal", "2", "--held-out", "4"],
    ):
        message = r"model\.layers\.4\..* holds numbers that are not finite"
        with pytest.raises(UserError, match=message):
            verb.main([*words, *more, "--out", str(tmp_path / "out")])
        assert not list(tmp_path.glob("*out*"))


def test_a_model_that_is_there_is_not_replaced_unasked(texts: Path, tmp_path: Path) -> None:
    verb.prune(settings(texts, tmp_path / "a", layers=[0, 1]))
    with pytest.raises(UserError, match="--overwrite replaces"):
        settings(texts, tmp_path / "a", layers=[0])
    again = settings(texts, tmp_path / "a", layers=[0], overwrite=True)
    assert verb.prune(again).kept_layers == [0]
    assert json.loads((tmp_path / "a" / "config.json").read_text())["n_layer"] == 1
    with pytest.raises(UserError, match="is the model that is to be pruned"):
        settings(texts, tmp_path / "a", model=str(tmp_path / "a"), layers=[0], overwrite=True)


@pytest.mark.fault("races")
def test_two_at_once_are_one_model_and_one_line(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is stopped when half of its files are written; the second must not add its own."""
    out = tmp_path / "a"
    half, go_on = threading.Event(), threading.Event()
    save = saved.save

    def slowly(model: Any, tokenizer: Any, folder: Path) -> None:
        (folder / "config.json").touch()
        half.set()
        assert go_on.wait(PATIENCE)
        save(model, tokenizer, folder)

    second = settings(texts, out, layers=[0, 1])
    measured = settings(texts, out, evaluate=True, criteria="first", held_out=4)
    monkeypatch.setattr(saved, "save", slowly)
    first = threading.Thread(target=verb.prune, args=[settings(texts, out, layers=[0, 1, 2, 3, 4])])
    first.start()
    assert half.wait(PATIENCE)
    for other in (second, measured):
        with pytest.raises(Busy, match="a: another process is writing there; wait for it"):
            (verb.evaluate if other.evaluate else verb.prune)(other)
    go_on.set()
    first.join(PATIENCE)
    assert json.loads((out / "config.json").read_text())["n_layer"] == 5
    assert len(json.loads((out / "pruned.json").read_text())["kept_layers"]) == 5
    with pytest.raises(UserError, match="--overwrite replaces"):
        verb.prune(second)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nothing_but_a_pruned_model_is_replaced(texts: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "sub" / "notes.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(UserError, match="holds no pruned model to replace"):
        settings(texts, tmp_path / "kept", layers=[0], overwrite=True)
    healing = tmp_path / "a.healing"
    healing.mkdir()
    verb.prune(settings(texts, tmp_path / "a", layers=[0]))
    assert healing.is_dir(), "the checkpoint of a healing that was stopped"
    modes = {path.stat().st_mode for path in (tmp_path / "a").iterdir()}
    assert len(modes) == 1, "who may read the card may read the weights"


def test_a_damaged_file_of_figures_is_one_line(texts: Path, tmp_path: Path) -> None:
    config = settings(texts, tmp_path, evaluate=True, criteria="first", most=1, held_out=4)
    path = tmp_path / "known.json"
    for content in ("{", "[]", '{"about": 1}', '{"about": 1, "figures": {}}'):
        path.write_text(content)
        with pytest.raises(UserError, match=r"known\.json: cannot be read|other settings"):
            verb.evaluate(config)
    path.unlink()
    verb.evaluate(config)
    about = json.loads(path.read_text())["about"]
    for figures in ([], {"first": []}, {"first": {"of another version": 1}}):
        path.write_text(json.dumps({"about": about, "figures": figures}))
        with pytest.raises(UserError, match=r"known\.json: cannot be read"):
            verb.evaluate(config)


def test_rows_that_are_left_out_are_said(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line.replace('"', "") for line in texts.read_text().splitlines()]
    rows = [f'"{line}"' for line in lines if line.strip()]
    path = tmp_path / "texts.csv"
    path.write_text("\n".join(["text", *rows, '""', ""]))
    verb.prune(settings(path, tmp_path / "out", keep=2, select="bi", skip_bad_rows=True))
    assert f"bad rows left out: 1 (line {len(rows) + 2})" in capsys.readouterr().err


def test_criteria_named_twice_count_once(texts: Path, tmp_path: Path) -> None:
    config = settings(texts, tmp_path, evaluate=True, criteria="first, first", most=1, held_out=4)
    assert verb.evaluate(config).removed.tolist() == [0, 1]


def test_nothing_outside_is_live_on_the_card(tmp_path: Path) -> None:
    """Names of files are shown as they are."""
    name = "![x](y) <b> `c`.txt"
    write_texts(tmp_path / name)
    verb.prune(settings(tmp_path / name, tmp_path / "a", select="bi", keep=3, heal=1, held_out=4))
    card = (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    assert card.count(r"!\[x\](y) \<b\> \`c\`.txt") == 2


def test_scores_from_a_file_say_what_they_looked_at(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from slimcls import score

    other, path = write_texts(tmp_path / "other.txt"), tmp_path / "scores.json"
    words = ["--model", "tiny-gpt2", "--text", str(other), "--samples", "4", "--out", str(path)]
    assert score.main(words) == 0
    known = {"keep": 3, "scores": str(path), "samples": None}
    about = verb.prune(settings(texts, tmp_path / "a", **known))
    assert about.text == "other.txt"
    assert "on texts of other.txt" in (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    healed = {"heal": 1, "held_out": 4, "text": str(other)}
    verb.prune(settings(texts, tmp_path / "b", **known, **healed))
    assert "some may be healed on or held out here" in capsys.readouterr().err


def test_a_model_too_big_for_the_memory_is_one_line(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimcls.backbones.sizes.available_memory", lambda device: 1000)
    for more in ({"layers": [0]}, {"keep": 2}, {"evaluate": True, "criteria": "first"}):
        one = settings(texts, tmp_path / "a", **more)
        do = verb.evaluate if one.evaluate else verb.prune
        with pytest.raises(UserError, match=r"layers? take .* are free; --force tries"):
            do(one)
    verb.prune(settings(texts, tmp_path / "a", layers=[0], samples=None, force=True))
