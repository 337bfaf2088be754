"""The small table at the end of a run."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from slimcls.runs.schema import RunResult


def run_summary(result: RunResult) -> str:
    """What came out, and the command to try next."""
    c, o = result.config, result.outcome
    demonstrations = ", demonstrations" if c.uses_prompt else ""
    rows = [
        (
            "test accuracy",
            f"{o.test_accuracy:.3f}  (95 % interval {o.test_low:.3f} to {o.test_high:.3f} "
            f"over {o.test_items} test items)",
        ),
        ("macro-F1", f"{o.test_macro_f1:.3f}"),
        ("layers kept", f"{c.keep} of {o.depth}"),
        (
            "parameters kept",
            f"{_millions(o.params_kept)} of {_millions(o.params_full)} "
            f"({o.params_saved:.1%} saved)",
        ),
        ("labels used", f"{o.labels_used:,} (training, validation{demonstrations})"),
    ]
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
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in rows)])


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
