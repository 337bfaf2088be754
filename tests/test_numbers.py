"""Figures in README and docs/ that stem from runs are those of results/.

README's text has no figure besides those that are checked here.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import fields
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT, load_script

from slimcls import RunConfig, runs
from slimcls.reporting import study
from slimcls.roles import Role, settings_with
from slimcls.runs.results import read_result
from slimcls.runs.summary import run_summary
from slimcls.statistics import Estimate, paired_difference

README, RESULTS = ROOT / "README.md", ROOT / "results"


@cache
def stored(folder: str) -> pd.DataFrame:
    return runs.load(RESULTS / folder)


@cache
def trec() -> Any:
    return study.read_study(RESULTS / "smollm2-trec")


@cache
def new_study() -> Any:
    return study.read_study(RESULTS / "study")


def cells(mode: str, keep: int) -> pd.DataFrame:
    """The reported runs of a cell of the study on trec, by seed."""
    found = trec().found.runs
    return found[(found["mode"] == mode) & (found.keep == keep)].sort_values("seed")


def accuracies(method: str, mode: str | None = None) -> list[float]:
    """Mean test accuracy of a baseline at each depth, from shallow to deep."""
    found = trec().found.baselines.query("method == @method")
    found = found[found["mode"] == mode] if mode else found
    return list(found.groupby("keep").test_accuracy.mean())


def loss(mode: str, keep: int) -> Any:
    rows = trec().compared.differences.query("line == @mode and keep == @keep")
    (row,) = rows.itertuples()
    return row


def detectable(mode: str) -> str:
    """The smallest loss that eight layers could have shown, in points."""
    return f"{100 * loss(mode, 8).smallest_detectable:.1f}"


def last_loss(folder: Path) -> float:
    """Training loss of the last epoch."""
    with (folder / "curves.csv").open(encoding="utf-8") as file:
        return float(list(csv.DictReader(file))[-1]["train_loss"])


def below(mode: str, keep: int) -> tuple[str, str, str]:
    """A cut's loss in points, and the ends of its interval, the larger loss first."""
    row = loss(mode, keep)
    return f"{-100 * row.difference:.1f}", f"{-100 * row.low:.1f}", f"{abs(100 * row.high):.1f}"


def best_epochs() -> tuple[int, int, int, int]:
    """Runs of cuts, those with the best epoch last; the same at full depth."""
    found = trec().found.runs
    cut, full = found[found.keep < found.depth], found[found.keep == found.depth]
    counts = [(len(part), int((part.best_epoch == part.epochs_run).sum())) for part in (cut, full)]
    return *counts[0], *counts[1]


def five_epochs() -> str:
    """What p-cls at two layers loses in five epochs at 3e-4, against the study's full depth."""
    found = stored("smollm2").query(
        "dataset == 'trec' and mode == 'p-cls' and keep == 2 and lr == 3e-4 and epochs == 5"
    )
    assert sorted(found.seed) == [0, 42, 421]
    return f"{100 * (cells('p-cls', 30).test_accuracy.mean() - found.test_accuracy.mean()):.1f}"


def rule_losses() -> dict[str, float]:
    """Mean training loss at the end on trec, by the rule that chose the ten layers."""
    found = stored("layers/grid").query(
        "dataset == 'trec' and keep == 10 and method == 'fine-tuned'"
    )
    first_ten = found.layers.map(lambda layers: list(layers) == [*range(10)]).astype(bool)
    found = found[(found["select"] != "first") | first_ten]
    ends = {
        rule: [last_loss(Path(f)) for f in part.folder] for rule, part in found.groupby("select")
    }
    assert {len(part) for part in ends.values()} == {5}
    return {str(rule): mean(part) for rule, part in ends.items()}


def perplexity(criterion: str, removed: int) -> str:
    folder = "removal-greedy" if criterion == "greedy-loss" else "removal"
    table = pd.read_csv(RESULTS / "layers" / folder / "removal.csv")
    (value,) = table.query("criterion == @criterion and removed == @removed").perplexity
    return f"{value:.0f}" if value < 1e6 else f"{value:.0e}".replace("e+0", "e")


def edges() -> int:
    return int((trec().found.choices["at the edge"] != "").sum())


