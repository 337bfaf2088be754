"""What a run hands over: ``model/``, a plain Hugging Face folder, ``slimcls.json`` and a card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimcls.backbones import saved
from slimcls.classifier.artefact import DESCRIPTION, FORMAT
from slimcls.classifier.classifier import Classifier
from slimcls.data.prompts import PromptBuilder, TextEncoder
from slimcls.data.spec import DatasetSpec
from slimcls.data.splits import Example
from slimcls.runs.schema import RunResult
from slimcls.session.card import card
from slimcls.storage.files import replacing_folder
from slimcls.version import __version__


def save(
    classifier: Classifier,
    result: RunResult,
    demonstrations: Sequence[Example],
    spec: DatasetSpec,
) -> None:
    """Write ``model/`` of a run whole or not at all. Raises UserError where the disk is full."""
    description = describe(classifier, result, demonstrations, spec)
    if isinstance(classifier.encoder, TextEncoder):
        # So that plain ``tokenizer(text, truncation=True)`` cuts where training did.
        classifier.tokenizer.model_max_length = classifier.encoder.max_length
    with replacing_folder(result.folder / "model") as folder:
        saved.save(classifier.model, classifier.tokenizer, folder)
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1, ensure_ascii=False))
        (folder / "README.md").write_text(card(result, description))


def describe(
    classifier: Classifier,
    result: RunResult,
    demonstrations: Sequence[Example],
    spec: DatasetSpec,
) -> dict[str, Any]:
    """What another program needs to classify as slimcls does."""
    config, outcome, encoder = result.config, result.outcome, classifier.encoder
    description: dict[str, Any] = {
        "format": FORMAT,
        "slimcls_version": __version__,
        "mode": config.mode,
        "labels": classifier.labels,
        "max_text_tokens": encoder.max_text_tokens,
        "context": classifier.tokenizer.model_max_length,
        "model": _name(config.model),
        "source": outcome.source_fingerprint,
        "source_note": outcome.source_note,
        "depth": outcome.depth,
        "kept_layers": config.layers,
        "dataset": spec.name,
        "data": outcome.data_fingerprint,
    }
    if isinstance(encoder, PromptBuilder):
        before, after = encoder.frame
        description |= {
            "lm_loss": config.lm_loss,
            "template": spec.template,
            "label_words": list(spec.label_words),
            "label_word_ids": encoder.label_ids,
            "demonstrations": [
                {"text": e.text, "label": classifier.labels[e.label]} for e in demonstrations
            ],
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
