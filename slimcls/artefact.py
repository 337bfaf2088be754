"""The artefact ``model/``: a plain Hugging Face folder and ``slimcls.json`` beside the weights."""

from __future__ import annotations

import json
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

_TEXT: dict[str, Any] = {"labels": (list, str), "max_text_tokens": int, "context": int}
_PROMPT = _TEXT | {"template": str, "label_words": (list, str), "demonstrations": (list, dict)}
#: Losses of mode lm, as RunConfig has them.
LM_LOSSES = ("label-words", "label-token", "sequence")
#: What a description must hold to classify, by mode.
KEYS: dict[str, dict[str, Any]] = {
    "cls": _TEXT,
    "p-cls": _PROMPT,
    "lm": _PROMPT | {"lm_loss": str},
}


def save(
    classifier: Classifier,
    result: RunResult,
    demonstrations: Sequence[Example],
    spec: DatasetSpec,
) -> None:
    """Write ``model/`` of a run whole or not at all. Raises UserError where the disk is full."""
    from slimcls import model_folder
    from slimcls.card import card
    from slimcls.data.prompts import TextEncoder

    description = describe(classifier, result, demonstrations, spec)
    if isinstance(classifier.encoder, TextEncoder):
        # So that plain ``tokenizer(text, truncation=True)`` cuts where training did.
        classifier.tokenizer.model_max_length = classifier.encoder.max_length
    with model_folder.replacing(result.folder / "model") as folder:
        model_folder.save(classifier.model, classifier.tokenizer, folder)
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1, ensure_ascii=False))
        (folder / "README.md").write_text(card(result, description))


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


def load(run: str | Path) -> Classifier:
    """Open a finished run, or its ``model/`` folder, for use.

    Raises UserError where the folder is not a slimcls artefact or newer than this slimcls.
    """
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    from slimcls.backbones.quiet import silence
    from slimcls.classifier import Classifier, make_encoder, mode_for

    folder, description = read_description(Path(run))
    prompted = description["mode"] != "cls"
    factory: Any = AutoModelForSequenceClassification
    if description["mode"] == "lm":
        factory = AutoModelForCausalLM
    try:
        with silence():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            # Weights only from safetensors: a pickle laid beside them must not be opened.
            model, report = factory.from_pretrained(
                folder,
                local_files_only=True,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # transformers raises many kinds, all about these files
        raise UserError(f"{folder}: cannot be read ({_first_line(error)})") from error
    _check_fit(folder, model, description, report)
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
    if fault := _fault(description):
        raise UserError(f"{path}: {fault}, so it is not as slimcls wrote it; train again")
    return folder, description


def _fault(description: dict[str, Any]) -> str:
    """What is wrong with a description that this slimcls should be able to read; empty if nothing.

    The checks stand in an order in which each may rely on those before it.
    """
    if description["format"] not in range(1, FORMAT + 1):
        return f"there is no format {description['format']}"
    if description.get("mode") not in tuple(KEYS):
        return f"'mode' must be one of {', '.join(KEYS)}"
    for key, what in (KEYS[description["mode"]]).items():
        if key not in description:
            return f"{key!r} is missing"
        if not _is(description[key], what):
            return f"{key!r} has a value of the wrong kind"
    if description["mode"] == "lm" and description["lm_loss"] not in LM_LOSSES:
        return f"'lm_loss' must be one of {', '.join(LM_LOSSES)}"
    labels, words = description["labels"], description.get("label_words")
    if len(set(labels)) < max(2, len(labels)):
        return "'labels' must name two classes or more, each once"
    if words is not None and len(words) != len(labels):
        return f"there are {len(words)} label words for {len(labels)} labels"
    for shown in description.get("demonstrations", []):
        if not _is(shown.get("text"), str) or shown.get("label") not in labels:
            return "a demonstration lacks its text or has an unknown label"
    return ""


def _is(value: Any, what: type | tuple[type, type]) -> bool:
    """Whether a JSON value is of a type, or a list of such; true is not a number."""
    if isinstance(what, tuple):
        return isinstance(value, list) and all(isinstance(item, what[1]) for item in value)
    return isinstance(value, what) and not isinstance(value, bool)


def _check_fit(folder: Path, model: Any, description: dict[str, Any], report: Any) -> None:
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
    classes, labels = model.config.num_labels, len(description["labels"])
    if description["mode"] != "lm" and classes != labels:
        raise UserError(
            f"{folder}: {DESCRIPTION} names {labels} labels, config.json {classes}; "
            "both must be of the same run"
        )


def _name(model: str) -> str:
    """A model's name; of a local folder the last part, since its path says nothing elsewhere."""
    return Path(model).name if Path(model).is_dir() else model


def megabytes(folder: Path) -> float:
    """Size of all files of a folder, in 10^6 bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _why_no_artefact(run: Path) -> str:
    from slimcls.results import read_result

    if result := read_result(run):
        if not result.config.layers:
            what = f"the figures of a baseline ({result.outcome.method}), which leaves no model"
            return f"{what}; classify with a run of slimcls train"
        return "the run was made with --save-model none; run it again with --save-model best"
    if (run / "config.yaml").is_file():
        return "the run is not finished; the same train command goes on"
    return f"not a run directory or artefact of slimcls (it has no {DESCRIPTION})"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
