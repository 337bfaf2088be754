"""A run or a rival is completed here: what it measured becomes its predictions and its result."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import resource
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import Tensor

from slimcls.backbones.sources import Source
from slimcls.classifier.accuracy import Metrics, metrics
from slimcls.classifier.confidence import (
    Confidence,
    calibration_error,
    log_likelihood_loss,
    measured,
    probabilities,
)
from slimcls.config import RunConfig
from slimcls.data.encoding import DEFAULT_TOKENS
from slimcls.data.splits import Example, Splits
from slimcls.data.tables import Tables
from slimcls.runs.findings import Course, judge_course
from slimcls.runs.folder import write_result, write_rows
from slimcls.runs.schema import (
    PREDICTED,
    PREDICTIONS,
    SCHEMA_VERSION,
    VALIDATED,
    VALIDATION,
    Outcome,
    RunResult,
)
from slimcls.session import more_metrics
from slimcls.session.teaching import Lesson
from slimcls.statistics import wilson
from slimcls.training.loop import Fitted
from slimcls.version import __version__, checkout_commit

if TYPE_CHECKING:
    from slimcls.rivals.beside import Beside

#: Some columns of a result, by name.
Columns = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What was taken of a model and of the texts, by columns of the result; nothing by default."""

    depth: int = 0
    params_full: int = 0
    params_kept: int = 0
    params_saved: float = math.nan
    params_trained: int = 0
    embedding_share: float = math.nan
    text_tokens: int = 0
    usual_tokens: int = DEFAULT_TOKENS
    texts_cut: int = 0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All that the result of a run or a rival is made from."""

    config: RunConfig
    """Settings without open ends."""
    method: str
    data: Tables
    source: Source | None
    """The model, if one took part."""
    splits: Splits
    footprint: Footprint
    fitted: Fitted
    logits: Tensor
    """(test items, classes), in the order of the test part."""
    validation: Tensor | None = None
    """Logits (validation items, classes)."""
    calibrated: bool = True
    """Whether probabilities get a temperature: those of baselines that train no layer do not."""
    tokens: Sequence[Sized]
    """Each test item as it went in."""
    device: str
    """As torch calls it."""
    latency_ms: float
    seconds: float
    """Wall time so far."""
    scores_fingerprint: str = ""
    lesson: Lesson = Lesson()  # noqa: RUF009 - it is frozen
    """What a teacher has taught."""
    guessing: float = 0.0
    """What the training loss is where all classes are equally probable; 0 where that says nothing,
    and where nothing was trained."""
    beside: Mapping[str, Beside] = field(default_factory=dict)
    """What rivals do on the same items, by their names."""
    chosen: str = ""
    """What a baseline chose on validation, in words."""
    tried: Sequence[Mapping[str, object]] = ()
    """What it chose among, with the validation accuracy of each."""
    read_layers: int | None = None
    """How many layers a probe reads the output of."""

    @cached_property
    def confidence(self) -> Confidence | None:
        """What its probabilities are worth, where a model answered the validation items."""
        if self.validation is None or not self.calibrated:
            return None
        return measured(self.validation.numpy(), labels_of(self.splits.validation))


def complete(found: Measured, folder: Path, keep: Callable[[RunResult], float]) -> RunResult:
    """Write predictions and result, whose being there makes the run a finished one.

    ``keep`` puts the model of the result where it shall stay and gives what it takes, in 10^6
    bytes. Raises UserError where the disk is full.
    """
    outcome = _outcome(found, folder.name)
    result = RunResult(found.config, outcome, folder)
    outcome.model_mb = keep(result)
    _write_predictions(found, folder)
    if found.validation is not None:
        _write_validation(found, found.validation, folder)
    write_result(result)
    return result


def labels_of(items: Sequence[Example]) -> list[int]:
    """The classes of items, by number."""
    return [item.label for item in items]


def _outcome(found: Measured, run: str) -> Outcome:
    test = metrics(found.logits, labels_of(found.splits.test), found.data.spec.labels)
    return Outcome(
        method=found.method,
        **_about(run, found.device),
        **_origin(found.data, found.source),
        scores_fingerprint=found.scores_fingerprint,
        **found.lesson.columns,
        **asdict(found.footprint),
        **_items(found.splits, found.config.uses_prompt),
        **_accuracy(found.splits, found.fitted, test),
        test_metrics=_more(found),
        **_calibrated(found),
        **_judged(found, test),
        **_choice(found),
        **_cost(found.fitted, found.seconds, found.device),
        model_mb=0.0,
        latency_ms=found.latency_ms,
    )


def _about(run: str, device: str) -> Columns:
    """Columns: which run, what versions, which machine."""
    return {
        "run": run,
        "schema_version": SCHEMA_VERSION,
        "slimcls_version": __version__,
        "torch_version": str(torch.__version__),
        "transformers_version": transformers.__version__,
        "lightning_version": metadata.version("lightning"),
        "peft_version": metadata.version("peft"),
        "python_version": platform.python_version(),
        "commit": checkout_commit(),
        "device": _device(device),
        "threads": torch.get_num_threads(),
    }


def _origin(data: Tables, source: Source | None) -> Columns:
    """Columns: where data and weights, if any, are from."""
    return {
        "source_fingerprint": source.fingerprint if source else "",
        "source_note": source.note if source else "",
        "data_fingerprint": data.fingerprint,
        "data_version": data.spec.version,
        "data_source": data.spec.source,
        "data_note": data.spec.note,
    }


def _items(splits: Splits, prompted: bool) -> Columns:
    """Columns: how much data a run has seen."""
    demonstrations = len(splits.demonstrations) if prompted else 0
    return {
        "labels_used": len(splits.train) + len(splits.validation) + demonstrations,
        "train_items": len(splits.train),
        "validation_items": len(splits.validation),
        "test_items": len(splits.test),
        "repeats_removed": splits.repeats_removed,
        "draw_version": splits.version,
    }


def _accuracy(splits: Splits, fitted: Fitted, test: Metrics) -> Columns:
    """Columns: validation and test figures with their intervals over items."""
    validation = _interval(fitted.validation_accuracy, len(splits.validation))
    low, high = _interval(test.accuracy, len(splits.test))
    return {
        "validation_accuracy": fitted.validation_accuracy,
        "validation_low": validation[0],
        "validation_high": validation[1],
        "validation_macro_f1": fitted.validation_macro_f1,
        "test_accuracy": test.accuracy,
        "test_low": low,
        "test_high": high,
        "test_macro_f1": test.macro_f1,
        "per_class": json.dumps(test.per_class),
    }


def _more(found: Measured) -> str:
    """Column: what ``--metrics`` say of the test part."""
    predictions = [int(row.argmax()) for row in found.logits]
    return more_metrics.of(found.config, predictions, labels_of(found.splits.test))


def _calibrated(found: Measured) -> Columns:
    """Columns: the temperature, and what it does to the test part's probabilities."""
    if not found.confidence:
        return {}
    temperature, logits = found.confidence.temperature, found.logits.double().numpy()
    if not len(logits):
        return {"fitted_temperature": temperature}
    labels = labels_of(found.splits.test)
    tempered = probabilities(logits, temperature)
    error, floor = calibration_error(tempered, labels)
    return {
        "fitted_temperature": temperature,
        "test_nll": log_likelihood_loss(probabilities(logits), labels),
        "test_nll_tempered": log_likelihood_loss(tempered, labels),
        "test_ece": error,
        "test_ece_floor": floor,
    }


