"""The artefact ``model/``, opened: a plain Hugging Face folder with ``slimcls.json`` in it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from slimcls.classifier.description import DESCRIPTION, read_task
from slimcls.classifier.task import Task
from slimcls.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from slimcls.classifier.classifier import Classifier


def load(run: str | Path) -> Classifier:
    """Open a finished run, or its ``model/`` folder, for use.

    Raises UserError where the folder is not a slimcls artefact or newer than this slimcls.
    """
    folder, task = read_task(Path(run))
    from slimcls.backbones.truncate import config_in
    from slimcls.classifier.classifier import Classifier

    # Before transformers looks at the folder: it would offer to run the code that one names.
    config = config_in(folder, str(folder))
    if task.context > config.max_position_embeddings:
        raise UserError(
            f"{folder}: {DESCRIPTION} has a context of {task.context} tokens, config.json "
            f"{config.max_position_embeddings}; both must be of the same run"
        )
    _check_depth(folder, config)

    model, tokenizer = _open(folder, task)
    try:
        encoder = task.encoder(tokenizer)
        return Classifier(model, task.strategy(encoder), encoder, task.labels)
    except UserError as error:
        raise UserError(f"{folder / DESCRIPTION}: {error}") from error


def _open(folder: Path, task: Task) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Model and tokenizer of an artefact, of one run with its task. Raises UserError."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    from slimcls.backbones.quiet import silence
    from slimcls.backbones.tokenizers import check_tokenizer

    factory: Any = AutoModelForSequenceClassification
    if task.mode == "lm":
        factory = AutoModelForCausalLM
    try:
        with silence():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            # Weights only from safetensors: a pickle laid beside them must not be opened.
            model, report = factory.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # transformers raises many kinds, all about these files
        raise UserError(f"{folder}: cannot be read ({_first_line(error)})") from error
    _check_fit(folder, model, task, report)
    check_tokenizer(tokenizer, model.config, str(folder))
    return model, cast("PreTrainedTokenizerFast", tokenizer)


def _check_depth(folder: Path, config: PretrainedConfig) -> None:
    """UserError where config.json has other layers than the weights, before any is built."""
    from slimcls.backbones.families import family_of
    from slimcls.backbones.truncate import depth_of
    from slimcls.backbones.weights import Weights

    with Weights(sorted(folder.glob("*.safetensors"))) as weights:
        pattern = re.compile(rf"(?:.*\.)?{re.escape(family_of(config).blocks)}\.(\d+)\.")
        held = {match[1] for name in weights.shapes if (match := pattern.match(name))}
    if held and len(held) != depth_of(config):
        raise UserError(
            f"{folder}: weights do not fit config.json ({len(held)} layers, not "
            f"{depth_of(config)}); both must be of the same run"
        )


def _check_fit(
    folder: Path, model: PreTrainedModel, task: Task, report: Mapping[str, Collection[object]]
) -> None:
    """UserError where weights, config.json and slimcls.json are not of one model."""
    faults = [str(name) for names in report.values() for name in names]
    if faults:
        what = report["mismatched_keys"] or faults
        name = next(iter(what))
        name = name[0] if isinstance(name, tuple) else name
        raise UserError(
            f"{folder}: weights do not fit config.json ({name}, {len(faults)} in all); "
            "both must be of the same run"
        )
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        raise UserError(f"{folder}: weights that are NaN or infinite; train again")
    classes, labels = model.config.num_labels, len(task.labels)
    if task.mode != "lm" and classes != labels:
        raise UserError(
            f"{folder}: {DESCRIPTION} names {labels} labels, config.json {classes}; "
            "both must be of the same run"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