def failed() -> str:
    found = cells("p-cls", 2)
    first, *others = (f"{value:.3f}" for value in found.test_accuracy)
    ends = [f"{last_loss(Path(folder)):.2f}" for folder in found.folder]
    return (
        f"gave {first} there and {' and '.join(others)} on the other two (training loss at the end "
        f"{', '.join(ends[:2])} and {ends[2]})"
    )


def taught(task: str) -> str:
    """What two layers that full depth has taught lose on a task, in points."""
    table = load_script("page_tables").taught()
    (row,) = re.findall(rf"^\| {task} \| 2 \|.*$", table, re.M)
    mean = re.findall(r"[-+]\d+\.\d", row.split(" | ")[-2])[0]
    assert mean[0] == "-"
    return mean[1:]


def lost(keep: int, task: str) -> tuple[str, str]:
    """What a cut of the study loses, in points, and the interval in words."""
    found = new_study().compared.differences
    (row,) = found.query("line == 'cls' and task == @task and keep == @keep").itertuples()
    low, high = 100 * row.low, 100 * row.high
    assert row.difference < 0
    assert low < 0
    ends = (
        f"{-low:.1f} to {-high:.1f} below" if high < 0 else f"{-low:.1f} below to {high:.1f} above"
    )
    return f"{-100 * row.difference:.1f}", f"({ends})"


def rival(task: str, name: str) -> pd.Series:
    """The row of a cheap rival of the study."""
    found = new_study().compared.baselines
    (row,) = found.query("task == @task and baseline == @name").to_dict("records")
    return pd.Series(row)


def read_layers() -> str:
    """How many layers the probes of SST-2 read."""
    found = stored("study").query("dataset == 'sst2' and method == 'probe'").read_layers
    return f"{found.min():.0f} to {found.max():.0f}"


def pooled(*, probe_first: bool = False) -> pd.DataFrame:
    """Runs that read the mean over tokens, whose head was drawn or began as a regression."""
    runs = stored("pooling")
    return runs[runs.probe_first == probe_first]


def gained() -> float:
    """Points that two layers gain on SST-2 by the mean and a head that begins as a regression."""
    sides = (pooled(probe_first=True), stored("study").query("method == 'fine-tuned'"))
    mean, last = (
        side.query("dataset == 'sst2' and keep == 2").test_accuracy.mean() for side in sides
    )
    return 100 * float(mean - last)


def below_words() -> float:
    """Points by which two layers are below TF-IDF on AG News."""
    two = new_study().compared.cells.query("task == 'agnews' and keep == 2").accuracy.iloc[0]
    return 100 * float(rival("agnews", "tfidf").accuracy - two)


def above_words() -> float:
    """Points by which eight layers are above TF-IDF on AG News, which is shown."""
    above = pooled_difference("agnews", 8, "tfidf")
    assert above.interval()[0] > 0
    return 100 * above.mean


def readme() -> list[str]:
    saved = new_study().compared.differences.query("line == 'cls' and keep == 2").params_saved
    return [
        f"On TREC two layers ({saved.iloc[0]:.1%} of the parameters gone)".replace("%", " %"),
        "are {} points below full depth {}".format(*lost(2, "trec")),
        "half of the layers {} {}".format(*lost(15, "trec")),
        "On SST-2 two layers, at a default rate, are {} points below {}, not".format(
            *lost(2, "sst2")
        ),
        "On AG News two layers are {} points below {}, and".format(*lost(2, "agnews")),
        f"and {below_words():.1f} below TF-IDF; eight are {above_words():.1f} above it",
        f"with `--pool mean --probe-first` they gain {gained():.1f}",
        f"A frozen model, only read, {read_layers()} layers deep, has "
        f"{rival('sst2', 'probe').accuracy:.3f}",
        f"two layers are {taught('trec')} and {taught('sst2')} points below it",
    ]


