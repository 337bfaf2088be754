"""The tables of a report, as people read them, and as CSV has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from slimcls.escaping import in_csv, in_markdown
from slimcls.reporting.comparisons import Comparisons
from slimcls.reporting.study import Study
from slimcls.storage.yaml_files import read_yaml

PUBLISHED = Path(__file__).with_name("published.yaml")
TableRows = list[dict[str, object]]


def as_paper(cells: pd.DataFrame) -> pd.DataFrame:
    """Tasks down, kept layers across, a block a line: ``mean ± standard deviation`` over seeds.

    The last row of a line is its mean over tasks, at depths that every task has.
    """
    rows: TableRows = []
    depths = sorted(set(cells.keep), reverse=True)
    tasks = sorted(set(cells.task))
    for line in dict.fromkeys(cells.line):
        here = cells[cells.line == line]
        for task in sorted(set(here.task)):
            of_task = here[here.task == task].drop_duplicates("keep").set_index("keep")
            shown = {depth: _spread(of_task, depth) for depth in depths}
            rows.append({"mode": line, "task": task} | shown)
        if len(tasks) > 1:
            shown = {depth: _over_tasks(here[here.keep == depth], tasks) for depth in depths}
            if any(shown.values()):
                rows.append({"mode": line, "task": f"mean of {len(tasks)} tasks"} | shown)
    return pd.DataFrame(rows)


def rows_of(table: pd.DataFrame) -> Iterator[Any]:
    """The table's rows with columns as attributes; what is in them is known, but not to types."""
    yield from table.itertuples()


def _spread(cell: pd.DataFrame, depth: int) -> str:
    if depth not in cell.index:
        return ""
    mean, sd, seeds = cell.accuracy[depth], cell.sd[depth], cell.seeds[depth]
    return f"{mean:.3f}" if seeds == 1 else f"{mean:.3f} ± {sd:.3f}"


def _over_tasks(cells: pd.DataFrame, tasks: Sequence[str]) -> str:
    return f"{cells.accuracy.mean():.3f}" if set(cells.task) == set(tasks) else ""


def enough(compared: Comparisons) -> pd.DataFrame:
    """A row a task and line: full depth, the smallest depth that is good enough, what it saves.

    Where none is good enough the deepest cut stands there, with its verdict.
    """
    rows: TableRows = []
    full = compared.cells[compared.cells.keep == compared.cells.depth]
    lines = compared.cells.groupby(["task", "line"], sort=True)
    for (task, line), cells in lines:
        family = cells.family.iloc[0]
        uncut = full[(full.task == task) & (full.family == family)]
        row: dict[str, object] = {"task": task, "mode": line, "full depth": ""}
        if not uncut.empty:
            row["full depth"] = f"{uncut.accuracy.iloc[0]:.3f} ({uncut.keep.iloc[0]} layers)"
        tested = compared.differences
        tested = tested[(tested.task == task) & (tested.line == line)]
        rows.append(row | _smallest(tested))
    return pd.DataFrame(rows)


def _smallest(tested: pd.DataFrame) -> dict[str, str]:
    names = ("kept", "difference (points)", "parameters saved", "verdict")
    if tested.empty:
        return dict(zip(names, ("", "", "", "no cut to compare"), strict=True))
    good, ordered = tested[tested.verdict == "good enough"], tested.sort_values("keep")
    best = ordered.iloc[-1] if good.empty else good.sort_values("keep").iloc[0]
    word = f"none good enough; the deepest cut: {best.verdict}" if good.empty else best.verdict
    shown = (f"{best.keep}", interval(best), f"{best.params_saved:.1%}", word)
    return dict(zip(names, shown, strict=True))


def interval(row: Any) -> str:
    """``-1.2 (-2.9 to +0.5)``, in percentage points."""
    return f"{100 * row.difference:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})"


def _seeds(row: Any) -> str:
    """The seeds, with a star where the interval needs a word: see :func:`caveats`."""
    return f"{row.seeds} *" if row.caveat else str(row.seeds)


def caveats(compared: Comparisons) -> list[str]:
    """What has to be said of intervals that rest on few seeds, each once."""
    tables = (compared.cells, compared.differences, compared.baselines, compared.selections)
    found = {text for table in tables if len(table) for text in table.caveat}
    return sorted(found - {""})


