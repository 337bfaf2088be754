"""Tables and figures of pages, from what lies under results/, and the code's own tables.

``python scripts/page_tables.py`` writes the tables between the marks that name them and the
figures; a test holds the pages against the results.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    import pandas as pd

    from slimcls.statistics import SeedItems

ROOT = Path(__file__).parents[1]
RESULTS, STUDY = ROOT / "results" / "smollm2", ROOT / "results" / "smollm2-trec"
COURSE, TEACHING = ROOT / "results" / "study", ROOT / "results" / "teaching"
POOLED = ROOT / "results" / "pooling"
RATES = ROOT / "results" / "search-defaults"
MODES = ("cls", "p-cls", "lm")


def rates() -> str:
    """Validation accuracy by learning rate, the mean over the seeds that were made."""
    rows = _query(
        "select dataset, mode, keep, lr, avg(validation_accuracy), count(*), avg(epochs_run), "
        "bool_and(converged) from runs "
        "where schedule = 'constant' and not coalesce(probe_first, false) "
        "group by all order by keep, dataset, mode, lr",
        RATES,
    )
    tried = sorted({row[3] for row in rows})
    heads = [f"{lr:.0e}".replace("e-0", "e-") for lr in tried]
    lines = [
        f"| dataset | mode | kept | {' | '.join(heads)} | epochs | all converged |",
        f"|{' --- |' * (len(tried) + 5)}",
    ]
    for cell in dict.fromkeys(row[:3] for row in rows):
        here = {row[3]: row for row in rows if row[:3] == cell}
        figures = [f"{here[lr][4]:.3f} ({here[lr][5]})" if lr in here else "-" for lr in tried]
        epochs = f"{min(r[6] for r in here.values()):.0f} to {max(r[6] for r in here.values()):.0f}"
        ended = "yes" if all(row[7] for row in here.values()) else "no"
        words = (cell[0], f"`{cell[1]}`", str(cell[2]), *figures, epochs, ended)
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def tried() -> str:
    """A rate that falls against one that stays, on validation texts: a row a cell."""
    from slimcls import runs

    found = runs.load(RATES)
    falls = found[found.schedule == "linear"]
    lines = [
        "| dataset | mode | kept | rate | seeds | stays, until nothing improves | falls, 12 epochs "
        "| points gained | epochs | best epoch, where it stays |",
        f"|{' --- |' * 10}",
    ]
    for (task, mode, keep, lr), cell in falls.groupby(["dataset", "mode", "keep", "lr"]):
        beside = found[
            (found.schedule == "constant")
            & (found.dataset == task)
            & (found["mode"] == mode)
            & (found.keep == keep)
            & (found.lr == lr)
            & found.seed.isin(cell.seed)
        ]
        mine, theirs = _validated(cell), _validated(beside)
        epochs, best = (f"{one.min()} to {one.max()}" for one in (
            beside.epochs_run, beside.best_epoch
        ))  # fmt: skip
        cells = (
            task, f"`{mode}`", f"{keep}", f"{lr:.0e}".replace("e-0", "e-"),
            ", ".join(map(str, sorted(cell.seed))), _mean(theirs), _mean(mine),
            _points(mine, theirs), epochs, best,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _validated(cell: pd.DataFrame) -> list[SeedItems]:
    """What the runs of a cell got right of their validation texts, a run a seed."""
    import numpy as np
    import pandas as pd

    from slimcls.data.catalog import find_dataset
    from slimcls.statistics import SeedItems

    sides = []
    for folder, seed, task in zip(cell.folder, cell.seed, cell.dataset, strict=True):
        rows = pd.read_parquet(f"{folder}/validation.parquet")
        names = np.array(find_dataset(task).labels)
        right = names[[int(np.argmax(one)) for one in rows.logits]] == rows.label.to_numpy()
        sides.append(SeedItems(int(seed), rows.id.to_numpy(), right))
    return sides


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
    rows = [
        row
        for row in _query(
            "select dataset, keep, mode, lr, test_accuracy, seed, test_items from runs "
            "order by dataset, keep, mode, seed"
        )
        if row[3] == {2: 3e-4, 30: 1e-4}[row[1]]
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


def losses() -> str:
    """Every cut of the first study against full depth, as the report judges it: a row a cut."""
    from slimcls.reporting import study, tables

    compared = study.read_study(STUDY).compared
    full = compared.cells.query("keep == depth").set_index("line").accuracy
    lines = ["| mode | full depth | kept | points against it | verdict |", f"|{' --- |' * 5}"]
    for mode in MODES:
        cuts = compared.differences.query("line == @mode").sort_values("keep", ascending=False)
        for cut in cuts.itertuples():
            cells = (f"`{mode}`", f"{full[mode]:.3f}", f"{cut.keep}", tables.interval(cut))
            lines.append(f"| {' | '.join(cells)} | {cut.verdict} |")
    return "\n".join(lines)


def depths() -> str:
    """Every depth of the study, and what it loses against full depth: a row a cell."""
    from slimcls.reporting import study, tables

    compared = study.read_study(COURSE).compared
    lines = [
        "| task | kept | parameters saved | test accuracy | points against full depth | verdict |",
        f"|{' --- |' * 6}",
    ]
    for cell in compared.cells.sort_values(["task", "keep"]).itertuples():
        cut = compared.differences.query("task == @cell.task and keep == @cell.keep")
        judged = [
            (f"{one.params_saved:.1%}", tables.interval(one), one.verdict)
            for one in cut.itertuples()
        ]
        saved, points, verdict = judged[0] if judged else ("none", "", "")
        right = f"{cell.accuracy:.3f} ({cell.low:.3f} to {cell.high:.3f})"
        lines.append(f"| {cell.task} | {cell.keep} | {saved} | {right} | {points} | {verdict} |")
    return "\n".join(lines)


def rivals() -> str:
    """The cheap rivals of the study's cuts: a row a task."""
    from slimcls.reporting import study, tables

    return tables.markdown_table(tables.rival_table(study.read_study(COURSE).compared))


