"""The small table at the end of a run."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from slimcls.runs.schema import Outcome, RunResult


def run_summary(result: RunResult) -> str:
    """What came out, and the command to try next."""
    c, o = result.config, result.outcome
    demonstrations = ", demonstrations" if c.uses_prompt else ""
    rows = [
        *_accuracy_rows(o),
        ("layers kept", f"{c.keep} of {o.depth}"),
        (
            "parameters kept",
            f"{_millions(o.params_kept)} of {_millions(o.params_full)} "
            f"({o.params_saved:.1%} saved)",
        ),
        ("labels used", f"{o.labels_used:,} (training, validation{demonstrations})"),
    ]
    if o.taught:
        rows.append(("taught", f"by {o.taught_by}, on {o.unlabelled_texts:,} more texts"))
    if o.source_note:
        rows.append(("weights", o.source_note))
    if o.data_note:
        rows.append(("data", o.data_note))
    if o.model_mb:
        rows.append(("size on disk", f"{_short(o.model_mb)} MB"))
    rows += [
        ("one text takes", f"{o.latency_ms:.1f} ms"),
        ("seconds", f"{o.total_seconds:.0f} in all, {o.train_seconds:.0f} of them training"),
        ("run", str(result.folder)),
    ]
    if not result.has_model:
        rows.append(("artefact", "its weights are gone; --overwrite trains it again"))
    elif o.model_mb:
        run = shlex.quote(str(result.folder))
        rows.append(("artefact", f"{result.folder / 'model'}"))
        rows.append(("try next", f'{_python()} -m slimcls.predict {run} "some text"'))
    width = max(len(name) for name, _ in rows)
    blocks = " with random blocks" if c.random_blocks else ""
    title = f"{c.model} cut to {c.keep} layers{blocks}, {c.mode} on {c.dataset}, seed {c.seed}"
    lines = [title, *(f"  {name:<{width}}  {value}" for name, value in rows), *_by_class(o)]
    said = [f"warning: {o.warnings}"] if o.warnings else []
    return "\n".join([*lines, *said, *rival_words(result)])


def _accuracy_rows(o: Outcome) -> list[tuple[str, str]]:
    """Figures of the test part; of validation, which chose the epoch, where nothing was tested."""
    if not o.test_items:
        interval = f"95 % interval {o.validation_low:.3f} to {o.validation_high:.3f}"
        over = f"({interval} over {o.validation_items} validation items; nothing was tested)"
        return [("validation accuracy", f"{o.validation_accuracy:.3f}  {over}")]
    return [
        (
            "test accuracy",
            f"{o.test_accuracy:.3f}  (95 % interval {o.test_low:.3f} to {o.test_high:.3f} "
            f"over {o.test_items} test items)",
        ),
        ("macro-F1", f"{o.test_macro_f1:.3f}"),
        *more_metric_rows(o),
        *([("probabilities", calibration_words(o))] if o.fitted_temperature else []),
    ]


def more_metric_rows(outcome: Outcome) -> list[tuple[str, str]]:
    """What ``--metrics`` say of the test part, a row a figure; one that failed says why."""
    rows = []
    for key, figures in json.loads(outcome.test_metrics or "{}").items():
        for name, value in figures.items():
            shown = f"{value:.3f}" if isinstance(value, float) else str(value)
            rows.append((key if name in (key, "error") else f"{key} {name}", shown))
    return rows


def calibration_words(outcome: Outcome) -> str:
    """What the temperature does on the test part, and how far probabilities are off with it."""
    return (
        f"negative log-likelihood {outcome.test_nll_tempered:.3f} at temperature "
        f"{outcome.fitted_temperature:.2f} ({outcome.test_nll:.3f} without); calibration error "
        f"{outcome.test_ece:.3f} ({outcome.test_ece_floor:.3f} if they were right)"
    )


#: Most classes that the table at the end of a run has room for.
CLASSES = 10
#: Most letters of a class's name in it.
NAME = 30


def _by_class(outcome: Outcome) -> list[str]:
    """A line a class, where they are few."""
    classes = json.loads(outcome.per_class or "[]")
    if not 0 < len(classes) <= CLASSES or not outcome.test_items:
        return []
    names = [" ".join(figures["label"].split())[:NAME] for figures in classes]
    width = max(len("class"), *map(len, names))
    head = f"  {'class':<{width}}  {'items':>6}  precision  recall     F1"
    return [head] + [
        f"  {name:<{width}}  {figures['items']:>6}  {figures['precision']:>9.3f}  "
        f"{figures['recall']:>6.3f}  {figures['f1']:.3f}"
        for name, figures in zip(names, classes, strict=True)
    ]


def rival_words(result: RunResult) -> list[str]:
    """What rivals did on the same texts, a line each; none where none was asked.

    Better and worse are said where the 95 % interval, paired by texts, leaves no other answer.
    """
    o, said = result.outcome, []
    if o.tfidf_accuracy is not None:
        ahead = _Ahead(o.over_tfidf or 0.0, o.over_tfidf_low or 0.0, o.over_tfidf_high or 0.0)
        words = (
            "TF-IDF with logistic regression, which needs no language model, is right on "
            f"{o.tfidf_accuracy:.3f} of the same texts: {_difference(ahead)}"
        )
        advice = f" Take it, or {_more(result)}." if ahead.low <= 0 else ""
        said.append(words + advice + _whole_texts(result))
    if o.probe_accuracy is not None:
        ahead = _Ahead(o.over_probe or 0.0, o.over_probe_low or 0.0, o.over_probe_high or 0.0)
        said.append(
            f"Logistic regression on the states of the uncut model after {o.read_layers} layers, "
            f"which trains nothing of it, is right on {o.probe_accuracy:.3f}: {_difference(ahead)}"
        )
    return said


class _Ahead(NamedTuple):
    """How far a run is ahead of a rival, a share, with the 95 % interval."""

    mean: float
    low: float
    high: float


def _difference(ahead: _Ahead) -> str:
    """By how much a rival is better or worse, in points with the 95 % interval."""
    mean, low, high = (100 * share for share in ahead)
    word = "worse" if mean > 0 else "better"
    sentence = f"{abs(mean):.1f} points {word} than this run"
    if low > 0:
        return f"{sentence} ({low:.1f} to {high:.1f})."
    if high < 0:
        return f"{sentence} ({-high:.1f} to {-low:.1f})."
    return (
        f"{sentence} ({max(0.0, -low):.1f} better to {max(0.0, high):.1f} worse), which shows "
        "neither to be better."
    )


def _more(result: RunResult) -> str:
    more_texts = "" if result.config.shots == "all" else ", on more --shots"
    return f"train longer (--epochs){more_texts} or with more layers (--keep)"


def _whole_texts(result: RunResult) -> str:
    """TF-IDF reads whole texts: what that is beside what the model reads."""
    o = result.outcome
    if not o.texts_cut:
        return ""
    share = o.texts_cut / max(1, o.train_items + o.validation_items + o.test_items)
    return (
        f" It reads whole texts, the model the first {o.text_tokens} tokens: "
        f"{share:.0%} of them are longer (--max-text-tokens)."
    )


def ranking(results: Sequence[RunResult]) -> str:
    """What several methods came to on the same items, a line each."""
    first = results[0]
    head = ("", "accuracy", "95 % interval", "macro-F1", "run")
    rows = [head, *(_line(result) for result in results)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(head) - 1)]
    lines = [
        "  ".join([*(word.ljust(width) for word, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    return "\n".join([f"{first.dataset}, seed {first.seed}, {first.test_items} test items", *lines])


def _line(result: RunResult) -> tuple[str, ...]:
    o = result.outcome
    return (
        o.method,
        f"{o.test_accuracy:.3f}",
        f"{o.test_low:.3f} to {o.test_high:.3f}",
        f"{o.test_macro_f1:.3f}",
        str(result.folder),
    )


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e6:.2f} M"


def _short(figure: float) -> str:
    return f"{figure:.0f}" if figure >= 10 else f"{figure:.2f}"


def _python() -> str:
    """How to call this interpreter from here: as ``python`` only where that is what answers."""
    running = Path(sys.executable)
    if shutil.which("python") == str(running):
        return "python"
    if running.is_relative_to(Path.cwd()):
        return str(running.relative_to(Path.cwd()))
    return shlex.quote(str(running))