def difference_table(compared: Comparisons) -> pd.DataFrame:
    """Every cut against full depth: difference in points with interval, verdict, reason."""
    keys = ["task", "line", "keep"]
    deep_first = compared.differences.sort_values(keys, ascending=[True, True, False])
    rows = [
        {
            "task": row.task,
            "mode": row.line,
            "kept": row.keep,
            "layers": row.cut,
            "difference (points)": interval(row),
            "seeds": _seeds(row),
            "verdict": row.verdict,
            "why": row.reason,
        }
        for row in rows_of(deep_first)
    ]
    return pd.DataFrame(rows)


def selection_table(compared: Comparisons) -> pd.DataFrame:
    """Cuts by other rules against the first layers: difference in points with interval."""
    rows = [
        {
            "task": row.task,
            "mode": row.family,
            "kept": row.keep,
            "layers chosen by": row.rule,
            "layers": row.cut,
            "difference to the first (points)": interval(row),
            "seeds": _seeds(row),
        }
        for row in rows_of(compared.selections)
    ]
    return pd.DataFrame(rows)


def rival_table(compared: Comparisons) -> pd.DataFrame:
    """The baselines: accuracy with interval."""
    rows = [
        {
            "task": row.task,
            "baseline": row.baseline,
            "mode": row.mode,
            "kept": "" if row.keep == 0 else row.keep,
            "layers": row.cut,
            "accuracy": f"{row.accuracy:.3f} ({row.low:.3f} to {row.high:.3f})",
            "seeds": _seeds(row),
        }
        for row in rows_of(compared.baselines)
    ]
    return pd.DataFrame(rows)


def choice_table(made: pd.DataFrame) -> pd.DataFrame:
    """The settings chosen, under the names that the other tables have."""
    return made.rename(columns={"line": "mode", "keep": "kept", "cut": "layers"})


def sizes_and_costs(compared: Comparisons) -> pd.DataFrame:
    """Parameters kept and saved, and what a run of each cell cost where it ran."""
    rows = [
        {
            "task": row.task,
            "mode": row.line,
            "kept": row.keep,
            "parameters": f"{row.params_kept / 1e6:.1f} M",
            "saved": f"{row.params_saved:.1%}",
            "training (s)": f"{row.train_seconds:.0f}",
            "peak memory (MB)": f"{row.peak_memory_mb:.0f}",
            "one text (ms)": f"{row.latency_ms:.1f}",
            "weights (MB)": f"{row.weights_mb:.0f}",
        }
        for row in rows_of(compared.cells)
    ]
    return pd.DataFrame(rows)


def published(study: Study) -> tuple[pd.DataFrame, str]:
    """Figures of the paper and their source; none where no task here is one of the paper's."""
    content = read_yaml(PUBLISHED)
    if not set(study.compared.cells.task) & set(content["tasks"]):
        return pd.DataFrame(), ""
    rows = pd.DataFrame(content["rows"])
    rows["accuracy"] = [f"{figure:.4f}" for figure in rows.accuracy]
    return rows, f"{content['paper']}, {content['note']}"


#: Name of each CSV file and what goes in, figures with all their digits.
CSV: dict[str, Callable[[Study], pd.DataFrame]] = {
    "accuracy": lambda study: study.compared.cells,
    "differences": lambda study: study.compared.differences,
    "baselines": lambda study: study.compared.baselines,
    "choices": lambda study: study.found.choices,
    "paper": lambda study: as_paper(study.compared.cells),
}

#: The same for what few studies have: no file where there is nothing to say.
EXTRA_CSV: dict[str, Callable[[Study], pd.DataFrame]] = {
    "selections": lambda study: study.compared.selections,
}


def csv_table(table: pd.DataFrame) -> str:
    """A table as CSV with all its digits; no text in it is a formula to a spreadsheet."""
    # Of line ends inside a cell, pandas puts quotes around this one alone.
    plain = table.replace(r"\r\n?", "\n", regex=True)
    return str(plain.map(in_csv).to_csv(index=False))


def markdown_table(table: pd.DataFrame) -> str:
    """A table of Markdown that shows its cells' text as it is; empty for an empty table."""
    if table.empty:
        return ""
    head = [in_markdown(str(name)) for name in table.columns]
    rows = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:g}"
    return in_markdown(str(value))