def _judged(found: Measured, test: Metrics) -> Columns:
    """Columns: what speaks against the result, and what rivals do."""
    items = Counter(labels_of(found.splits.test))
    course = Course(
        classes=[(name, items[place]) for place, name in enumerate(found.data.spec.labels)],
        accuracy=test.accuracy,
        low=_interval(test.accuracy, items.total())[0],
        macro_f1=test.macro_f1,
        losses=found.fitted.losses,
        guessing=found.guessing,
        converged=found.fitted.converged,
        lr=found.config.lr or 0.0,
    )
    columns: Columns = {"warnings": judge_course(course) if course.losses else ""}
    for name, one in found.beside.items():
        columns[f"{name}_accuracy"] = one.accuracy
        columns[f"over_{name}"] = one.ahead
        columns[f"over_{name}_low"] = one.low
        columns[f"over_{name}_high"] = one.high
    return columns


def _choice(found: Measured) -> Columns:
    """Columns: what a baseline chose, and among what; how deep the probe beside a run reads."""
    probe = found.beside.get("probe")
    return {
        "chosen": found.chosen,
        "tried": json.dumps(found.tried) if found.tried else "",
        "read_layers": found.read_layers if probe is None else probe.layers,
    }


def _cost(fitted: Fitted, seconds: float, device: str) -> Columns:
    """Columns: epochs, seconds, throughput of training and memory."""
    train_seconds = fitted.train_seconds or float("inf")
    return {
        "best_epoch": fitted.best_epoch,
        "epochs_run": fitted.epochs_run,
        "converged": fitted.converged if fitted.epochs_run else None,
        "train_seconds": fitted.train_seconds,
        "total_seconds": seconds,
        "examples_per_second": fitted.examples / train_seconds,
        "tokens_per_second": fitted.tokens / train_seconds,
        "peak_memory_mb": _peak_memory(device),
    }


def _write_predictions(found: Measured, folder: Path) -> None:
    """Write ``predictions.parquet``: a row a test item, in the order of the test part.

    ``id`` is the item's row in its source split.
    """
    names = found.data.spec.labels
    temperature = found.confidence.temperature if found.confidence else 1.0
    rows = [
        {
            "id": example.id,
            "label": names[example.label],
            "prediction": names[int(row.argmax())],
            "probabilities": (row.double() / temperature).softmax(0).tolist(),
            "tokens": len(item),
        }
        for example, row, item in zip(found.splits.test, found.logits, found.tokens, strict=True)
    ]
    write_rows(folder / PREDICTIONS, PREDICTED, rows)


def _write_validation(found: Measured, logits: Tensor, folder: Path) -> None:
    """Write ``validation.parquet``: a row a validation item, in the order of that part."""
    labels = found.data.spec.labels
    rows = [
        {"id": example.id, "label": labels[example.label], "logits": row.tolist()}
        for example, row in zip(found.splits.validation, logits, strict=True)
    ]
    write_rows(folder / VALIDATION, VALIDATED, rows)


def _interval(share: float, items: int) -> tuple[float, float]:
    if not items:
        return math.nan, math.nan
    return wilson(round(share * items), items)


def _peak_memory(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    # On Linux, what getrusage has of a process begins with what its parent had.
    with contextlib.suppress(OSError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _device(device: str) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return f"{device} ({name})"
