"""Figures of a run: accuracy, time, memory, and the row they end in."""

from __future__ import annotations

import json
import platform
import resource
from collections.abc import Sequence, Sized
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from slimcls.backbones.sources import Source
from slimcls.classifier.accuracy import Metrics
from slimcls.config import RunConfig
from slimcls.data.splits import Example, Splits
from slimcls.data.tables import Tables
from slimcls.runs.folder import write_rows
from slimcls.runs.schema import PREDICTED, PREDICTIONS, SCHEMA_VERSION, Outcome
from slimcls.session.inputs import Inputs
from slimcls.session.plan import Plan
from slimcls.statistics import wilson
from slimcls.training.loop import Fitted
from slimcls.version import __version__, checkout_commit


def outcome(
    config: RunConfig,
    plan: Plan,
    inputs: Inputs,
    fitted: Fitted,
    test: Metrics,
    *,
    source: Source,
    data: Tables,
    run: str,
    latency_ms: float,
    seconds: float,
) -> Outcome:
    """The outcome columns of a run's result row."""
    return Outcome(
        method=method_of(config),
        **about(run, plan.device),
        **origin(data, source),
        depth=plan.depth,
        params_full=plan.sizes.params_full,
        params_kept=plan.sizes.params_kept,
        params_saved=plan.sizes.params_saved,
        params_trained=plan.params_trained,
        embedding_share=plan.sizes.embedding_share,
        texts_cut=inputs.texts_cut,
        text_tokens=inputs.encoder.max_text_tokens,
        **items(inputs.splits, prompted=config.uses_prompt),
        **accuracy(inputs.splits, fitted, test),
        **cost(fitted, seconds, plan.device),
        model_mb=0.0,
        latency_ms=latency_ms,
    )


def method_of(config: RunConfig) -> str:
    """What a run of these settings is, as the column ``method`` has it."""
    if config.random_blocks:
        return "random-blocks"
    return "fine-tuned" if config.epochs else "untrained"


def about(run: str, device: str) -> dict[str, Any]:
    """Columns: which run, what versions, which machine."""
    return {
        "run": run,
        "schema_version": SCHEMA_VERSION,
        "slimcls_version": __version__,
        "torch_version": torch.__version__,
        "transformers_version": transformers.__version__,
        "lightning_version": metadata.version("lightning"),
        "peft_version": metadata.version("peft"),
        "python_version": platform.python_version(),
        "commit": checkout_commit(),
        "device": _device(device),
        "threads": torch.get_num_threads(),
    }


def origin(data: Tables, source: Source | None) -> dict[str, Any]:
    """Columns: where data and weights, if any, are from."""
    return {
        "source_fingerprint": source.fingerprint if source else "",
        "source_note": source.note if source else "",
        "data_fingerprint": data.fingerprint,
        "data_version": data.spec.version,
        "data_note": data.spec.note,
    }


def items(splits: Splits, *, prompted: bool) -> dict[str, Any]:
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


def accuracy(splits: Splits, fitted: Fitted, test: Metrics) -> dict[str, Any]:
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


def cost(fitted: Fitted, seconds: float, device: str) -> dict[str, Any]:
    """Columns: epochs, seconds, throughput of training and memory."""
    train_seconds = fitted.train_seconds or float("inf")
    return {
        "best_epoch": fitted.best_epoch,
        "epochs_run": fitted.epochs_run,
        "train_seconds": fitted.train_seconds,
        "total_seconds": seconds,
        "examples_per_second": fitted.examples / train_seconds,
        "tokens_per_second": fitted.tokens / train_seconds,
        "peak_memory_mb": _peak_memory(device),
    }


def write_predictions(
    folder: Path,
    test: Sequence[Example],
    logits: Tensor,
    names: Sequence[str],
    tokens: Sequence[Sized],
) -> None:
    """Write ``predictions.parquet``: a row a test item, in the order of the test part.

    ``id`` is the item's row in its source split; of its ``tokens``, as they went in, the number is
    written.
    """
    rows = [
        {
            "id": example.id,
            "label": names[example.label],
            "prediction": names[int(row.argmax())],
            "probabilities": row.softmax(0).tolist(),
            "tokens": len(item),
        }
        for example, row, item in zip(test, logits, tokens, strict=True)
    ]
    write_rows(folder / PREDICTIONS, PREDICTED, rows)


def _interval(share: float, items: int) -> tuple[float, float]:
    return wilson(round(share * items), items)


def _peak_memory(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _device(device: str) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return f"{device} ({name})"
