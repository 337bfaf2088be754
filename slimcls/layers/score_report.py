"""Layer scores to be looked at: a table for the terminal, a figure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from slimcls.escaping import in_figure
from slimcls.layers import criteria
from slimcls.layers.layer_scores import Scores
from slimcls.storage.files import replacing


def score_table(scores: Scores) -> str:
    """All of it as text: a line a layer, the order of removal, what stays at each depth."""
    lines = [", ".join(_title(scores))]
    if scores.scores is not None:
        lines += ["", *_by_layer(scores)]
    if scores.tau is not None:
        lines.append(f"Kendall's tau between two halves of the texts: {scores.tau:.2f}")
    if scores.removal_order is not None:
        lines += ["", f"removed in this order: {', '.join(map(str, scores.removal_order))}"]
    else:
        lines += ["", "no one order of removal: what goes at one depth may stay at the next"]
    lines.append("stays:")
    width = len(str(scores.depth))
    lines += [f"  {keep:>{width}}: {ranges(layers)}" for keep, layers in scores.kept.items()]
    return "\n".join(lines + [f"note: {note}" for note in scores.notes])


def _title(scores: Scores) -> list[str]:
    """What was measured, and on what."""
    title = [f"{scores.criterion} of {scores.model}, {scores.depth} layers"]
    if scores.samples:
        title.append(f"on {scores.samples} texts of {scores.text} ({scores.tokens:,} tokens)")
    return title


def _by_layer(scores: Scores) -> list[str]:
    assert scores.scores is not None
    lines = ["layer       score   95 % interval"]
    for layer, value in enumerate(scores.scores):
        ends = ""
        if scores.intervals is not None:
            low, high = scores.intervals[layer]
            ends = f"   {low:.6f} to {high:.6f}"
        lines.append(f"{layer:>5}  {value:>10.6f}{ends}")
    return lines


def ranges(layers: Iterable[int]) -> str:
    """Ascending numbers with neighbours joined: ``0-3,7``."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def draw_scores(scores: Scores, path: Path) -> None:
    """Write the figure as PNG: a bar a layer with its interval.

    Raises UserError where the folder cannot be written.
    """
    from matplotlib.figure import Figure

    assert scores.scores is not None
    figure = Figure(figsize=(max(5.0, 0.27 * scores.depth + 1.5), 3.2), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(scores.depth), scores.scores, color="0.6", edgecolor="black", linewidth=0.6)
    if scores.intervals is not None:
        # A quantile of the bootstrap may lie beyond the score itself.
        lengths = [
            (max(0.0, value - low), max(0.0, high - value))
            for value, (low, high) in zip(scores.scores, scores.intervals, strict=True)
        ]
        axes.errorbar(
            range(scores.depth),
            scores.scores,
            yerr=list(zip(*lengths, strict=True)),
            fmt="none",
            ecolor="black",
            capsize=2,
            linewidth=1,
        )
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xticks(range(scores.depth), map(str, range(scores.depth)), fontsize=7)
    axes.margins(x=0.01)
    axes.set_xlabel("layer")
    axes.set_ylabel(criteria.find_criterion(scores.criterion).axis)
    axes.set_title("\n".join(map(in_figure, _title(scores))), loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
