"""An exported classifier: how fast, how small and how soon, and what that costs in accuracy.

Runs are those of `slimcls train` with its defaults: the packaged model cut to 2 layers, cls,
trained on 200 texts a class (small: on 50, four epochs, and all tokens are kept). Their model
folder is the rival's: the pipeline of transformers, at its best batch size, with its texts sorted
by length. Both sides get bare texts.
Sides need not agree in the last bit, since 8 bits are fewer: 90 of 100 labels must be the same.

The first answer is a process from its start to the class of one text, in processor seconds. Of each
form the accuracy on the test part is held against the run's: mean over the seeds, with the 95 %
interval over seeds and texts. No form was chosen by what it does here.

At its full size trec has three seeds and the other data sets one, and only on trec a form is
trained again: it takes all training texts, of which the others have 12 and 22 times as many.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness, predict, workload
from benchmarks.harness import Figure, Row, Took
from slimcls import cli

EXPORTED, PIPELINE = "exported, 8 bits", predict.PIPELINE
#: What is done to a run, by the name of the form.
FORMS: dict[str, dict[str, Any]] = {
    "8 bits": {"bits": 8},
    "4 bits": {"bits": 4},
    "4 bits, 16,384 tokens, not trained again": {"bits": 4, "vocabulary": 16_384},
    "4 bits, 16,384 tokens": {"bits": 4, "vocabulary": 16_384, "retune": 1},
    "4 bits, 8,192 tokens": {"bits": 4, "vocabulary": 8_192, "retune": 2},
}
#: Megabytes that a form may have, and points of accuracy that it may lose.
CLAIMED, MEGABYTES, POINTS = "4 bits, 16,384 tokens", 11.0, -0.5
#: Seeds by data set, and settings of the runs beside the defaults.
SEEDS: dict[str, dict[str, tuple[int, ...]]] = {
    "small": {"trec": (0,)},
    "full": {"trec": (0, 1, 2), "sst2": (0,), "agnews": (0,)},
}
BRIEF: dict[str, Any] = {"shots": 50, "epochs": 4, "validation_size": 50, "test_size": 200}
REPETITIONS = {"small": 3, "full": 9}
#: How many times as fast: for one text, for many.
FASTER = {"one text": 4.0, "many texts": 2.5}
#: Processor seconds to the first answer; how many times sooner; memory over the model's, and MB.
FIRST, SOONER, TIMES_MODEL, BESIDE = 0.3, 10.0, 2.5, 80.0
ALIKE = 0.9

_OURS = "import slimcls; slimcls.load({folder!r}).predict({text!r})"
_THEIRS = (
    "from transformers import pipeline; "
    "pipeline('text-classification', {folder!r}, device='cpu', truncation=True)({text!r})"
)


@dataclass(frozen=True)
class Trained:
    """A run and its test part."""

    folder: Path
    texts: list[str]
    labels: list[int]


def forms_of(dataset: str, options: Any) -> list[str]:
    """The forms of a data set: some take longer than a small size has, or many texts leave."""
    again = options.size == "full" and dataset == "trec"
    return [form for form, what in FORMS.items() if again or "retune" not in what]


def trained(dataset: str, seed: int, options: Any, out: Path) -> Trained:
    """A finished run of a data set."""
    from slimcls.config import RunConfig
    from slimcls.session.again import drawn_again
    from slimcls.train import train

    brief = BRIEF if options.size == "small" else {}
    common = {"dataset": dataset, "model": "smollm2-135m", "mode": "cls", "keep": 2, "seed": seed}
    where = {"data_dir": options.data_dir, "out": str(out), "accelerator": "cpu", "baseline": False}
    folder = train(RunConfig(**common, **where, **brief)).folder
    test = drawn_again(folder, options.data_dir).splits.test
    return Trained(folder, [item.text for item in test], [item.label for item in test])


def export(run: Trained, form: str, options: Any) -> tuple[Path, float]:
    """The folder of a form, made if it is not there, and its size in 10^6 bytes."""
    from slimcls.export import export
    from slimcls.exporting.settings import PARITY, ExportConfig

    out = run.folder.parent / f"{run.folder.name}, {form}"
    if not out.is_dir():
        where = {"run": str(run.folder), "out": str(out), "data_dir": options.data_dir}
        export(ExportConfig(**where, tolerate=100, **FORMS[form]))
    return out, json.loads((out / PARITY).read_text(encoding="utf-8"))["megabytes"]


def speeds(run: Trained, folder: Path, options: Any) -> list[Row]:
    """One text, and many, beside the pipeline."""
    opened = replace(predict.open_both(run.folder / "model"), classifier=_opened(folder))
    count, alone, tried = predict.SIZES[options.size]
    many, few = sorted(run.texts[:count], key=len), run.texts[:alone]
    best, note = predict.best_size(opened, many, tried)
    sides = {
        "one text": {
            EXPORTED: lambda: predict.each(few, opened.by_slimcls),
            PIPELINE: lambda: predict.each(few, lambda text: opened.by_pipeline(text, 1)),
        },
        "many texts": {
            EXPORTED: lambda: opened.by_slimcls(many),
            PIPELINE: lambda: opened.by_pipeline(many, best),
        },
    }
    notes = {"one text": f"median of {len(few)} texts", "many texts": f"{len(many)} texts; {note}"}
    rows = []
    for kind, both in sides.items():
        turns = harness.alternate(
            both, repetitions=options.repetitions or REPETITIONS[options.size], check=alike
        )
        ours, theirs = turns.seconds[EXPORTED], turns.seconds[PIPELINE]
        faster = harness.ratio(theirs, ours, name="times faster", at_least=FASTER[kind])
        rows.append(Row(kind, turns.seconds, [faster], note=notes[kind]))
    return rows


def alike(outcomes: dict[str, Any]) -> None:
    """Raise where more labels differ than fewer bits explain."""
    ours, theirs = (np.asarray(outcomes[name]).argmax(1) for name in (EXPORTED, PIPELINE))
    if (share := float((ours == theirs).mean())) < ALIKE:
        raise harness.Different(f"only {share:.0%} of the labels are the same")


def first_answers(run: Trained, folders: dict[str, Path], options: Any) -> list[Row]:
    """Processes that answer once, a form each, beside one with the pipeline, all in turns."""
    text = run.texts[0]
    codes = {form: _OURS.format(folder=str(path), text=text) for form, path in folders.items()}
    codes[PIPELINE] = _THEIRS.format(folder=str(run.folder / "model"), text=text)
    sides = {name: partial(processor_seconds, code) for name, code in codes.items()}
    repetitions = options.repetitions or REPETITIONS[options.size]
    turns = harness.alternate(sides, repetitions=repetitions)
    theirs = turns.seconds[PIPELINE]
    rows = []
    for form, folder in folders.items():
        ours = turns.seconds[form]
        model = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        most = TIMES_MODEL * model + BESIDE
        figures = [
            harness.figure("processor seconds", ours, at_most=FIRST),
            harness.ratio(theirs, ours, name="times sooner", at_least=SOONER),
            harness.figure("peak memory, MB", turns.outcomes[form], at_most=most),
        ]
        both = {"exported": ours, PIPELINE: theirs}
        note = "processor seconds, not wall time"
        rows.append(Row(f"first answer, {form}", both, figures, note=note))
    return rows


def processor_seconds(code: str) -> Took:
    """What a Python process takes of the processor; the outcome is its peak memory, 10^6 bytes."""
    # What getrusage has of a process begins with what its parent had.
    lines = f"{code}\nprint(open('/proc/self/status').read())"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, env=os.environ, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{code} ended with {done.returncode}:\n{done.stderr}")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = int(done.stdout.partition("VmHWM:")[2].split()[0])
    return Took(spent, peak * 1024 / 1e6)


def form_row(dataset: str, form: str, runs: dict[int, Trained], options: Any) -> Row:
    """Size of a form, and its accuracy on the test part beside the run's."""
    from slimcls.statistics import SeedItems, paired_difference

    ours, theirs, sizes = [], [], []
    for seed, run in runs.items():
        folder, megabytes = export(run, form, options)
        sizes.append(megabytes)
        for side, opened in ((ours, _opened(folder)), (theirs, _opened(run.folder))):
            ids = opened.encoder.encode(run.texts).ids
            right = np.asarray(opened.logits(ids)).argmax(1) == np.asarray(run.labels)
            side.append(SeedItems(seed, np.arange(len(right)), right))
    found = paired_difference(ours, theirs)
    claimed = form == CLAIMED and dataset == "trec" and options.size == "full"
    points = Figure(
        "points of accuracy, exported minus run",
        100 * found.mean, 100 * found.low, 100 * found.high,
        at_least=POINTS if claimed else None,
    )  # fmt: skip
    size = harness.figure("MB", sizes, at_most=MEGABYTES if claimed else None)
    accuracies = {"exported": _means(ours), "the run": _means(theirs)}
    note = f"accuracy on {len(run.texts)} test texts, {len(runs)} seed{'s' * (len(runs) > 1)}"
    return Row(f"{dataset}, {form}", accuracies, [size, points], unit="right", note=note)


