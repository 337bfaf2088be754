"""Every plot of a report, as functions of its tables; made to be read in black and white."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from itertools import cycle
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from slimcls.runs import replacing

P = ParamSpec("P")

#: Inches: as wide as a README shows, at 100 dots an inch.
WIDTH, PANEL = 8.2, 3.4
DPI = 150
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "svg.hashsalt": "slimcls",
    "svg.fonttype": "path",
}
#: Shade, marker and dash of each line, told apart without colour.
_LINES = (
    ("#000000", "o", "-"),
    ("#1f6fb4", "s", "--"),
    ("#d1661b", "^", "-."),
    ("#6a6a6a", "D", ":"),
    ("#8c3fa0", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#2c8a4b", "P", (0, (1, 1))),
    ("#b03030", "X", (0, (7, 2))),
    ("#00838f", "<", (0, (3, 1, 1, 1))),
    ("#8a6d00", ">", (0, (4, 2, 1, 2, 1, 2))),
    ("#555555", "*", (0, (2, 2))),
)
#: Dash of the level line of each baseline.
_LEVELS = (":", "--", "-.", (0, (1, 3)), (0, (6, 3)))


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the style of all figures, whatever the caller's own settings are."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return styled


@_styled
def accuracy_against_layers(cells: pd.DataFrame, baselines: pd.DataFrame) -> Figure:
    """Test accuracy with its interval against kept layers: a panel a task, a line a mode.

    Full depth is filled and has a thin level line. ``cells`` has a row for each task, line and
    depth (columns task, line, keep, depth, accuracy, low, high); ``baselines`` one for each task
    and baseline without depth (task, baseline, mode, accuracy), ``mode`` empty if one has its name.
    """
    tasks = list(dict.fromkeys(cells.task))
    figure, panels = _panels(len(tasks))
    for axes, task in zip(panels, tasks, strict=True):
        here = cells[cells.task == task]
        lines = _by_line(here)
        for place, ((line, rows), style) in enumerate(zip(lines, cycle(_LINES), strict=False)):
            rows = rows.sort_values("keep")
            # Side by side, so that no interval hides another.
            aside = 1.03 ** (place - (len(lines) - 1) / 2)
            axes.errorbar(
                rows.keep * aside,
                rows.accuracy,
                yerr=[rows.accuracy - rows.low, rows.high - rows.accuracy],
                label=line,
                capsize=2,
                **_line(style),
            )
            full = rows[rows.keep == rows.depth]
            # Above the hollow marker that its line has there.
            filled = _line(style) | {"mfc": style[0], "ls": "none", "zorder": 3}
            axes.plot(full.keep * aside, full.accuracy, **filled)
            for level in full.accuracy:
                axes.axhline(level, color=style[0], lw=0.6, alpha=0.4, label="full depth")
        _levels(axes, baselines[baselines.task == task])
        _depth_axis(axes, here.keep)
        _label(axes, task, "kept layers", "test accuracy")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.2f}"))
    _one_legend(figure, panels)
    return figure


@_styled
def accuracy_against_parameters(cells: pd.DataFrame) -> Figure:
    """Test accuracy against parameters kept (log), the front of best trade-offs drawn as steps.

    A point lies on the front where no other point of its task is as accurate with fewer parameters.
    """
    tasks = list(dict.fromkeys(cells.task))
    figure, panels = _panels(len(tasks))
    for axes, task in zip(panels, tasks, strict=True):
        here = cells[cells.task == task]
        best = front(here)
        axes.step(
            best.params_kept / 1e6, best.accuracy, where="post", color="0.6", lw=3, alpha=0.5,
            label="best trade-offs",
        )  # fmt: skip
        for (line, rows), style in zip(_by_line(here), cycle(_LINES), strict=False):
            drawn = _line(style) | {"ls": "none"}
            axes.plot(rows.params_kept / 1e6, rows.accuracy, label=line, **drawn)
        for keep, params, accuracy in zip(best.keep, best.params_kept, best.accuracy, strict=True):
            axes.annotate(
                f"{keep}", (params / 1e6, accuracy), textcoords="offset points",
                xytext=(0, 6), ha="center", fontsize=8,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        sizes = sorted(set(here.params_kept / 1e6))
        axes.set_xticks(sizes, [f"{size:.3g}" for size in sizes], rotation=30)
        axes.margins(0.08)
        _label(axes, task, "parameters kept (millions); numbers: kept layers", "test accuracy")
    _one_legend(figure, panels)
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


@_styled
def cost_against_layers(cells: pd.DataFrame) -> Figure:
    """Seconds, memory, latency and size against kept layers: a panel a cost, a line a mode."""
    figure, panels = _panels(len(COSTS))
    lines = cells.assign(line=cells.task + ", " + cells.line) if _many(cells) else cells
    for axes, (column, label, scale) in zip(panels, COSTS, strict=True):
        for (line, rows), style in zip(_by_line(lines), cycle(_LINES), strict=False):
            rows = rows.sort_values("keep")
            axes.plot(rows.keep, rows[column] / scale, label=line, **_line(style))
        _depth_axis(axes, cells.keep)
        axes.set_ylim(bottom=0)
        _label(axes, label.partition(" (")[0], "kept layers", label)
    _one_legend(figure, panels)
    return figure


@_styled
def confusion(counts: dict[str, np.ndarray], labels: Sequence[str]) -> Figure:
    """Confusion matrices (true class, predicted class) of counts, by title.

    Numbers are counts, shades shares of the true class.
    """
    figure, panels = _panels(len(counts), height=WIDTH / 2.1)
    for axes, (title, matrix) in zip(panels, counts.items(), strict=True):
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            if matrix[row, column]:
                shade = "white" if share > 0.5 else "black"
                number = f"{int(matrix[row, column])}"
                axes.text(column, row, number, ha="center", va="center", fontsize=7, color=shade)
        places = range(len(labels))
        axes.set_xticks(places, labels, rotation=40, ha="right", fontsize=7)
        axes.set_yticks(places, labels, fontsize=7)
        axes.grid(visible=False)
        _label(axes, title, "predicted", "true")
    return figure


@_styled
def removal(table: pd.DataFrame) -> Figure:
    """Perplexity (log), and accuracy where measured, against removed layers: a line a criterion.

    ``table`` has columns criterion, removed, perplexity, low, high, accuracy.
    """
    measured = table.accuracy.notna().any()
    figure, panels = _panels(2 if measured else 1, height=3.8)
    shown = [("perplexity", "perplexity (log)"), ("accuracy", "label-word accuracy")]
    for axes, (column, label) in zip(panels, shown, strict=False):
        for place, (name, rows) in enumerate(table.groupby("criterion", sort=False)):
            rows = rows[np.isfinite(rows[column])].sort_values("removed")
            style = _line(_LINES[place % len(_LINES)])
            axes.plot(rows.removed, rows[column], label=name, **style)
        if column == "perplexity":
            axes.set_yscale("log")
        title = f"{label.partition(' (')[0].capitalize()} as layers are removed"
        _label(axes, title, "removed layers", label)
    _one_legend(figure, panels)
    return figure


@_styled
def part_removal(table: pd.DataFrame) -> Figure:
    """Perplexity (log) without one block, its attention or its MLP, against the block's number.

    ``table`` has columns criterion (nothing, block, attention, mlp), layer, perplexity.
    """
    figure, (axes,) = _panels(1, height=3.8)
    whole = table[table.criterion == "nothing"].perplexity
    for level in whole:
        axes.axhline(level, color="0.45", lw=1, ls=":", label="nothing removed")
    names = ("block", "attention", "mlp")
    for name, style in zip(names, _LINES, strict=False):
        rows = table[table.criterion == name].sort_values("layer")
        axes.plot(rows.layer, rows.perplexity, label=name, **_line(style))
    axes.set_yscale("log")
    _label(axes, "One part of one block removed", "layer", "perplexity (log)")
    _one_legend(figure, [axes])
    return figure


@_styled
def selections(table: pd.DataFrame) -> Figure:
    """Cuts by other rules against the first layers, in points with interval: a panel a task.

    ``table`` has columns task, family, keep, rule, difference, low, high.
    """
    tasks = list(dict.fromkeys(table.task))
    rows = max(table.groupby("task").size())
    figure, panels = _panels(len(tasks), height=1.2 + 0.26 * rows)
    several = [name for name in ("family", "keep") if table[name].nunique() > 1]
    before = {"family": "", "keep": "keep "}
    for axes, task in zip(panels, tasks, strict=True):
        here = table[table.task == task].iloc[::-1]
        names = [
            ", ".join([*(f"{before[name]}{row[name]}" for name in several), row["rule"]])
            for row in here.to_dict("records")
        ]
        middle = 100 * here.difference
        ends = [100 * (here.difference - here.low), 100 * (here.high - here.difference)]
        places = range(len(here))
        axes.errorbar(middle, places, xerr=ends, capsize=2, **_line(_LINES[0]) | {"ls": "none"})
        axes.axvline(0, color="0.45", lw=1)
        axes.set_yticks(places, names, fontsize=7)
        axes.margins(y=0.08)
        _label(axes, task, "points above or below the first layers", "")
    return figure


@_styled
def profiles(table: pd.DataFrame) -> Figure:
    """Layer scores with their intervals against the layer's number: a panel a criterion.

    ``table`` has columns criterion, text, layer, score, low, high.
    """
    names = list(dict.fromkeys(table.criterion))
    figure, panels = _panels(len(names))
    for axes, name in zip(panels, names, strict=True):
        here = table[table.criterion == name]
        texts = here.groupby("text", sort=False)
        for place, ((text, rows), style) in enumerate(zip(texts, cycle(_LINES), strict=False)):
            # Side by side, so that no interval hides another.
            aside = 0.15 * (place - (texts.ngroups - 1) / 2)
            # A quantile of the bootstrap may lie beyond the score itself.
            ends = [(rows.score - rows.low).clip(lower=0), (rows.high - rows.score).clip(lower=0)]
            axes.errorbar(rows.layer + aside, rows.score, yerr=ends, label=text, **_line(style))
        axes.set_yscale("log" if (here.low > 0).all() else "linear")
        _label(axes, name, "layer", "score")
    _one_legend(figure, panels)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write PNG and SVG beside each other, the same bytes for the same figure.

    ``path`` has no ending. Raises UserError where the folder cannot be written.
    """
    with mpl.rc_context(_STYLE):
        for ending, extra in ((".png", {"Software": None}), (".svg", {"Date": None})):
            with replacing(path.with_name(path.name + ending)) as temporary:
                figure.savefig(temporary, format=ending[1:], dpi=DPI, metadata=extra)