def fits() -> str:
    """Fits against a grid of all depths: a row a fit."""
    lines = [
        "| data | texts a class, at most | budget | chosen | its test accuracy | best there is "
        "| points lost | points that depth loses in the grid "
        "| smallest within the margin | share of the grid's time |",
        f"|{' --- |' * 10}",
    ]
    for path in sorted((ROOT / "results" / "fit").glob("*.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        best = max(row["grid"], key=row["grid"].get)
        depth = row["regret_of_depth"]
        cells = (
            row["dataset"],
            f"{row['shots']}",
            row["budget"],
            f"{row['chosen']}: {row['verdict']}",
            f"{row['confirmed'][row['chosen']]:.3f}",
            f"{best}: {row['grid'][best]:.3f}",
            f"{row['regret']:.1f}",
            "-" if depth is None else f"{depth:.1f}",
            row["oracle"],
            f"{row['share_of_time']:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def answers() -> str:
    """What the study says so far: a paragraph a task and mode."""
    from slimcls.reporting import prose, study

    return "\n\n".join(prose.answers(study.read_study(COURSE)))


def saved() -> bytes:
    """The study's accuracy against parameters saved, with the rivals, as a PNG."""
    from slimcls.reporting import figures, prose, study
    from slimcls.reporting.figure_style import as_png

    read = study.read_study(COURSE)
    cells, levels = read.compared.cells, read.compared.baselines.query("keep == 0")
    return as_png(figures.accuracy_against_parameters(cells, levels, prose.setting(read)))


def layers_of(folder: Path) -> bytes:
    """Accuracy against kept layers on trec, with the rivals, as a PNG."""
    from slimcls.reporting import figures, study
    from slimcls.reporting.figure_style import as_png

    compared = study.read_study(folder).compared
    levels = compared.baselines.query("task == 'trec' and keep == 0")
    return as_png(figures.accuracy_against_layers(compared.cells.query("task == 'trec'"), levels))


def taught() -> str:
    """Cuts that full depth has taught, against it and against as many steps on the labels."""
    from slimcls import runs

    own, learnt, steps = (
        runs.load(folder) for folder in (COURSE, TEACHING / "taught", TEACHING / "steps")
    )
    own = own[own.method == "fine-tuned"]
    full = own[own["keep"] == own["depth"]]
    lines = [
        "| dataset | kept | texts without labels | seeds | full depth | labels, to convergence "
        "| labels, as many steps | taught | taught against full depth | taught against as many "
        "steps |",
        f"|{' --- |' * 10}",
    ]
    for (task, keep, _), cell in learnt.groupby(["dataset", "keep", "taught"]):
        seeds = sorted(cell.seed)
        of = [
            some[(some.dataset == task) & some.seed.isin(seeds)]
            for some in (full, own[own["keep"] == keep], steps[steps["keep"] == keep])
        ]
        whole, labels, controls = (_right(some) for some in of)
        mine = _right(cell)
        texts = sorted(cell.unlabelled_texts)
        between = f"{texts[0]:,}" + (f" to {texts[-1]:,}" if texts[-1] > texts[0] else "")
        everything = (
            task, f"{keep}", between, ", ".join(map(str, seeds)), *map(_mean, (whole, labels)),
            _mean(controls), _mean(mine), _points(mine, whole), _points(mine, controls),
        )  # fmt: skip
        lines.append(f"| {' | '.join(everything)} |")
    return "\n".join(lines)


def pooling() -> str:
    """What the mean in place of the last token brings: a row a cut, on the same seeds."""
    from slimcls import runs

    own, mean = runs.load(COURSE), runs.load(POOLED)
    mean = mean[~mean.probe_first]
    lines = [
        "| task | kept | seeds | reads the last token | reads the mean | points gained | "
        "parameters saved, the added layer counted |",
        f"|{' --- |' * 7}",
    ]
    for (task, keep), cell in mean.groupby(["dataset", "keep"]):
        mine, theirs = _right(cell), _right(_as_in_study(own, cell))
        seeds = ", ".join(map(str, sorted(cell.seed)))
        saved = f"{cell.params_saved.iloc[0]:.1%}"
        cells = (
            Path(task).stem,
            f"{keep}",
            seeds,
            _mean(theirs),
            _mean(mine),
            _points(mine, theirs),
            saved,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def probe_first() -> str:
    """What it brings that the head begins as a regression: a row a cut that reads the mean."""
    from slimcls import runs

    own, table = runs.load(COURSE), runs.load(POOLED)
    begun = table.probe_first
    lines = [
        "| task | kept | seeds | drawn head | begins as a regression | points gained | "
        "best epoch with a drawn head | best epoch | points over a drawn head on the last token |",
        f"|{' --- |' * 9}",
    ]
    for (task, keep), cell in table[begun].groupby(["dataset", "keep"]):
        beside = table[
            ~begun & (table.dataset == task) & (table["keep"] == keep) & table.seed.isin(cell.seed)
        ]
        mine, theirs = _right(cell), _right(beside) if len(beside) else []
        seeds = ", ".join(map(str, sorted(cell.seed)))
        epochs = (
            f"{side.best_epoch.min()} to {side.best_epoch.max()}" if len(side) else "-"
            for side in (beside, cell)
        )
        points = (_mean(theirs), _mean(mine), _points(mine, theirs))
        over = _points(mine, _right(_as_in_study(own, cell)))
        cells = (Path(task).stem, f"{keep}", seeds, *points, *epochs, over)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _as_in_study(own: pd.DataFrame, cell: pd.DataFrame) -> pd.DataFrame:
    """The study's runs of the same task, depth and seeds."""
    one = cell.iloc[0]
    alike = (own.dataset == one.dataset) & (own["keep"] == one.keep) & own.seed.isin(cell.seed)
    return own[alike & (own.method == "fine-tuned")]


def _right(cell: pd.DataFrame) -> list[SeedItems]:
    """What the runs of a cell got right, a run a seed."""
    from slimcls import runs
    from slimcls.statistics import SeedItems

    rows = runs.predictions(cell)
    right = rows.label == rows.prediction
    seeds = dict(zip(cell.run, cell.seed, strict=True))
    return [
        SeedItems(int(seeds[run]), here.id.to_numpy(), right[here.index].to_numpy())
        for run, here in rows.groupby("run", sort=False)
    ]


def _mean(some: list[SeedItems]) -> str:
    from slimcls.statistics import mean_accuracy

    return f"{mean_accuracy(some).mean:.3f}" if some else "-"


def _points(some: list[SeedItems], others: list[SeedItems]) -> str:
    """A difference in points with its 95 % interval."""
    from slimcls.statistics import paired_difference

    if not others:
        return "-"
    found = paired_difference(some, others)
    low, high = (100 * end for end in found.interval())
    return f"{100 * found.mean:+.1f} ({low:+.1f} to {high:+.1f})"


def power() -> str:
    """The smallest loss that a design shows with 80 % power, in points: a row a number of seeds."""
    from slimcls.statistics import smallest_detectable_loss

    items = (200, 500, 1000)
    lines = [
        f"| seeds | {' | '.join(f'{count:,} items' for count in items)} |",
        "| --- |" + " --- |" * len(items),
    ]
    for seeds in (3, 5, 10):
        losses = (100 * smallest_detectable_loss(seeds, count) for count in items)
        lines.append(f"| {seeds} | {' | '.join(f'{loss:.1f}' for loss in losses)} |")
    return "\n".join(lines)


def trimming() -> str:
    """Tokens left out before training against after it: a row a form."""
    held = json.loads((ROOT / "results" / "trimming" / "trec.json").read_text(encoding="utf-8"))
    words = {
        "whole": "all tokens",
        "after": "trained, then trimmed",
        "after, trained again": f"trained, then trimmed, then `--retune {held['retune']}`",
        "before": "trimmed, then trained",
    }
    lines = [
        f"| two layers on TREC, {held['tokens']:,} tokens | right, of {held['texts']:,} texts | "
        "each seed | points against all tokens | against `--retune` |",
        f"|{' --- |' * 5}",
    ]
    for row in held["rows"]:
        each = zip(held["seeds"], row["each"], strict=True)
        seeds = ", ".join(f"{seed}: {right:.3f}" for seed, right in each)
        ends = (_ends(row[key]) for key in ("against_whole", "against_again"))
        cells = (words[row["form"]], f"{row['accuracy']:.3f}", seeds, *ends)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ends(points: list[float] | None) -> str:
    """A difference in points with its interval, as a file has both."""
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*points) if points else ""


def forms() -> str:
    """What exports of two layers come to, as the benchmark has measured it: a row a form."""
    file = ROOT / "benchmarks" / "results" / "exported-full.json"
    held = json.loads(file.read_text(encoding="utf-8"))["rows"]
    lines = ["| data | form | MB | right | points against the run | on |", f"|{' --- |' * 6}"]
    for row in held:
        figures = {one["name"]: one for one in row["figures"]}
        points = figures.get("points of accuracy, exported minus run")
        if points is None:
            continue
        data, _, form = row["name"].partition(", ")
        right = sum(row["sides"]["exported"]) / len(row["sides"]["exported"])
        ends = _ends([points["value"], points["low"], points["high"]])
        on = row["note"].removeprefix("accuracy on ")
        cells = (data, form, f"{figures['MB']['value']:.1f}", f"{right:.3f}", ends, on)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def families() -> str:
    """The rows of the table of architectures."""
    from slimcls.backbones.families import FAMILIES

    heads = ("family", "`model_type`", "modes", "demonstrations", "of note")
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for family in FAMILIES:
        cells = (
            family.name,
            ", ".join(family.model_types),
            "all" if family.classifies else "`lm`",
            "shared" if family.shares_prefix else "in every item",
            family.of_note,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


#: The tables of each page, by the mark between which they stand.
TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "docs/defaults.md": {"rates": rates, "tried": tried, "search": search, "reference": reference},
    "docs/depth-study.md": {"losses": losses},
    "docs/export.md": {"forms": forms, "trimming": trimming},
    "docs/fit.md": {"fits": fits},
    "docs/models.md": {"families": families},
    "docs/limits.md": {"power": power},
    "docs/options.md": {"pooling": pooling, "probe-first": probe_first},
    "docs/teaching.md": {"taught": taught},
    "results/README.md": {"answers": answers, "depths": depths, "rivals": rivals},
}
#: The figures that pages show.
FIGURES: dict[str, Callable[[], bytes]] = {
    "docs/study.png": saved,
    "docs/first-study.png": partial(layers_of, STUDY),
}


def _query(text: str, folder: Path = RESULTS) -> list[tuple]:
    with duckdb.connect() as connection:
        source = f"read_parquet('{folder}/*/result.parquet', union_by_name = true)"
        return connection.sql(f"with runs as (from {source}) {text}").fetchall()


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def filled(name: str) -> str:
    """The page with its tables made anew."""
    page = (ROOT / name).read_text(encoding="utf-8")
    for mark, table in TABLES[name].items():
        before, _, rest = page.partition(f"<!-- {mark} -->\n")
        _, _, after = rest.partition(f"<!-- /{mark} -->")
        page = f"{before}<!-- {mark} -->\n\n{table()}\n\n<!-- /{mark} -->{after}"
    return page


if __name__ == "__main__":
    for name in TABLES:
        (ROOT / name).write_text(filled(name), encoding="utf-8")
    for name, figure in FIGURES.items():
        (ROOT / name).write_bytes(figure())
