"""A fit's answer as one page for the person who decides: a file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from slimcls.kinds import in_a_sentence
from slimcls.reporting.figure_style import as_svg
from slimcls.search import page_figures
from slimcls.search.answer import Answer, Candidate, ClassScore, Verdict
from slimcls.search.page_words import (
    cut,
    duration,
    number,
    percent,
    plain,
    points,
    sentence,
    size,
    time_of,
)
from slimcls.storage.files import write_text

#: Classes that the page has a row for, the worst ones.
MOST_CLASSES = 20
#: Mistakes that it shows.
MOST_MISTAKES = 10
#: Letters of a text, and of a label or a name.
TEXT, NAME = 320, 70

#: What each verdict means, with the points that were allowed.
_MEANS: dict[Verdict, str] = {
    "good enough": "a loss of more than {points} points against {other} is ruled out",
    "worse": "it loses more than {points} points against {other}",
    "cannot tell": "these data can neither rule out nor show a loss of {points} points",
    "no reference": "there was no other candidate that it had to match",
}
_KINDS = {"rival": "cheap rival", "frozen": "frozen", "cut": "fine-tuned"}
_COSTS = (
    ("megabytes", "size on disk (MB, log)", "size", "MB"),
    ("milliseconds", "time of one text on this machine (ms, log)", "time of one text", "ms"),
)
_OPINIONS = (
    ("probe_accuracy", "accuracy of frozen layers", "higher is better"),
    ("variability", "hidden-state variability", "lower is better"),
    ("logme", "LogME", "higher is better"),
)


def write_page(answer: Answer, path: Path) -> None:
    """Write the page, whole or not at all; the same answer gives the same bytes.

    Texts and labels are others' and are shown as they are, never obeyed. Raises UserError where
    ``path`` cannot be written.
    """
    write_text(path, page_of(answer))


def page_of(answer: Answer) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: plain(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    said = (percent, points, size, time_of, duration, cut, number, sentence, in_a_sentence)
    environment.filters.update({say.__name__: say for say in said})
    candidates = ranked(answer.candidates)
    return environment.get_template("page.html.j2").render(
        a=answer,
        means=_MEANS[answer.verdict].format(
            points=f"{answer.max_loss:g}",
            other=cut(in_a_sentence(answer.other or "the reference"), NAME),
        ),
        kinds=_KINDS,
        candidates=candidates,
        chosen=next((c for c in candidates if c.chosen), None),
        reference=next((c for c in candidates if c.reference), None),
        figures=_cost_figures(answer),
        below=page_figures.far_below(answer.candidates) if answer.candidates else [],
        opinions=_opinion_figures(answer),
        classes=worst(answer.per_class)[:MOST_CLASSES],
        mistakes=answer.mistakes[:MOST_MISTAKES],
        TEXT=TEXT,
        NAME=NAME,
    )


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Best first by accuracy; of equals the smallest, then the fastest."""
    return sorted(candidates, key=lambda c: (-c.accuracy, c.megabytes, c.milliseconds))


def worst(scores: Sequence[ClassScore]) -> list[ClassScore]:
    """Lowest F1 first; of equals the class with the most items."""
    return sorted(scores, key=lambda score: (score.f1, -score.items))


def _cost_figures(answer: Answer) -> list[tuple[str, str]]:
    """Address of a picture and its words, a figure a cost that any candidate has."""
    below = page_figures.far_below(answer.candidates) if answer.candidates else []
    near = [c for c in answer.candidates if c not in below]
    figures = []
    for cost, label, what, unit in _COSTS:
        shown = [c for c in near if getattr(c, cost) > 0]
        if not shown:
            continue
        marked = [
            f"{role}: {cut(c.name, NAME)}, {percent(c.accuracy)} at "
            f"{number(getattr(c, cost))} {unit}"
            for role, of in (("chosen", "chosen"), ("reference", "reference"))
            for c in shown
            if getattr(c, of)
        ]
        words = f"Accuracy on validation against {what}, {len(shown)} candidates. "
        figure = page_figures.against_cost(shown, cost, label, answer.max_loss)
        figures.append((_address(figure), words + "; ".join(marked)))
    return figures


def _opinion_figures(answer: Answer) -> list[tuple[str, str, str]]:
    """Address, title and which way is better, for each opinion that any depth has."""
    found = []
    for field, title, better in _OPINIONS:
        if any(getattr(opinion, field) is not None for opinion in answer.opinions):
            figure = page_figures.by_depth(answer.opinions, field, title)
            found.append((_address(figure), title, better))
    return found


def _address(figure: Figure) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(as_svg(figure)).decode()}"
