"""What a run hands over: ``model/``, a plain Hugging Face folder, ``slimcls.json`` and a card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from slimcls.backbones import saved
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.description import DESCRIPTION, as_json
from slimcls.classifier.task import Task
from slimcls.data.prompts import PromptBuilder, TextEncoder
from slimcls.runs.schema import RunResult
from slimcls.session.card import model_card
from slimcls.storage.files import replacing_folder
from slimcls.version import __version__


def save_artefact(classifier: Classifier, task: Task, result: RunResult, dataset: str) -> None:
    """Write ``model/`` of a run whole or not at all. Raises UserError where the disk is full."""
    description = describe_classifier(classifier, task, result, dataset)
    if isinstance(classifier.encoder, TextEncoder):
        # So that plain ``tokenizer(text, truncation=True)`` cuts where training did.
        classifier.tokenizer.model_max_length = classifier.encoder.max_length
    with replacing_folder(result.folder / "model") as folder:
        saved.save(classifier.model, classifier.tokenizer, folder)
        text = json.dumps(description, indent=1, ensure_ascii=False)
        (folder / DESCRIPTION).write_text(text, encoding="utf-8")
        (folder / "README.md").write_text(model_card(result, description), encoding="utf-8")


def describe_classifier(
    classifier: Classifier, task: Task, result: RunResult, dataset: str
) -> dict[str, object]:
    """The task, where the model is from, and what another program needs to classify as we do."""
    config, outcome, encoder = result.config, result.outcome, classifier.encoder
    task = replace(task, max_text_tokens=encoder.max_text_tokens, confidence=classifier.confidence)
    description = as_json(task) | {
        "slimcls_version": __version__,
        "model": _name(config.model),
        "source": outcome.source_fingerprint,
        "source_note": outcome.source_note,
        "depth": outcome.depth,
        "kept_layers": config.layers,
        "dataset": dataset,
        "data": outcome.data_fingerprint,
    }
    if isinstance(encoder, PromptBuilder):
        before, after = encoder.frame
        description |= {
            "label_word_ids": encoder.label_ids,
            "prompt_before": before,
            "prompt_after": after,
        }
    return description


def _name(model: str) -> str:
    """A model's name; of a local folder the last part, since its path says nothing elsewhere."""
    return Path(model).name if Path(model).is_dir() else model


def megabytes(folder: Path) -> float:
    """Size of all files of a folder, in 10^6 bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
