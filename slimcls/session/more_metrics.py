"""``--metrics`` of a run: tried before it begins, asked when it ends, or long after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from slimcls import runs
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.metrics.named import named_metrics
from slimcls.metrics.opened import open_metrics, try_metrics
from slimcls.runs.schema import PREDICTIONS, RunResult

#: Under what a metric that failed has its reason.
ERROR = "error"


def check(config: RunConfig, classes: int) -> None:
    """Open the metrics and try them on made-up answers. Raises UserError, before any training."""
    try_metrics(config.metrics, trusted=config.trust_metric_code, classes=classes)


def of(config: RunConfig, predictions: Sequence[int], references: Sequence[int]) -> str:
    """What the metrics say of a test part, as the result has it; empty where there is none.

    Here a metric that fails costs its own figure alone: the training is done.
    """
    if not references or not config.metrics:
        return ""
    found: dict[str, dict[str, Any]] = {}
    for metric in open_metrics(config.metrics, trusted=config.trust_metric_code):
        try:
            found[metric.named.key] = metric.of(predictions, references)
        except UserError as error:
            found[metric.named.key] = {ERROR: str(error)}
    return json.dumps(found, ensure_ascii=False)


def with_metrics(result: RunResult, config: RunConfig) -> RunResult:
    """A finished run with all that ``config.metrics`` names: what lacks comes from its predictions.

    Its row is written anew then.

    Raises UserError where a metric fails or its predictions cannot be read, and Busy where another
    process holds its directory.
    """
    held = json.loads(result.test_metrics or "{}")
    asked = named_metrics(config.metrics, trusted=config.trust_metric_code)
    if all(one.key in held and ERROR not in held[one.key] for one in asked):
        return result
    if not result.test_items:
        raise UserError(f"--metrics: {result.folder} has no test part to measure")
    names = [figures["label"] for figures in json.loads(result.per_class)]
    check(config, len(names))
    found = json.loads(of(config, *_answers(result, names)))
    for figures in found.values():
        if ERROR in figures:
            raise UserError(figures[ERROR])
    settings = replace(
        result.config, metrics=config.metrics, trust_metric_code=config.trust_metric_code
    )
    outcome = replace(result.outcome, test_metrics=json.dumps(held | found, ensure_ascii=False))
    fuller = RunResult(settings, outcome, result.folder)
    with runs.locked(result.folder):
        runs.write_result(fuller)
    return fuller


def _answers(result: RunResult, names: list[str]) -> tuple[list[int], list[int]]:
    """Class numbers of a finished run's test part: predicted, and true."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = result.folder / PREDICTIONS
    place = {name: number for number, name in enumerate(names)}
    try:
        table = pq.read_table(path, columns=["prediction", "label"]).to_pydict()
        predicted, true = ([place[name] for name in table[c]] for c in ("prediction", "label"))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({error}); --metrics are measured of it") from None
    return predicted, true