def depth_study() -> list[str]:
    _, last, full, full_last = best_epochs()
    tfidf, embeddings, majority = (
        f"{accuracies(name)[0]:.3f}" for name in ("tfidf", "embeddings", "majority")
    )
    one, two, _, thirty = (f"{value:.3f}" for value in accuracies("random-blocks", "cls"))
    trained = [f"{cells('cls', keep).test_accuracy.iloc[0]:.3f}" for keep in (1, 2, 30)]
    untrained = accuracies("untrained")
    return [
        f"In all {last} runs of cuts, at the rates that were chosen",
        f"(in {full_last} of {full} at full depth)",
        failed(),
        f"lose {five_epochs()} points against the same full depth",
        f"In {edges()} of 12 choices",
        f"a loss of {detectable('cls')} points (`cls`), {detectable('p-cls')} (`p-cls`) and "
        f"{detectable('lm')} (`lm`) with 80 % power",
        f"TF-IDF has {tfidf}, the mean of the token embeddings {embeddings}, the majority class "
        f"{majority}",
        f"`cls` has {one} with one layer, {two} with two and {thirty} with thirty, where "
        f"pretrained ones have {', '.join(trained[:2])} and {trained[2]}",
        f"right on {untrained[-1]:.3f} of the questions, those of one, two or eight layers on "
        f"{untrained[0]:.3f}",
    ]


def layers() -> list[str]:
    ends = rule_losses()
    return [
        f"({perplexity('bi', 0)} uncut)",
        f"{perplexity('greedy-loss', 10)} by greedy removal, {perplexity('bi', 10)} by Block "
        f"Influence, {perplexity('first', 10)} with the first twenty kept",
        f"ended at {ends['bi']:.2f} in the mean for `bi`, {ends['bi-last']:.2f} for `bi-last` and "
        f"{ends['first']:.2f} for `first`",
    ]


def pruning() -> list[str]:
    few, *_, full = accuracies("untrained")
    return [f"(TREC {full:.2f}) and below it for its first eight layers or fewer ({few:.2f})"]


#: Words that must stand in a page, made from the stored runs.
SAID = {
    "README.md": readme, "docs/depth-study.md": depth_study, "docs/layers.md": layers,
    "docs/pruning.md": pruning,
}  # fmt: skip


