"""Writes a report: Markdown, a self-contained HTML page, CSV tables, PNG and SVG figures."""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from collections.abc import Iterator, Set
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from numpy.typing import NDArray

from slimcls.escaping import in_markdown
from slimcls.reporting import figure_style, figures, prose, tables
from slimcls.reporting.convergence import on_convergence, on_warnings
from slimcls.reporting.study import Study, classes, confusion_counts
from slimcls.storage.files import write_text

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;font-size:13px}td,th{border-bottom:1px solid #ccc;"
    "padding:.25em .7em;text-align:left;vertical-align:top}img{max-width:100%}"
    "blockquote{color:#555;margin-left:0;border-left:3px solid #ccc;padding-left:1em}"
)


def write_report(study: Study, out: Path, title: str) -> Path:
    """Write the report of a study into ``out``; return the path of its Markdown page.

    The same study gives the same bytes. Raises UserError where ``out`` cannot be written.
    """
    for name, table in tables.CSV.items():
        write_text(out / "tables" / f"{name}.csv", tables.csv_table(table(study)))
    for name, table in tables.EXTRA_CSV.items():
        if len(rows := table(study)):
            write_text(out / "tables" / f"{name}.csv", tables.csv_table(rows))
    named = {name: f"figures/{name}.png" for name in _draw(study, out / "figures")}
    text = _markdown(study, title, named)
    write_text(out / "report.md", text)
    write_text(out / "report.html", _html(text, title, out, set(named.values())))
    return out / "report.md"


def _draw(study: Study, folder: Path) -> Iterator[str]:
    """Write every figure; give the names of those there are."""
    cells = study.compared.cells
    levels = study.compared.baselines
    levels = levels[levels.keep == 0]
    setting = prose.setting(study)
    drawn = {
        "layers": figures.accuracy_against_layers(cells, levels, setting),
        "parameters": figures.accuracy_against_parameters(cells, levels, setting),
        "costs": figures.cost_against_layers(cells),
    }
    for task, drawing in confusions(study):
        name = f"confusion-{_plain(task)}"
        drawn[f"{name}-{len(drawn)}" if name in drawn else name] = drawing
    if len(study.compared.selections):
        drawn["selections"] = figures.selection_differences(study.compared.selections)
    for name, figure in drawn.items():
        figure_style.save_figure(figure, folder / name)
        yield name


def confusions(study: Study) -> Iterator[tuple[str, Figure]]:
    """A figure a task: each line at full depth and at its smallest depth that was compared."""
    cells = study.compared.cells
    for task in dict.fromkeys(cells.task):
        labels = classes(study, task)
        if len(labels) > MOST_CLASSES:
            continue
        shown: dict[str, NDArray[np.int64]] = {}
        for line, rows in cells[cells.task == task].groupby("line", sort=True):
            for keep in sorted({rows.keep.min(), rows.keep.max()}, reverse=True):
                counts = confusion_counts(study, task, str(line), int(keep), labels)
                shown[f"{task}, {line}, {keep} of {rows.depth.iloc[0]} layers"] = counts
        yield task, figures.confusion_matrices(shown, labels)


#: A confusion matrix of more classes cannot be read at page width.
MOST_CLASSES = 20


def _markdown(study: Study, title: str, named: dict[str, str]) -> str:
    published, source = tables.published(study)
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, undefined=StrictUndefined, keep_trailing_newline=True,
        autoescape=False,
    )  # fmt: skip
    compared = study.compared
    text = environment.get_template("page.md.j2").render(
        title=in_markdown(title),
        summary=in_markdown(study_summary(study)),
        answers=prose.answers(study),
        margin=f"{100 * study.margin:g}",
        lines=len(compared.differences.groupby(["task", "line"]))
        if len(compared.differences)
        else 0,
        notes=[in_markdown(note) for note in _notes(study)],
        caveats=tables.caveats(compared),
        figures=named,
        confusions=[
            (n.removeprefix("confusion-"), p) for n, p in named.items() if "confusion" in n
        ],
        enough=tables.markdown_table(tables.enough(compared)),
        paper=tables.markdown_table(tables.as_paper(compared.cells)),
        differences=tables.markdown_table(tables.difference_table(compared)),
        baselines=tables.markdown_table(tables.rival_table(compared)),
        selections=tables.markdown_table(tables.selection_table(compared)),
        costs=tables.markdown_table(tables.sizes_and_costs(compared)),
        choices=tables.markdown_table(tables.choice_table(study.found.choices)),
        published=tables.markdown_table(published),
        source=source,
        missing=[in_markdown(line) for line in (*compared.missing, *study.unread)],
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def study_summary(study: Study) -> str:
    """What came out, in a sentence or two."""
    runs, compared = study.found.runs, study.compared
    seeds = sorted(set(runs.seed))
    said = (
        f"{_counted(len(runs), 'run')} on {_listed(runs.task)}, "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}: "
        f"{_counted(len(compared.differences), 'cut')} compared with full depth"
    )
    if compared.differences.empty:
        return f"{said}."
    counts = Counter(compared.differences.verdict)
    return f"{said}, {', '.join(f'{counts[word]} {word}' for word in sorted(counts))}."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _listed(names: pd.Series) -> str:
    return ", ".join(sorted(set(names)))


def _notes(study: Study) -> list[str]:
    """What has to be said beside figures from these weights and data."""
    runs = study.found.runs
    pairs = [("model", "source_note"), ("task", "data_note")]
    notes = {f"{row[0]}: {row[1]}" for pair in pairs for row in runs[list(pair)].values if row[1]}
    threads = sorted(set(runs.threads))
    devices = sorted(set(runs.device))
    return [
        *sorted(notes),
        *study.on_seeds,
        *on_convergence(runs),
        *on_warnings(runs),
        f"computed on {', '.join(devices)}, threads: {', '.join(map(str, threads))}",
    ]


def _html(text: str, title: str, out: Path, drawn: Set[str]) -> str:
    """The page in one file: the figures that were drawn inside it as SVG, no other picture."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)

    def inlined(match: re.Match[str]) -> str:
        if match[1] not in drawn:
            return 'src=""'
        picture = (out / match[1]).with_suffix(".svg").read_bytes()
        return f'src="data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"'

    body = re.sub(r'src="([^"]*)"', inlined, body)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}</body></html>\n'


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-") or "x"
