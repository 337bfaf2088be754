"""How every figure looks: readable in black and white, the same bytes for the same figure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import wraps
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from slimcls.escaping import in_figure
from slimcls.storage.files import replacing

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
LINES = (
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
#: Of the height that the data take, how far below them a level may lie to be drawn.
FAR = 0.25


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the style of all figures, whatever the caller's own settings are."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return styled


def save_figure(figure: Figure, path: Path) -> None:
    """Write PNG and SVG beside each other, the same bytes for the same figure.

    ``path`` has no ending. Raises UserError where the folder cannot be written.
    """
    for ending, made in ((".png", as_png), (".svg", as_svg)):
        with replacing(path.with_name(path.name + ending)) as temporary:
            temporary.write_bytes(made(figure))


def as_svg(figure: Figure) -> bytes:
    """The figure as an SVG file, the same bytes for the same figure."""
    return _as(figure, "svg", {"Date": None})


def as_png(figure: Figure) -> bytes:
    """The figure as a PNG file, the same bytes for the same figure."""
    return _as(figure, "png", {"Software": None})


def _as(figure: Figure, kind: str, extra: dict[str, None]) -> bytes:
    drawn = BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(drawn, format=kind, dpi=DPI, metadata=extra)
    return drawn.getvalue()


def new_panels(count: int, height: float = PANEL, title: str = "") -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels, two a row at most, and a title above all of them."""
    columns = min(2, max(1, count))
    rows = -(-count // columns)
    width = WIDTH if columns == 2 else WIDTH * 0.75
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    if title:
        figure.suptitle(in_figure(title), x=0.01, ha="left", fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    panels = list(grid.flat)
    for extra in panels[count:]:
        extra.remove()
    return figure, panels[:count]


def line_style(style: tuple[str, str, object]) -> dict[str, Any]:
    """What matplotlib wants to hear for one of ``LINES``; markers are hollow."""
    shade, marker, dash = style
    return {"color": shade, "marker": marker, "ls": dash, "ms": 4.5, "lw": 1.3, "mfc": "white"}


def level_dashes(baselines: pd.DataFrame) -> dict[str, object]:
    """The dash of each baseline's line, by its name: the same in every panel of a figure."""
    names = dict.fromkeys(_named(row) for row in baselines.to_dict("records"))
    return dict(zip(names, cycle(_LEVELS), strict=False))


def _named(row: Mapping[Hashable, Any]) -> str:
    return ", ".join(filter(None, (row["baseline"], row["mode"])))


def level_lines(
    axes: Axes,
    baselines: pd.DataFrame,
    dashes: Mapping[str, Any],
    low: float,
    high: float,
    panel: str = "",
) -> None:
    """A grey line across the panel for each baseline (columns baseline, mode, accuracy).

    ``dashes`` are those of :func:`level_dashes`. What else is drawn lies between ``low`` and
    ``high``. A level far below it would press that into a corner: the legend alone has it, with its
    figure, and with the name of the ``panel`` where the figure has several.
    """
    least = low - FAR * (high - low)
    for row in baselines.to_dict("records"):
        name, level = _named(row), row["accuracy"]
        if level < least:
            whose = f"{name} of {panel}" if panel else name
            axes.plot([], [], " ", label=f"{whose}: {level:.2f}, below")
        else:
            axes.axhline(level, color="0.45", lw=1, ls=dashes[name], label=name)


def depth_axis(axes: Axes, keeps: pd.Series) -> None:
    """Kept layers on a log scale, a tick at each depth that was run."""
    depths = sorted(set(keeps))
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(depths, [str(depth) for depth in depths])
    if len(depths) == 1:  # what stands side by side there is one depth
        axes.set_xlim(depths[0] / 2, depths[0] * 2)


def name_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Title and axis labels of a panel."""
    axes.set_title(in_figure(title), loc="left", fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def one_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend under all panels, each name once."""
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        columns = min(4, len(found))
        names = [in_figure(name) for name in found]
        figure.legend(found.values(), names, loc="outside lower center", ncol=columns, fontsize=8)