@pytest.mark.parametrize("page", SAID)
def test_figures_are_those_of_the_results(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert [words for words in SAID[page]() if words not in text] == []


def test_the_output_in_readme_is_that_of_its_command() -> None:
    """Of the stored run with these settings; the lines that hang on the machine are left out."""
    page = README.read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```text\n(.*?)^```$", page, re.S | re.M)
    assert "slimcls train trec --model smollm2-135m --mode cls\n" in page
    (folder,) = (RESULTS / "readme").iterdir()
    run = read_result(folder)
    assert run is not None
    assert asked(run.config) == "slimcls train trec --model smollm2-135m --mode cls"
    printed = " ".join(run_summary(run).split())
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert [line for line in lines if line not in printed] == []


def asked(config: RunConfig) -> str:
    """The command for a run, from what is not as it is without being said."""
    plain = RunConfig(dataset="trec")
    settled = {"dataset", "lr", "layers", "precision", "accelerator", *settings_with(Role.OUTSIDE)}
    flags = [
        f"--{name} {getattr(config, name)}"
        for name in ("model", *(f.name for f in fields(config) if f.name != "model"))
        if name not in settled | {"save_model"} and getattr(config, name) != getattr(plain, name)
    ]
    return " ".join(["slimcls train", config.dataset, *flags])


def test_the_picture_of_the_demo_is_of_its_command() -> None:
    drawn = (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (words,) = re.findall(r"slimcls\.fit (bbcnews .*)", makefile)
    assert f"slimcls fit {words}" in drawn
    assert "Take TF-IDF" in drawn


def test_no_cut_of_one_or_two_layers_was_shown_to_beat_all_rivals() -> None:
    """The study's page says so; the reasons of the report name the rival."""
    few = trec().compared.differences.query("keep <= 2")
    assert len(few) == 6
    assert few.reason.str.contains("not shown to be better").all()


def test_all_cuts_of_the_study_ended_at_their_best() -> None:
    cuts, last, _, _ = best_epochs()
    assert cuts == last == 27


def test_readme_has_no_other_figure() -> None:
    text = re.sub(r"^```.*?^```$", "", README.read_text("utf-8"), flags=re.S | re.M)
    # benchmarks/table.py makes this part, and a test holds it against its files.
    text = re.sub("<!-- in short -->.*<!-- /in short -->", "", text, flags=re.S)
    known = " ".join(readme())
    figures = set(re.findall(r"(?<![\w./-])\d+\.\d+(?![\w./-])", text)) - {"3.11", "2.0"}
    assert figures <= set(re.findall(r"\d+\.\d+", known))
    assert figures


def test_the_page_on_fits_says_how_far_they_are() -> None:
    page = (ROOT / "docs" / "fit.md").read_text(encoding="utf-8")
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in (RESULTS / "fit").glob("*.json")
    }
    assert {name: one["chosen"] for name, one in found.items()} == {
        "sst2": "15 of 30 layers, frozen",
        "trec": "4 of 30 layers",
        "goemo4": "4 of 30 layers",
    }
    assert {name for name, one in found.items() if one["budget"] != "20m"} == {"trec"}
    used = found["trec"]["fit_seconds"] / 60
    assert (
        f"{found['trec']['budget'][:-1]} minutes on a busy machine, of which it used {used:.0f}"
        in page
    )
    mean = sum(one["regret"] for one in found.values()) / len(found)
    most = max(one["share_of_time"] for one in found.values())
    assert f"lose {mean:.1f} points in the mean, in at most {100 * most:.0f} % of it" in page
    assert f"15 frozen layers and lost {found['sst2']['regret']:.1f}" in page
    assert f"four trained layers, lost {found['trec']['regret']:.1f}" in page
    emotions = found["goemo4"]
    cut, one = (emotions["confirmed"][name] for name in ("4 of 30 layers", "majority class"))
    assert f"with {cut:.3f} of the test texts" in page
    assert f"one answer for all texts, which has {one:.3f} there" in page
    assert f"All 30 layers of the grid have {emotions['grid']['all 30 layers']:.3f}" in page


def test_the_page_on_the_mean_says_what_it_brings() -> None:
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    tfidf = rival("sst2", "tfidf").accuracy
    assert f"both are then above TF-IDF ({tfidf:.3f})" in page
    mean = pooled().query("dataset == 'sst2'").groupby("keep").test_accuracy.mean()
    last = new_study().compared.cells.query("task == 'sst2' and keep <= 8").accuracy
    assert last.max() < tfidf < mean.min()
    assert set(mean.index) == {2, 8}
    (table,) = re.findall("<!-- pooling -->(.*)<!-- /pooling -->", page, re.DOTALL)
    gains = re.findall(r"^\| (\w+) \|.*\| \+[\d.]+ \(([+-])", table, re.M)
    assert gains == [("goemo4", "-"), ("sst2", "+"), ("sst2", "+"), ("trec", "-")]
    assert stored("pooling").converged.all()


def test_the_page_on_a_head_that_begins_as_a_regression_says_what_was_seen() -> None:
    page = " ".join((ROOT / "docs" / "options.md").read_text(encoding="utf-8").split())
    keys = ["dataset", "keep"]
    means = [
        pooled(probe_first=first).groupby(keys).test_accuracy.mean() for first in (True, False)
    ]
    assert (means[0] - means[1]).dropna().between(0, 0.03).all()
    assert len(means[0]) == 4
    assert "none of the four is below" in page
    (table,) = re.findall("<!-- probe-first -->(.*)<!-- /probe-first -->", page)
    rows = re.findall(
        r"\| (\w+) \| \d \|[^|]*(?:\|[^|]*){2}\|([^|]*)(?:\|[^|]*){2}\|([^|]*)\|", table
    )
    shown = {(name, "(-" not in alone, "(-" not in over) for name, alone, over in rows}
    assert shown == {("goemo4", False, True), ("sst2", False, True), ("trec", False, False)}
    tried = stored("search-defaults").query("probe_first == True").set_index("lr")
    assert len(tried) == 2
    slow, fast = tried.loc[1e-4], tried.loc[3e-4]
    assert (slow.best_epoch, fast.best_epoch) == (2, 8)
    assert f"have {slow.validation_accuracy:.3f} of the validation texts after two epochs" in page
    assert f"and {fast.validation_accuracy:.3f} after eight at 3e-4" in page
    study = " ".join((RESULTS / "README.md").read_text(encoding="utf-8").split())
    full = new_study().compared.cells.query("keep == 30").set_index("task").accuracy
    two = {Path(name).stem: value for (name, keep), value in means[0].items() if keep == 2}
    tasks = ("sst2", "goemo4", "trec")
    said = (
        "have {:.3f} on SST-2, {:.3f} on GoEmotions and {:.3f} on TREC: {:.1f}, {:.1f} and {:.1f}"
    )
    lost = [100 * (full[task] - two[task]) for task in tasks]
    assert said.format(*(two[task] for task in tasks), *lost) in study


def test_the_page_on_teaching_says_how_its_sides_were_trained() -> None:
    page = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    learnt, longer = stored("teaching/taught"), stored("teaching/steps")
    taken = longer.set_index(["dataset", "seed"]).steps
    for name, task in (("TREC", "trec"), ("SST-2", "sst2")):
        steps = [f"{taken[task, seed]:,}" for seed in (0, 42, 421)]
        assert "{} {}, {} and {}".format(name, *steps) in page
    halves = {task: (float(taught(task)), float(lost(2, task)[0])) for task in ("trec", "sst2")}
    assert all(after <= before / 2 for after, before in halves.values()), "as the page says"
    ends = [last_loss(Path(folder)) for folder in learnt.folder]
    assert f"{min(ends):.3f} to {max(ends):.3f} on the teacher's scores" in page
    assert max(last_loss(Path(folder)) for folder in longer.folder) < 0.002
    assert set(learnt.lr) == set(longer.lr) == {3e-4}
    full = stored("study").query("method == 'fine-tuned' and keep == depth")
    assert set(full.lr) == {1e-4}


def test_the_study_says_how_far_it_is() -> None:
    page = " ".join((ROOT / "results" / "README.md").read_text(encoding="utf-8").split())
    found = new_study()
    table, compared = found.found.runs, found.compared
    assert set(table.task) == {"sst2", "trec", "goemo4", "agnews"}
    assert f"{len(table)} of 72" in page
    assert set(table.keep) == {1, 2, 4, 8, 15, 30}
    assert table.groupby(["dataset", "keep"]).seed.apply(sorted).tolist() == 24 * [[0, 42, 421]]
    assert set(table[table.keep <= 8].lr) == {3e-4}
    assert set(table[table.keep > 8].lr) == {1e-4}
    assert table.converged.all()
    worst = table.folder.map(lambda folder: last_loss(Path(folder))).groupby(table.task).max()
    (bound,) = re.findall(r"fit their training texts\*\* \(loss below (0\.\d+) at the end\)", page)
    last = max(worst["sst2"], worst["trec"])
    assert last < float(bound) < 2 * last
    ends = f"{worst['agnews']:.3f} at most, those on GoEmotions at {worst['goemo4']:.3f}"
    assert f"those on AG News end at {ends}, and all stopped" in page
    computed = table.groupby("task").precision.unique().map(list).to_dict()
    long, short = ["bf16"], ["32"]
    assert computed == {"sst2": short, "trec": short, "goemo4": long, "agnews": long}
    two = compared.differences.query("keep == 2").set_index("task")
    assert set(two.verdict) == {"worse"}
    tasks = ("sst2", "goemo4", "agnews", "trec")
    points = [f"{-100 * two[end][task]:.1f}" for task in tasks for end in ENDS]
    said = (
        "{} points (95 % interval {} to {}) on SST-2, {} ({} to {}) on GoEmotions, {} ({} to {}) "
        "on AG News, {} ({} to {}) on TREC"
    )
    assert said.format(*points) in page
    assert "good enough" not in set(compared.differences.verdict)
    half = compared.differences.query("keep == 15").set_index("task")
    assert set(half.verdict) == {"cannot tell", "no reference", "not shown to beat TF-IDF"}
    order = ("sst2", "agnews", "goemo4", "trec")
    shown = [f"{-100 * half.difference[task]:.1f}" for task in order]
    said = (
        "Half of the layers lose {} points on SST-2, {} on AG News, {} on GoEmotions and {} on TREC"
    )
    assert said.format(*shown) in page
    ends = [f"{-100 * half[end]['agnews']:.1f}" for end in ("low", "high")]
    assert "On AG News a loss is shown ({} to {}), but not whether".format(*ends) in page
    assert half.verdict["agnews"] == "cannot tell"
    assert all(half.low < 0)
    assert all(half.high.drop("agnews") > 0)
    eight = compared.differences.query("keep == 8").set_index("task").loc["agnews"]
    lost, low, high = (100 * eight[name] for name in ("difference", "low", "high"))
    assert f"eight layers lose {-lost:.1f} there ({-low:.1f} to {high:.1f} above)" in page
    news = compared.cells.query("task == 'agnews'").set_index("keep").accuracy
    words = pooled_difference("agnews", 2, "tfidf")
    low, high = (-100 * end for end in reversed(words.interval()))
    assert (
        f"{news[2]:.3f} against {rival('agnews', 'tfidf').accuracy:.3f}, {-100 * words.mean:.1f} "
        f"points ({low:.1f} to {high:.1f})"
    ) in page
    above = pooled_difference("agnews", 8, "tfidf")
    low, high = (100 * end for end in above.interval())
    assert (
        f"Four layers have {news[4]:.3f}, not shown to be better than it; eight have "
        f"{news[8]:.3f}, which is {100 * above.mean:.1f} points above it ({low:.1f} to {high:.1f})"
        f", and full depth has {news[30]:.3f}"
    ) in page
    assert pooled_difference("agnews", 4, "tfidf").interval()[0] < 0
    emotions = stored("study").query("dataset.str.contains('goemo4')")
    means = emotions.groupby(["method", "keep"])[["test_accuracy", "test_macro_f1"]].mean()
    full, few = means.loc[("fine-tuned", 30)], means.loc[("fine-tuned", 2)]
    one = means.loc[("majority", 0)]
    assert f"{full.test_accuracy:.3f} against {one.test_accuracy:.3f}" in page
    assert (
        f"macro-F1 is {full.test_macro_f1:.3f} at full depth, {few.test_macro_f1:.3f} with two "
        f"layers, {one.test_macro_f1:.3f} for the one answer" in page
    )


def pooled_difference(task: str, keep: int, method: str) -> Estimate:
    """A cut's accuracy minus that of a cheap rival, over the seeds of the study."""
    runs = stored("study").query("dataset == @task")
    cut = runs[(runs.method == "fine-tuned") & (runs["keep"] == keep)]
    right = load_script("page_tables")._right
    return paired_difference(right(cut), right(runs[runs.method == method]))


#: Middle and ends of a difference, the smaller loss first.
ENDS = ("difference", "high", "low")


def test_the_study_says_what_rivals_and_seeds_do() -> None:
    page = " ".join((ROOT / "results" / "README.md").read_text(encoding="utf-8").split())
    runs, means = new_study().found.runs, new_study().compared.cells
    few = means.query("task == 'sst2' and keep <= 8").accuracy
    rivals = {name: f"{rival('sst2', name).accuracy:.3f}" for name in ("tfidf", "embeddings")}
    assert few.max() < float(min(rivals.values()))
    assert f"{few.min():.3f} to {few.max():.3f}, where TF-IDF has {rivals['tfidf']}" in page
    assert f"the mean of the embeddings {rivals['embeddings']}" in page
    probes = stored("study").query("dataset == 'sst2' and method == 'probe'").test_accuracy
    spread = f"{probes.mean():.3f} ({probes.min():.3f} to {probes.max():.3f} by seed)"
    assert f"only read has {spread}, by {read_layers()} of its layers" in page
    eight = [
        ", ".join(
            f"{one:.3f}" for one in sorted(runs.query("task == @task and keep == 8").test_accuracy)
        )
        for task in ("sst2", "trec")
    ]
    assert "{} on SST-2 and {} on TREC".format(*eight) in page
    mean = means.set_index(["task", "keep"]).accuracy
    assert all(mean[task, 8] < mean[task, 4] for task in ("sst2", "trec"))
    longer = stored("teaching/steps")
    right = longer.groupby("dataset").test_accuracy.mean()
    said = f"{longer.epochs_run.min()} to {longer.epochs_run.max()} epochs gives "
    assert f"{said}{right['sst2']:.3f} on SST-2 and {right['trec']:.3f} on TREC" in page
    two = runs.query("task == 'sst2' and keep == 2")
    validation, test = (
        f"{two[name].min():.3f} to {two[name].max():.3f}"
        for name in ("validation_accuracy", "test_accuracy")
    )
    assert f"two layers have {validation} there, and {test} on the sentences" in page
