"""The artefact ``model/``: a plain Hugging Face folder and ``slimcls.json`` beside the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcls import __version__
from slimcls.errors import UserError

if TYPE_CHECKING:
    from slimcls.classifier import Classifier
    from slimcls.data.spec import DatasetSpec
    from slimcls.data.splits import Example
    from slimcls.runs import RunResult

#: Raised when ``slimcls.json`` changes so that older readers would misread it.
FORMAT = 1
DESCRIPTION = "slimcls.json"


def save(
    classifier: Classifier,
    result: RunResult,
    demonstrations: Sequence[Example],
    spec: DatasetSpec,
) -> None:
    """Write ``model/`` of a run whole or not at all. Raises UserError where the disk is full."""
    from safetensors import SafetensorError

    from slimcls.backbones.truncate import no_bars
    from slimcls.card import card
    from slimcls.data.prompts import TextEncoder

    folder = result.folder / "model"
    temporary = result.folder / ".model.tmp"
    description = describe(classifier, result, demonstrations, spec)
    if isinstance(classifier.encoder, TextEncoder):
        # So that plain ``tokenizer(text, truncation=True)`` cuts where training did.
        classifier.tokenizer.model_max_length = classifier.encoder.max_length
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        with no_bars():
            classifier.model.save_pretrained(temporary)
        classifier.tokenizer.save_pretrained(temporary)
        (temporary / DESCRIPTION).write_text(json.dumps(description, indent=1, ensure_ascii=False))
        (temporary / "README.md").write_text(card(result, description))
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder}: cannot be written ({error}); see --out") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def describe(
    classifier: Classifier,
    result: RunResult,
    demonstrations: Sequence[Example],
    spec: DatasetSpec,
) -> dict[str, Any]:
    """What another program needs to classify as slimcls does."""
    from slimcls.data.prompts import PromptBuilder

    config, outcome, encoder = result.config, result.outcome, classifier.encoder
    description: dict[str, Any] = {
        "format": FORMAT,
        "slimcls_version": __version__,
        "mode": config.mode,
        "labels": classifier.labels,
        "max_text_tokens": encoder.max_text_tokens,
        "context": classifier.tokenizer.model_max_length,
        "model": config.model,
        "source": outcome.source_fingerprint,
        "source_note": outcome.source_note,
        "depth": outcome.depth,
        "kept_layers": config.layers,
        "dataset": config.dataset,
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


def load(run: str | Path) -> Classifier:
    """Open a finished run, or its ``model/`` folder, for use.

    Raises UserError where the folder is not a slimcls artefact or newer than this slimcls.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    from slimcls.backbones.truncate import no_bars
    from slimcls.classifier import Classifier, make_encoder, mode_for

    folder, description = read_description(Path(run))
    prompted = description["mode"] != "cls"
    factory: Any = AutoModelForSequenceClassification
    if description["mode"] == "lm":
        factory = AutoModelForCausalLM
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        with no_bars():
            model = factory.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder}: cannot be read ({_first_line(error)})") from None
    encoder = make_encoder(
        tokenizer,
        prompted=prompted,
        template=description.get("template", ""),
        label_words=description.get("label_words", []),
        demonstrations=[
            (d["text"], description["labels"].index(d["label"]))
            for d in description.get("demonstrations", [])
        ],
        context=description["context"],
        max_text_tokens=description["max_text_tokens"],
    )
    mode = mode_for(description["mode"], description.get("lm_loss"), encoder)
    return Classifier(model, tokenizer, mode, encoder, description["labels"])


def read_description(run: Path) -> tuple[Path, dict[str, Any]]:
    """The artefact's folder and its ``slimcls.json``; cheap, so that faults show at once."""
    if not run.is_dir():
        raise UserError(f"{run}: no such run directory")
    folder = run / "model" if (run / "model" / DESCRIPTION).is_file() else run
    path = folder / DESCRIPTION
    if not path.is_file():
        raise UserError(f"{run}: {_why_no_artefact(run)}")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        version = int(description["format"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a description that slimcls wrote") from None
    if version > FORMAT:
        raise UserError(
            f"{path}: format {version} is newer than this slimcls reads ({FORMAT}); upgrade slimcls"
        )
    return folder, description


def megabytes(folder: Path) -> float:
    """Size of all files of a folder, in 10^6 bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _why_no_artefact(run: Path) -> str:
    if (run / "result.parquet").is_file():
        return "the run was made with --save-model none; run it again with --save-model best"
    if (run / "config.yaml").is_file():
        return "the run is not finished; the same train command goes on"
    return f"not a run directory or artefact of slimcls (it has no {DESCRIPTION})"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
