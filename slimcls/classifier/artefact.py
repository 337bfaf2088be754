"""The artefact ``model/``, opened: a plain Hugging Face folder with ``slimcls.json`` in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from slimcls.classifier.description import (
    DESCRIPTION,
    ONNX,
    WORDS,
    early_rule,
    read_description,
    task_of,
)
from slimcls.classifier.task import Task
from slimcls.data.cutting import tokens_of
from slimcls.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

    from slimcls.classifier.classifier import Classifier
    from slimcls.classifier.runtime import OnnxClassifier
    from slimcls.classifier.words import WordsClassifier


def load(
    run: str | Path, *, threads: int | None = None, leave_early: bool = True
) -> Classifier | OnnxClassifier | WordsClassifier:
    """Open a finished run or fit, its ``model/`` folder, or a folder of ``slimcls export``.

    ``ORG/NAME[@REVISION]``, where no folder is called so, is one that was pushed to the hub.
    ``threads`` is how many compute, as many as the library likes if not given; torch has one number
    for all of a process. After ``slimcls cascade`` texts leave at the first exit that is sure;
    without ``leave_early`` all of them see all layers.

    Raises UserError where the folder is none of them, newer than this slimcls, or where its files
    are damaged or not of one run.
    """
    if not isinstance(run, str | Path):
        raise UserError(f"{run!r}: name a run, its folder or ORG/NAME")
    if threads is not None and threads < 1:
        raise UserError(f"threads {threads}: must be at least 1")
    folder, description = read_description(Path(run))
    if ONNX in description:
        from slimcls.classifier.runtime import open_exported

        return open_exported(folder, description, threads)
    if description["mode"] == WORDS:
        from slimcls.classifier.words import open_words

        return open_words(folder, description)
    classifier = _open(folder, task_of(description))
    if leave_early and (rule := early_rule(description)):
        from slimcls.classifier.cascade import open_cascade

        classifier = open_cascade(folder, classifier, rule)
    if threads:
        import torch

        torch.set_num_threads(threads)
    return classifier


def load_run(run: str | Path) -> Classifier:
    """As :func:`load`, of a finished run or its ``model/`` folder alone; no text leaves early."""
    folder, description = read_description(Path(run))
    if ONNX in description:
        raise UserError(f"{folder}: was exported; name the run that it was exported from")
    if description["mode"] == WORDS:
        raise UserError(
            f"{folder}: is a pipeline of scikit-learn's, with no layer of a model in it"
        )
    return _open(folder, task_of(description))


def _open(folder: Path, task: Task) -> Classifier:
    from slimcls.cli.extras import TORCH, check_extra

    check_extra("a run that was not exported", TORCH)
    from slimcls.backbones.saved import open_saved
    from slimcls.classifier.classifier import Classifier

    own_head = task.mode == "lm" and not task.answers_alone
    model = open_saved(folder, "lm" if own_head else "classification")
    _check_fit(folder, model.config, task)
    tokenizer = _open_tokenizer(folder, model.config)
    try:
        encoder = task.saved_encoder(tokenizer)
        return Classifier(model, task.strategy(encoder), encoder, task.labels, task.confidence)
    except UserError as error:
        raise UserError(f"{folder / DESCRIPTION}: {error}") from error


def _check_fit(folder: Path, config: PretrainedConfig, task: Task) -> None:
    """UserError where config.json and slimcls.json are not of one model."""
    from slimcls.backbones.families import context_of

    if (task.mode != "lm" or task.answers_alone) and config.num_labels != len(task.labels):
        fault = f"names {len(task.labels)} labels, config.json {config.num_labels}"
    elif task.context > (most := context_of(config)):
        fault = f"has a context of {task.context} tokens, config.json {most}"
    else:
        return
    raise UserError(f"{folder}: {DESCRIPTION} {fault}; both must be of the same run")


def _open_tokenizer(folder: Path, config: PretrainedConfig) -> PreTrainedTokenizerFast:
    """The artefact's tokenizer; no code of the folder's is run. Raises UserError."""
    from transformers import AutoTokenizer

    from slimcls.backbones.quiet import silence

    try:
        with silence():
            tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # transformers and tokenizers raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"{folder}: its tokenizer cannot be read ({reason})") from error
    if not isinstance(tokenizer.model_max_length, int | float):
        raise UserError(f"{folder}: model_max_length of its tokenizer_config.json is no number")
    known = [*tokenizer.get_vocab().values(), *tokens_of(tokenizer, [""])[0]]
    most = max(known, default=-1)
    if not tokenizer.is_fast or not 0 <= most < config.vocab_size:
        raise UserError(
            f"{folder}: its tokenizer has token ids up to {most}, config.json "
            f"{config.vocab_size} tokens; both must be of the same run"
        )
    return cast("PreTrainedTokenizerFast", tokenizer)
