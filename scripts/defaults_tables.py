"""The tables of docs/defaults.md, from the run directories under results/smollm2.

``python scripts/defaults_tables.py`` writes them into the page, between the marks that name them; a
test holds the page against the results.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "results" / "smollm2", ROOT / "docs" / "defaults.md"
MODES = ("cls", "p-cls", "lm")


def search() -> str:
    """Validation accuracy by learning rate, seed 0: a table a depth."""
    rows = _query(
        "select dataset, keep, mode, lr, validation_accuracy, validation_items "
        "from runs where seed = 0 and dataset in ('trec', 'sst2') order by keep, lr"
    )
    parts = []
    for dataset, keep in dict.fromkeys((row[0], row[1]) for row in rows):
        here = [row for row in rows if row[:2] == (dataset, keep)]
        cells = {(row[2], row[3]): row[4] for row in here}
        modes = [mode for mode in MODES if any(mode == row[2] for row in here)]
        lines = [
            f"{dataset}, keep {keep}, {here[0][5]} validation items:\n",
            f"| learning rate | {' | '.join(modes)} |",
            "| --- |" + " --- |" * len(modes),
        ]
        for lr in sorted({row[3] for row in here}):
            figures = [_figure(cells.get((mode, lr))) for mode in modes]
            lines.append(f"| {lr:.0e} | {' | '.join(figures)} |".replace("e-0", "e-"))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def reference() -> str:
    """Test accuracy at the default learning rates, over seeds."""
    from slimcls.session.settle import learning_rate

    rows = [
        row
        for row in _query(
            "select dataset, keep, mode, lr, test_accuracy, seed, test_items from runs "
            "order by dataset, keep, mode, seed"
        )
        if row[3] == learning_rate("full", row[1])
    ]
    lines = [
        "| dataset | keep | mode | test accuracy, mean over seeds | each seed | test items |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for cell in dict.fromkeys(row[:3] for row in rows):
        here = [row for row in rows if row[:3] == cell]
        accuracies = [row[4] for row in here]
        seeds = ", ".join(f"{row[5]}: {row[4]:.3f}" for row in here)
        mean = sum(accuracies) / len(accuracies)
        lines.append(f"| {cell[0]} | {cell[1]} | {cell[2]} | {mean:.3f} | {seeds} | {here[0][6]} |")
    return "\n".join(lines)


def _query(text: str) -> list[tuple]:
    with duckdb.connect() as connection:
        source = f"read_parquet('{RESULTS}/*/result.parquet', union_by_name = true)"
        return connection.sql(f"with runs as (from {source}) {text}").fetchall()


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def filled(page: str) -> str:
    """The page with its tables made anew."""
    for name, table in (("search", search()), ("reference", reference())):
        before, _, rest = page.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition(f"<!-- /{name} -->")
        page = f"{before}<!-- {name} -->\n\n{table}\n\n<!-- /{name} -->{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