def _panels(count: int, height: float = PANEL) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels, two a row at most."""
    columns = min(2, max(1, count))
    rows = -(-count // columns)
    width = WIDTH if columns == 2 else WIDTH * 0.75
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    panels = list(grid.flat)
    for extra in panels[count:]:
        extra.remove()
    return figure, panels[:count]


def _by_line(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(line, rows[rows.line == line]) for line in dict.fromkeys(rows.line)]


def _many(cells: pd.DataFrame) -> bool:
    return cells.task.nunique() > 1


def _line(style: tuple[Any, ...]) -> dict[str, Any]:
    shade, marker, dash = style
    return {"color": shade, "marker": marker, "ls": dash, "ms": 4.5, "lw": 1.3, "mfc": "white"}


def _levels(axes: Axes, baselines: pd.DataFrame) -> None:
    for row, dash in zip(baselines.to_dict("records"), cycle(_LEVELS), strict=False):
        name = ", ".join(filter(None, (row["baseline"], row["mode"])))
        axes.axhline(row["accuracy"], color="0.45", lw=1, ls=dash, label=name)


def _depth_axis(axes: Axes, keeps: pd.Series) -> None:
    """Kept layers on a log scale, a tick at each depth that was run."""
    depths = sorted(set(keeps))
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(depths, [str(depth) for depth in depths])
    if len(depths) == 1:  # what stands side by side there is one depth
        axes.set_xlim(depths[0] / 2, depths[0] * 2)


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _one_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend under all panels, each name once."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        columns = min(4, len(found))
        figure.legend(
            found.values(), found.keys(), loc="outside lower center", ncol=columns, fontsize=8
        )
