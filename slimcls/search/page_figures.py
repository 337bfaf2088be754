"""The figures of a fit's page: candidates by what they cost, depths by what states say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from slimcls.escaping import in_figure
from slimcls.reporting.figure_style import FAR, LINES, line_style, name_axes, styled
from slimcls.search.answer import Candidate, DepthOpinion
from slimcls.search.page_words import cut, plain

#: Inches: half a page, and a third of one.
HALF, THIRD = (4.7, 3.7), (3.2, 2.4)
#: Style and name of each kind, in the legend's order.
_KINDS = {
    "cut": (LINES[0], "fine-tuned cut"),
    "frozen": (LINES[1], "frozen layers"),
    "rival": (LINES[2], "cheap rival"),
}
#: Of the panel's width and height: labels that are nearer to one another are left out.
_NEAR = (0.05, 0.06)
#: Letters of a name in a legend.
_LONGEST = 28
_PERCENT = FuncFormatter(lambda share, _: f"{100 * share:g} %")


def far_below(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates so far below the others that a figure with them would show nothing else."""
    group = [c for c in candidates if c.kind != "rival" or c.chosen or c.reference]
    group = group or sorted(candidates, key=lambda c: -c.accuracy)[:1]
    low, high = min(c.low for c in group), max(c.high for c in group)
    return [c for c in candidates if c.high < low - FAR * (high - low)]


@styled
def against_cost(candidates: Sequence[Candidate], cost: str, label: str, allowed: float) -> Figure:
    """Validation accuracy with its interval against a cost (log).

    Args:
        candidates: what to draw; those without a cost are left out.
        cost: ``megabytes`` or ``milliseconds``.
        label: of its axis.
        allowed: points of loss, drawn as a line below the reference.
    """
    figure = Figure(figsize=HALF, layout="constrained")
    axes = figure.subplots()
    drawn = [c for c in candidates if getattr(c, cost) > 0]
    for kind, (style, name) in _KINDS.items():
        mine = [c for c in drawn if c.kind == kind]
        if mine:
            _points(axes, mine, cost, style, name)
    _rings(axes, drawn, cost)
    for reference in (c for c in drawn if c.reference):
        least = reference.accuracy - allowed / 100
        axes.axhline(
            least, color="0.4", lw=1, ls=(0, (4, 3)), label=f"{allowed:g} points below reference"
        )
    axes.set_xscale("log")
    axes.margins(0.12, 0.1)
    _cost_ticks(axes, [getattr(c, cost) for c in drawn])
    axes.yaxis.set_major_formatter(_PERCENT)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    _name_points(axes, drawn, cost)
    name_axes(axes, "", label, "accuracy on validation")
    legend = figure.legend(loc="outside lower center", ncol=2, fontsize=8)
    for handle in legend.legend_handles:
        if isinstance(handle, Line2D):
            handle.set_markersize(min(7.5, handle.get_markersize()))
    return figure


def _points(axes: Axes, mine: Sequence[Candidate], cost: str, style: Any, name: str) -> None:
    x, y = [getattr(c, cost) for c in mine], [c.accuracy for c in mine]
    ends = [
        [max(0.0, c.accuracy - c.low) for c in mine],
        [max(0.0, c.high - c.accuracy) for c in mine],
    ]
    axes.errorbar(x, y, yerr=ends, fmt="none", ecolor="0.72", elinewidth=0.9, capsize=2, zorder=1)
    axes.plot(x, y, label=name, **line_style(style) | {"ls": "none", "ms": 5.5, "zorder": 2})


def _rings(axes: Axes, drawn: Sequence[Candidate], cost: str) -> None:
    """Around the chosen one and the reference, with their names for the legend."""
    for role, marker, across in (("chosen", "o", 15), ("reference", "s", 12)):
        for c in drawn:
            if getattr(c, role):
                name = f"{role}: {_shown(c.name)}"
                axes.plot(
                    [getattr(c, cost)], [c.accuracy], marker, ms=across, mfc="none", mec="black",
                    mew=1.5, ls="none", zorder=4, label=name,
                )  # fmt: skip
                if c.chosen:
                    style = _KINDS[c.kind][0]
                    filled = line_style(style) | {"mfc": style[0], "ls": "none", "ms": 5.5}
                    axes.plot([getattr(c, cost)], [c.accuracy], **filled, zorder=5)


def _shown(name: str) -> str:
    return in_figure(cut(" ".join(plain(name).split()), _LONGEST))


def _cost_ticks(axes: Axes, costs: Sequence[float]) -> None:
    few = not costs or max(costs) / min(costs) < 300
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:g}"))


def _name_points(axes: Axes, drawn: Sequence[Candidate], cost: str) -> None:
    """By their layers, or their names where they have none, where there is room."""
    taken: list[tuple[float, float]] = []

    def place(c: Candidate) -> tuple[float, float]:
        there = axes.transData.transform((getattr(c, cost), c.accuracy))
        x, y = axes.transAxes.inverted().transform(there)
        return float(x), float(y)

    axes.autoscale_view()
    for c in sorted(drawn, key=lambda c: (not c.chosen, not c.reference, -c.accuracy)):
        x, y = place(c)
        if any(abs(x - a) < _NEAR[0] and abs(y - b) < _NEAR[1] for a, b in taken):
            continue
        aside = 10 if c.chosen or c.reference else 7
        named = c.layers is None
        # A name takes more room than there may be beside the edge.
        left = named and x > 0.5
        axes.annotate(
            _shown(c.name) if named else str(c.layers), (getattr(c, cost), c.accuracy),
            textcoords="offset points", xytext=(-aside if left else aside, 0),
            ha="right" if left else "left", va="center", fontsize=7.5, color="0.2", zorder=5,
        )  # fmt: skip
        taken.append((x, y))


@styled
def by_depth(opinions: Sequence[DepthOpinion], field: str, title: str) -> Figure:
    """One opinion against the number of layers."""
    figure = Figure(figsize=THIRD, layout="constrained")
    axes = figure.subplots()
    known = [o for o in opinions if getattr(o, field) is not None]
    values = [getattr(o, field) for o in known]
    axes.plot([o.layers for o in known], values, **line_style(LINES[0]))
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    if field == "probe_accuracy":
        axes.yaxis.set_major_formatter(_PERCENT)
    elif values and min(values) > 0 and max(values) / min(values) > 30:
        axes.set_yscale("log")
    name_axes(axes, title, "layers", "")
    return figure
