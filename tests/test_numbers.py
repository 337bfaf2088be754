"""Figures in README and docs/ that stem from runs are those of results/.

A row of ``said`` is a page and words that must stand in it, made from the stored runs. README's
text has no figure besides.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
from conftest import ROOT

from slimcls import runs
from slimcls.reporting import study

RESULTS = ROOT / "results"
MODES = ("cls", "lm", "p-cls")


@cache
def trec() -> Any:
    return study.read(RESULTS / "smollm2-trec")


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
    found = runs.load(RESULTS / "smollm2").query(
        "dataset == 'trec' and mode == 'p-cls' and keep == 2 and lr == 3e-4 and epochs == 5"
    )
    assert sorted(found.seed) == [0, 42, 421]
    return f"{100 * (cells('p-cls', 30).test_accuracy.mean() - found.test_accuracy.mean()):.1f}"


def rule_losses() -> dict[str, float]:
    """Mean training loss at the end on trec, by the rule that chose the ten layers."""
    found = runs.load(RESULTS / "layers" / "grid").query(
        "dataset == 'trec' and keep == 10 and method == 'fine-tuned'"
    )
    first_ten = found.layers.map(lambda layers: list(layers) == [*range(10)]).astype(bool)
    found = found[(found["select"] != "first") | first_ten]
    ends = {
        rule: [last_loss(Path(f)) for f in part.folder] for rule, part in found.groupby("select")
    }
    assert {len(part) for part in ends.values()} == {5}
    return {str(rule): mean(part) for rule, part in ends.items()}


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


@cache
def said() -> list[tuple[str, str]]:
    """Pages and words."""
    _, last, full, full_last = best_epochs()
    rivals = {name: f"{accuracies(name)[0]:.3f}" for name in ("tfidf", "embeddings", "majority")}
    ends = rule_losses()
    one, two, _, thirty = (f"{value:.3f}" for value in accuracies("random-blocks", "cls"))
    trained = [f"{cells('cls', keep).test_accuracy.iloc[0]:.3f}" for keep in (1, 2, 30)]
    untrained = accuracies("untrained")
    eight, two_layers, saved = below("cls", 8), below("cls", 2), loss("cls", 8).params_saved
    return [
        ("README.md", f"({saved:.1%} of the parameters gone)".replace("%", " %")),
        ("README.md", f"are {eight[0]} points below full depth"),
        ("README.md", f"(95 % interval {eight[1]} below to {eight[2]} above)"),
        ("README.md", f"two layers {two_layers[0]} ({two_layers[1]} to {two_layers[2]} below)"),
        ("docs/depth-study.md", f"In all {last} runs of cuts, at the rates that were chosen"),
        ("docs/depth-study.md", f"(in {full_last} of {full} at full depth)"),
        ("docs/depth-study.md", failed()),
        ("docs/depth-study.md", f"lose {five_epochs()} points against the same full depth"),
        ("docs/depth-study.md", f"In {edges()} of 12 choices"),
        ("docs/depth-study.md", f"TF-IDF has {rivals['tfidf']}, the mean of the token embeddings "
                                f"{rivals['embeddings']}, the majority class {rivals['majority']}"),
        ("docs/depth-study.md", f"`cls` has {one} with one layer, {two} with two and {thirty} with "
                                f"thirty, where pretrained ones have {', '.join(trained[:2])} and "
                                f"{trained[2]}"),
        ("docs/depth-study.md", f"right on {untrained[-1]:.3f} of the questions, those of one, two "
                                f"or eight layers on {untrained[0]:.3f}"),
        ("docs/layers.md", f"ended at {ends['bi']:.2f} in the mean for `bi`, {ends['bi-last']:.2f} "
                           f"for `bi-last` and {ends['first']:.2f} for `first`"),
    ]  # fmt: skip


def test_figures_are_those_of_the_results() -> None:
    pages = {page for page, _ in said()}
    text = {page: " ".join((ROOT / page).read_text(encoding="utf-8").split()) for page in pages}
    assert [(page, words) for page, words in said() if words not in text[page]] == []


def test_all_cuts_of_the_study_ended_at_their_best() -> None:
    cuts, last, _, _ = best_epochs()
    assert cuts == last == 27


def test_readme_has_no_other_figure() -> None:
    text = re.sub(r"^```.*?^```$", "", (ROOT / "README.md").read_text("utf-8"), flags=re.S | re.M)
    known = " ".join(words for page, words in said() if page == "README.md")
    figures = set(re.findall(r"(?<![\w./-])\d+\.\d+(?![\w./-])", text)) - {"3.11", "2.0"}
    assert figures <= set(re.findall(r"\d+\.\d+", known))
    assert figures
