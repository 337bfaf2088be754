"""The controls of taught cuts: ``scripts/teaching_controls.py FOLDER > controls.yaml``.

Of each finished run in FOLDER that learnt from a teacher the grid has one that takes as many steps
on the same labelled texts, by their labels: ``slimcls grid controls.yaml --out FOLDER`` makes them.
What else a run was given stays as it is.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import pyarrow.csv
import yaml

from slimcls import cli
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.roles import Role, settings_with
from slimcls.runs.results import read_result
from slimcls.runs.schema import RunResult

#: What teaches, and what a grid or the place of a run decides.
LEFT = {
    "temperature",
    *settings_with(Role.OUTSIDE),
    *settings_with(Role.ALONE),
    *settings_with(Role.FOLDER),
}
#: Epochs enough for any number of steps, and no end before it.
LONG = {"epochs": 1000, "patience": 0, "save_model": "none"}


def control(taught: RunResult) -> dict[str, Any]:
    """The settings of a run's control, as a cell of a grid has them."""
    usual = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    given = dataclasses.asdict(taught.config)
    if taught.config.select == "first":
        # The kept layers, which the run has found by ``keep``.
        given["layers"] = usual["layers"]
    steps = pyarrow.csv.read_csv(taught.folder / "curves.csv")["step"][-1].as_py()
    own = {
        name: value
        for name, value in given.items()
        if name not in LEFT and (name == "keep" or value != usual[name])
    }
    return own | LONG | {"steps": steps}


def controls(folder: Path) -> list[dict[str, Any]]:
    """Those of all finished runs in a folder that have a teacher, by name."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = [read_result(path) for path in sorted(folder.iterdir()) if path.is_dir()]
    taught = [run for run in found if run is not None and run.config.teacher is not None]
    if not taught:
        raise UserError(f"{folder}: no finished run in it has learnt from a teacher")
    return [control(run) for run in taught]


def main(argv: list[str] | None = None) -> int:
    """Print the grid."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    cells = controls(parser.parse_args(argv).folder)
    print(yaml.safe_dump({"cells": cells}, sort_keys=False, default_flow_style=None), end="")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
