"""What a fit leaves in its folder: the model, the answer, the page, the table."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
from pathlib import Path

from slimcls.errors import UserError, in_short
from slimcls.escaping import in_csv
from slimcls.runs.schema import RunResult
from slimcls.search.answer import Answer, Candidate, answer_of, as_json
from slimcls.search.cleaned_copy import FILE, FOLDER
from slimcls.search.kept_plan import PLAN, kept_plan
from slimcls.search.page import write_page
from slimcls.search.settings import RUNS, FitConfig
from slimcls.storage.files import replacing, replacing_folder, write_text
from slimcls.storage.json_files import parse_json

#: Files of a fit's folder.
FIT, PAGE, TABLE, MODEL = "fit.json", "report.html", "candidates.csv", "model"
#: The folder of the chosen cut without torch, where it is asked for.
SMALL = "small"
#: All that a fit writes into its folder.
_WRITTEN = (FIT, PLAN, PAGE, TABLE, MODEL, SMALL, RUNS, FILE, FOLDER)


def hand_over(answer: Answer, result: RunResult, folder: Path) -> None:
    """Write all of it; ``fit.json``, whose being there makes the fit a finished one, is the last.

    Raises UserError where the disk is full.
    """
    with replacing_folder(folder / MODEL) as filled:
        shutil.copytree(result.folder / MODEL, filled, dirs_exist_ok=True, copy_function=_linked)
    _write_table(answer, folder / TABLE)
    write_page(answer, folder / PAGE)
    text = json.dumps(as_json(answer), indent=1, ensure_ascii=False)
    write_text(folder / FIT, text + "\n")


def hand_over_small(config: FitConfig, result: RunResult) -> tuple[bool, str]:
    """Export the chosen cut in ``--bits``: whether it was, and what is to be told of it.

    Where the export is refused, as it is where too many validation texts would get another label,
    the fit goes on without it.
    """
    assert config.bits is not None
    from slimcls.export import export
    from slimcls.exporting.settings import ExportConfig

    out = config.folder / SMALL
    try:
        made = export(
            ExportConfig(
                run=str(result.folder),
                out=str(out),
                bits=config.bits,
                data_dir=config.data_dir,
                overwrite=out.exists(),
            )
        )
    except UserError as error:
        return False, f"{SMALL}/ was not written: {error}"
    beside = ""
    if made.accuracy:
        right = made.accuracy
        beside = f", right on {right.exported:.1%} of the validation texts ({right.run:.1%} before)"
    return (
        True,
        f"{SMALL}/ is the choice as ONNX in {made.bits} bits: {made.megabytes:.1f} MB{beside}",
    )


def _linked(source: str, target: str) -> None:
    """A second name for a file, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _write_table(answer: Answer, path: Path) -> None:
    """Candidates, the most accurate first; accuracies are those of the validation part."""
    names = [field.name for field in dataclasses.fields(Candidate)]
    ranked = sorted(answer.candidates, key=lambda one: -one.accuracy)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([in_csv(getattr(one, name)) for name in names] for one in ranked)


def finished(config: FitConfig) -> Answer | None:
    """The answer of a fit that is finished; None where it is not.

    Raises UserError where the folder holds one of other settings, or cannot be read.
    """
    path = config.folder / FIT
    if not path.is_file():
        return None
    kept_plan(config)
    try:
        return answer_of(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path}: is no answer that slimcls wrote; --overwrite starts again"
        ) from None


def check_folder(folder: Path) -> None:
    """Whether a fit may go into a folder. Raises UserError where other things lie in it.

    What a fit leaves in a folder of its own can be taken away again without looking.
    """
    if not folder.is_dir() or any((folder / name).exists() for name in (FIT, PLAN)):
        return
    # The cleaned copy is written before the plan.
    names = {path.name for path in folder.iterdir()} - {FILE, FOLDER}
    if others := sorted(name for name in names if not name.startswith(".")):
        raise UserError(
            f"--out {folder}: holds other things ({in_short(others[0])}) and no fit; name a new or "
            "an empty folder"
        )


def clear(folder: Path) -> None:
    """Remove what an earlier fit has left, and nothing else."""
    for name in _WRITTEN:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