def _means(sides: Sequence[Any]) -> list[float]:
    return [float(one.correct.mean()) for one in sides]


def _opened(folder: Path) -> Any:
    import slimcls

    return slimcls.load(folder)


def main(argv: list[str] | None = None) -> int:
    """Train, export, measure, report; ``--only`` chooses among the rows' names."""
    options = harness.parser("exported", __doc__).parse_args(argv)
    rows: list[Row] = []

    def wanted(name: str) -> bool:
        return fnmatchcase(name, options.only)

    with workload.run_folder() as out:
        for dataset, seeds in SEEDS[options.size].items():
            forms = forms_of(dataset, options)
            sized = [form for form in forms if wanted(f"{dataset}, {form}")]
            timed = dataset == "trec" and any(map(wanted, FASTER))
            first = [f for f in forms if dataset == "trec" and wanted(f"first answer, {f}")]
            if not sized and not timed and not first:
                continue
            runs = {seed: trained(dataset, seed, options, out) for seed in seeds}
            run = runs[seeds[0]]
            if timed:
                found = speeds(run, export(run, "8 bits", options)[0], options)
                rows += [row for row in found if wanted(row.name)]
            if first:
                folders = {form: export(run, form, options)[0] for form in first}
                rows += first_answers(run, folders, options)
            rows += [form_row(dataset, form, runs, options) for form in sized]
    settings = {"model": "smollm2-135m", "keep": 2, "mode": "cls", "forms": FORMS}
    harness.report("exported", rows, options, settings)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
