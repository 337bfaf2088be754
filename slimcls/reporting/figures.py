"""Every plot of a report, as functions of its tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from slimcls.escaping import in_figure
from slimcls.reporting.figure_style import (
    LINES,
    WIDTH,
    depth_axis,
    level_dashes,
    level_lines,
    line_style,
    name_axes,
    new_panels,
    one_legend,
    styled,
)


@styled
def accuracy_against_layers(
    cells: pd.DataFrame, baselines: pd.DataFrame, setting: str = ""
) -> Figure:
    """Test accuracy with its interval against kept layers: a panel a task, a line a mode.

    Full depth is filled and has a thin level line. ``cells`` has a row for each task, line and
    depth (columns task, line, keep, depth, accuracy, low, high); ``baselines`` one for each task
    and baseline without depth (task, baseline, mode, accuracy), ``mode`` empty if one has its name.
    The axis spans what the cells have: a baseline far below stands in the legend with its figure.
    ``setting`` stands above all panels.
    """
    tasks = list(dict.fromkeys(cells.task))
    figure, panels = new_panels(len(tasks), title=setting)
    dashes = level_dashes(baselines)
    for axes, task in zip(panels, tasks, strict=True):
        here = cells[cells.task == task]
        _lines_with_intervals(axes, here, "keep", 1.06)
        rivals = baselines[baselines.task == task]
        panel = task if len(tasks) > 1 else ""
        level_lines(axes, rivals, dashes, here.low.min(), here.high.max(), panel)
        depth_axis(axes, here.keep)
        name_axes(axes, task, "kept layers", "test accuracy")
    one_legend(figure, panels)
    return figure


@styled
def accuracy_against_parameters(
    cells: pd.DataFrame, baselines: pd.DataFrame, setting: str = ""
) -> Figure:
    """Test accuracy with its interval against the parameters that a cut saves: a panel a task.

    Places follow what is kept on a log scale, full depth at the left, filled, with a thin level
    line; kept layers stand above. Tables are those of :func:`accuracy_against_layers`, with columns
    params_kept and params_saved (shares).
    """
    tasks = list(dict.fromkeys(cells.task))
    figure, panels = new_panels(len(tasks), title=setting)
    dashes = level_dashes(baselines)
    for axes, task in zip(panels, tasks, strict=True):
        here = cells[cells.task == task]
        _lines_with_intervals(axes, here, "params_kept", 1.015)
        rivals = baselines[baselines.task == task]
        panel = task if len(tasks) > 1 else ""
        level_lines(axes, rivals, dashes, here.low.min(), here.high.max(), panel)
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        sizes = here.drop_duplicates("params_kept").sort_values("params_kept")
        axes.set_xticks(sizes.params_kept, [f"{saved:.0%}" for saved in sizes.params_saved])
        axes.tick_params(axis="x", labelrotation=45)
        above = axes.secondary_xaxis("top")
        above.set_xticks(sizes.params_kept, [str(keep) for keep in sizes["keep"]], fontsize=7)
        above.xaxis.set_minor_locator(NullLocator())
        above.set_xlabel("kept layers", fontsize=7)
        axes.invert_xaxis()
        name_axes(axes, task, "parameters saved", "test accuracy")
    one_legend(figure, panels)
    return figure


def front(cells: pd.DataFrame) -> pd.DataFrame:
    """The rows no other row beats at the same number of parameters or fewer, smallest first."""
    ordered = cells.sort_values(["params_kept", "accuracy"], ascending=[True, False])
    better = ordered.accuracy > ordered.accuracy.cummax().shift(fill_value=-np.inf)
    return ordered[better]


#: Costs of a run: column, axis label, scale to its unit.
COSTS = (
    ("train_seconds", "training (s)", 1.0),
    ("peak_memory_mb", "peak memory (MB)", 1.0),
    ("latency_ms", "latency of one text (ms)", 1.0),
    ("weights_mb", "weights in 32 bits (MB)", 1.0),
)


@styled
def cost_against_layers(cells: pd.DataFrame) -> Figure:
    """Seconds, memory, latency and size against kept layers: a panel a cost, a line a mode."""
    figure, panels = new_panels(len(COSTS))
    lines = cells.assign(line=cells.task + ", " + cells.line) if _many(cells) else cells
    for axes, (column, label, scale) in zip(panels, COSTS, strict=True):
        for (line, rows), style in zip(_by_line(lines), cycle(LINES), strict=False):
            rows = rows.sort_values("keep")
            axes.plot(rows.keep, rows[column] / scale, label=line, **line_style(style))
        depth_axis(axes, cells.keep)
        axes.set_ylim(bottom=0)
        name_axes(axes, label.partition(" (")[0], "kept layers", label)
    one_legend(figure, panels)
    return figure


@styled
def confusion_matrices(counts: dict[str, np.ndarray], labels: Sequence[str]) -> Figure:
    """Confusion matrices (true class, predicted class) of counts, by title.

    Numbers are counts, shades shares of the true class.
    """
    figure, panels = new_panels(len(counts), height=WIDTH / 2.1)
    for axes, (title, matrix) in zip(panels, counts.items(), strict=True):
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            if matrix[row, column]:
                shade = "white" if share > 0.5 else "black"
                number = f"{int(matrix[row, column])}"
                axes.text(column, row, number, ha="center", va="center", fontsize=7, color=shade)
        places, names = range(len(labels)), [in_figure(label) for label in labels]
        axes.set_xticks(places, names, rotation=40, ha="right", fontsize=7)
        axes.set_yticks(places, names, fontsize=7)
        axes.grid(visible=False)
        name_axes(axes, title, "predicted", "true")
    return figure


@styled
def removal(table: pd.DataFrame) -> Figure:
    """Perplexity (log), and accuracy where measured, against removed layers: a line a criterion.

    ``table`` has columns criterion, removed, perplexity, low, high, accuracy.
    """
    measured = table.accuracy.notna().any()
    figure, panels = new_panels(2 if measured else 1, height=3.8)
    shown = [("perplexity", "perplexity (log)"), ("accuracy", "label-word accuracy")]
    for axes, (column, label) in zip(panels, shown, strict=False):
        for place, (name, rows) in enumerate(table.groupby("criterion", sort=False)):
            rows = rows[np.isfinite(rows[column])].sort_values("removed")
            style = line_style(LINES[place % len(LINES)])
            axes.plot(rows.removed, rows[column], label=name, **style)
        if column == "perplexity":
            axes.set_yscale("log")
        title = f"{label.partition(' (')[0].capitalize()} as layers are removed"
        name_axes(axes, title, "removed layers", label)
    one_legend(figure, panels)
    return figure


@styled
def part_removal(table: pd.DataFrame) -> Figure:
    """Perplexity (log) without one block, its attention or its MLP, against the block's number.

    ``table`` has columns criterion (nothing, block, attention, mlp), layer, perplexity.
    """
    figure, (axes,) = new_panels(1, height=3.8)
    whole = table[table.criterion == "nothing"].perplexity
    for level in whole:
        axes.axhline(level, color="0.45", lw=1, ls=":", label="nothing removed")
    names = ("block", "attention", "mlp")
    for name, style in zip(names, LINES, strict=False):
        rows = table[table.criterion == name].sort_values("layer")
        axes.plot(rows.layer, rows.perplexity, label=name, **line_style(style))
    axes.set_yscale("log")
    name_axes(axes, "One part of one block removed", "layer", "perplexity (log)")
    one_legend(figure, [axes])
    return figure


@styled
def selection_differences(table: pd.DataFrame) -> Figure:
    """Cuts by other rules against the first layers, in points with interval: a panel a task.

    ``table`` has columns task, family, keep, rule, difference, low, high.
    """
    tasks = list(dict.fromkeys(table.task))
    rows = max(table.groupby("task").size())
    figure, panels = new_panels(len(tasks), height=1.2 + 0.26 * rows)
    before = {"family": "", "keep": "keep "}
    for axes, task in zip(panels, tasks, strict=True):
        here = table[table.task == task].iloc[::-1]
        several = [name for name in before if here[name].nunique() > 1]
        names = [
            ", ".join([*(f"{before[name]}{row[name]}" for name in several), row["rule"]])
            for row in here.to_dict("records")
        ]
        middle = 100 * here.difference
        ends = [100 * (here.difference - here.low), 100 * (here.high - here.difference)]
        places = range(len(here))
        axes.errorbar(middle, places, xerr=ends, capsize=2, **line_style(LINES[0]) | {"ls": "none"})
        axes.axvline(0, color="0.45", lw=1)
        axes.set_yticks(places, [in_figure(name) for name in names], fontsize=7)
        axes.margins(y=0.08)
        name_axes(axes, task, "points above or below the first layers", "")
    return figure


@styled
def layer_profiles(table: pd.DataFrame) -> Figure:
    """Layer scores with their intervals against the layer's number: a panel a criterion.

    ``table`` has columns criterion, text, layer, score, low, high.
    """
    names = list(dict.fromkeys(table.criterion))
    figure, panels = new_panels(len(names))
    for axes, name in zip(panels, names, strict=True):
        here = table[table.criterion == name]
        texts = here.groupby("text", sort=False)
        for place, ((text, rows), style) in enumerate(zip(texts, cycle(LINES), strict=False)):
            # Side by side, so that no interval hides another.
            aside = 0.15 * (place - (texts.ngroups - 1) / 2)
            # A quantile of the bootstrap may lie beyond the score itself.
            ends = [(rows.score - rows.low).clip(lower=0), (rows.high - rows.score).clip(lower=0)]
            axes.errorbar(
                rows.layer + aside, rows.score, yerr=ends, label=text, **line_style(style)
            )
        axes.set_yscale("log" if (here.low > 0).all() else "linear")
        name_axes(axes, name, "layer", "score")
    one_legend(figure, panels)
    return figure


def _lines_with_intervals(axes: Axes, here: pd.DataFrame, against: str, apart: float) -> None:
    """Accuracy with its interval against a column: a line a mode, full depth filled with a level.

    Modes stand side by side, each ``apart`` times as far as the one before, so that no interval
    hides another.
    """
    lines = _by_line(here)
    for place, ((line, rows), style) in enumerate(zip(lines, cycle(LINES), strict=False)):
        rows = rows.sort_values(against)
        aside = apart ** (place - (len(lines) - 1) / 2)
        axes.errorbar(
            rows[against] * aside,
            rows.accuracy,
            yerr=[rows.accuracy - rows.low, rows.high - rows.accuracy],
            label=line,
            capsize=2,
            **line_style(style),
        )
        full = rows[rows.keep == rows.depth]
        # Above the hollow marker that its line has there.
        filled = line_style(style) | {"mfc": style[0], "ls": "none", "zorder": 3}
        axes.plot(full[against] * aside, full.accuracy, **filled)
        for level in full.accuracy:
            axes.axhline(level, color=style[0], lw=0.6, alpha=0.4, label="full depth")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.2f}"))


def _by_line(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(line, rows[rows.line == line]) for line in dict.fromkeys(rows.line)]


def _many(cells: pd.DataFrame) -> bool:
    return cells.task.nunique() > 1
