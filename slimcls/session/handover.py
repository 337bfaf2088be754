"""What a run hands over: ``model/``, a plain Hugging Face folder, ``slimcls.json`` and a card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from slimcls.backbones import saved
from slimcls.backbones.lm_head import is_plain
from slimcls.backbones.packaged import write_card
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.description import DESCRIPTION, as_json
from slimcls.classifier.task import Encoder, Task
from slimcls.config import RunConfig
from slimcls.data.encoding import FramedEncoder, TextEncoder
from slimcls.data.framing import framed
from slimcls.data.prompts import PromptBuilder
from slimcls.runs.schema import RunResult
from slimcls.session.card import model_card
from slimcls.storage.files import replacing_folder
from slimcls.version import __version__

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def save_artefact(classifier: Classifier, task: Task, result: RunResult, dataset: str) -> None:
    """Write ``model/`` of a run whole or not at all. Raises UserError where the disk is full."""
    description = describe_classifier(classifier, task, result, dataset)
    alone = _answers_alone(classifier)
    model, tokenizer = classifier.model, classifier.encoder.tokenizer
    if alone:
        tokenizer = _tokenizer_alone(alone)
        if task.mode == "lm":
            model = saved.as_classifier(model, _label_tokens(classifier.encoder), task.labels)
    with replacing_folder(result.folder / "model") as folder:
        saved.save(
            model,
            tokenizer,
            folder,
            needs_prompt=not alone,
            dtype=saved_dtype(result.config),
        )
        text = json.dumps(description, indent=1, ensure_ascii=False)
        (folder / DESCRIPTION).write_text(text, encoding="utf-8")
        write_card(folder, model_card(result, description), str(description["model"]))


def saved_dtype(config: RunConfig) -> torch.dtype | None:
    """What weights are written as where it is not float32."""
    return getattr(torch, config.save_dtype) if config.save_dtype else None


def _answers_alone(classifier: Classifier) -> TextEncoder | None:
    """What encodes as a tokenizer alone does; None where a prompt has to be built.

    None as well where what answers is no head that an ordinary classifier can have.
    """
    encoder, mode = classifier.encoder, classifier.mode
    if mode.head == "lm" and not is_plain(classifier.model.config):
        return None
    return encoder.framed if isinstance(encoder, PromptBuilder) else encoder


def _tokenizer_alone(encoder: TextEncoder) -> PreTrainedTokenizerFast:
    """A tokenizer whose ``tokenizer(text, truncation=True)`` gives the encoder's ids."""
    # One with no prompt in it does not strip a text yet.
    bare = not isinstance(encoder, FramedEncoder)
    tokenizer = (framed(encoder.tokenizer, "", "") if bare else None) or encoder.tokenizer
    tokenizer.model_max_length = encoder.max_length
    return tokenizer


def _label_tokens(encoder: Encoder) -> list[int]:
    """The token of each class in mode lm."""
    assert isinstance(encoder, PromptBuilder)
    return encoder.first_token_ids()


def describe_classifier(
    classifier: Classifier, task: Task, result: RunResult, dataset: str
) -> dict[str, object]:
    """The task, where the model is from, and what another program needs to classify as we do."""
    config, outcome, encoder = result.config, result.outcome, classifier.encoder
    said = replace(
        task,
        max_text_tokens=encoder.max_text_tokens,
        confidence=classifier.confidence,
        answers_alone=_answers_alone(classifier) is not None,
    )
    description = as_json(said) | {
        "slimcls_version": __version__,
        "model": model_name(config.model),
        "source": outcome.source_fingerprint,
        "source_note": outcome.source_note,
        "depth": outcome.depth,
        "kept_layers": config.layers,
        "dataset": dataset,
        "data": outcome.data_fingerprint,
    }
    if outcome.data_source:
        description["data_source"] = outcome.data_source
    if isinstance(encoder, PromptBuilder):
        before, *between, after = encoder.frame
        description |= {
            "label_word_ids": encoder.label_ids,
            "prompt_before": before,
            "prompt_after": after,
        }
        if between:
            description["prompt_between"] = between[0]
    return description


def model_name(model: str) -> str:
    """A model's name; of a local folder the last part, since its path says nothing elsewhere."""
    return Path(model).name if Path(model).is_dir() else model


def megabytes(folder: Path) -> float:
    """Size of all files of a folder, in 10^6 bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
