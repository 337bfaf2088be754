"""Figures: what they say is readable at page width, without colour, with units."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from slimcls.reporting import figures

BASELINES = pd.DataFrame(columns=["task", "baseline", "mode", "accuracy"])


def cells(keeps: list[int]) -> pd.DataFrame:
    """Two modes of one task."""
    rows = [
        {
            "task": "trec", "line": mode, "keep": keep, "depth": 30, "accuracy": 0.8, "low": 0.7,
            "high": 0.9, "params_kept": 1e6 * keep, "train_seconds": 9.0, "peak_memory_mb": 8.0,
            "latency_ms": 7.0, "weights_mb": 6.0,
        }
        for mode in ("cls", "lm")
        for keep in keeps
    ]  # fmt: skip
    return pd.DataFrame(rows)


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_full_depth_is_filled_and_lies_above_the_hollow_marker_there() -> None:
    (axes,) = figures.accuracy_against_layers(cells([2, 30]), BASELINES).axes
    with_markers = [line for line in axes.lines if line.get_marker() in ("o", "s")]
    filled = [line for line in with_markers if line.get_mfc() != "white"]
    assert len(filled) == 2
    hollow = [line for line in with_markers if line not in filled]
    assert min(line.zorder for line in filled) > max(line.zorder for line in hollow)


def test_one_depth_is_seen_as_one() -> None:
    """Modes side by side would fill the axis otherwise, as if they were many depths."""
    (axes,) = figures.accuracy_against_layers(cells([2]), BASELINES).axes
    assert axes.get_xlim() == (1, 4)
    drawn = [x for line in axes.lines if line.get_marker() in ("o", "s") for x in line.get_xdata()]
    assert 1.9 < min(drawn) < max(drawn) < 2.1


def test_baselines_of_one_name_are_told_apart() -> None:
    rows = [
        ("trec", "tfidf", "", 0.8),
        ("trec", "embeddings", "a", 0.7),
        ("trec", "embeddings", "b", 0.66),
    ]
    levels = pd.DataFrame(rows, columns=BASELINES.columns)
    (axes,) = figures.accuracy_against_layers(cells([2, 30]), levels).axes
    assert {"tfidf", "embeddings, a", "embeddings, b"} <= {line.get_label() for line in axes.lines}


def test_the_axis_spans_what_was_measured() -> None:
    """A level far below, such as the majority's, is told in the legend; one above is drawn."""
    rows = [("trec", "majority", "", 0.2), ("trec", "tfidf", "", 0.95)]
    levels = pd.DataFrame(rows, columns=BASELINES.columns)
    figure = figures.accuracy_against_layers(cells([2, 30]), levels)
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert 0.65 < low < 0.7
    assert high > 0.95
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert "majority: 0.20, below" in named
    assert "tfidf" in named


def test_beside_other_tasks_a_level_far_below_names_its_own() -> None:
    tasks = [cells([2, 30]).assign(task=task) for task in ("trec", "sst2")]
    levels = pd.DataFrame([("trec", "majority", "", 0.2)], columns=BASELINES.columns)
    (legend,) = figures.accuracy_against_layers(pd.concat(tasks), levels).legends
    assert "majority of trec: 0.20, below" in [text.get_text() for text in legend.get_texts()]


def test_costs_have_units() -> None:
    figure = figures.cost_against_layers(cells([2, 30]))
    for axes, title in zip(figure.axes, titles(figure), strict=True):
        assert re.fullmatch(r".+ \((s|ms|MB)\)", axes.get_ylabel())
        assert axes.get_ylabel().startswith(title)
        assert axes.get_xlabel() == "kept layers"


def test_a_confusion_matrix_has_counts_in_shades_of_their_class() -> None:
    counts = np.array([[9, 1], [0, 4]])
    figure = figures.confusion_matrices({"trec, cls, 2 of 30 layers": counts}, ["a", "b"])
    (axes,) = figure.axes
    assert titles(figure) == ["trec, cls, 2 of 30 layers"]
    assert [text.get_text() for text in axes.texts] == ["9", "1", "4"]
    assert [text.get_color() for text in axes.texts] == ["white", "black", "white"]
    assert np.allclose(axes.images[0].get_array(), [[0.9, 0.1], [0, 1]])


def test_a_rival_has_one_dash_in_all_panels() -> None:
    """The legend shows it once."""
    cells = pd.DataFrame(
        [
            {
                "task": task, "line": "cls", "keep": keep, "depth": 4, "accuracy": 0.8,
                "low": 0.6, "high": 0.9, "params_kept": 100 * keep, "params_saved": 1 - keep / 4,
            }
            for task in ("one", "two")
            for keep in (2, 4)
        ]
    )  # fmt: skip
    rivals = {"one": ("embeddings", "probe", "tfidf"), "two": ("embeddings", "tfidf")}
    levels = pd.DataFrame(
        [
            {"task": task, "baseline": name, "mode": "", "accuracy": 0.7}
            for task, names in rivals.items()
            for name in names
        ]
    )
    for draw in (figures.accuracy_against_layers, figures.accuracy_against_parameters):
        dashes = [
            {line.get_label(): line.get_linestyle() for line in axes.lines}
            for axes in draw(cells, levels).axes
        ]
        first, second = (found for found in dashes if found)
        assert len({first[name] for name in rivals["one"]}) == 3
        assert {name: second[name] for name in rivals["two"]} == {
            name: first[name] for name in rivals["two"]
        }
