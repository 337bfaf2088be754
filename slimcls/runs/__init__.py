"""What a finished run says: its directory, its result, its choices.

``load(FOLDER)`` gives the finished runs of a folder, ``predictions(RUNS)`` what they predicted.
"""

from __future__ import annotations

from slimcls.runs.folder import (
    clear,
    is_helper_process,
    locked,
    run_name,
    write_config,
    write_result,
    write_rows,
)
from slimcls.runs.results import load, predictions, read_result
from slimcls.runs.schema import PREDICTIONS, RESULT, SCHEMA_VERSION, Outcome, RunResult

__all__ = [
    "PREDICTIONS", "RESULT", "SCHEMA_VERSION", "Outcome", "RunResult", "clear",
    "is_helper_process", "load", "locked", "predictions", "read_result", "run_name",
    "write_config", "write_result", "write_rows",
]  # fmt: skip
