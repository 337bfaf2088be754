"""The artefact ``model/``: a plain Hugging Face folder and ``slimcls.json`` beside the weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcls.errors import UserError
from slimcls.kinds import LM_LOSSES, ModeName

if TYPE_CHECKING:
    from slimcls.classifier.classifier import Classifier

#: Raised when ``slimcls.json`` changes so that older readers would misread it.
FORMAT = 1
DESCRIPTION = "slimcls.json"

_TEXT: dict[str, Any] = {"labels": (list, str), "max_text_tokens": int, "context": int}
_PROMPT = _TEXT | {"template": str, "label_words": (list, str), "demonstrations": (list, dict)}
#: What a description must hold to classify, by mode.
KEYS: dict[ModeName, dict[str, Any]] = {
    "cls": _TEXT,
    "p-cls": _PROMPT,
    "lm": _PROMPT | {"lm_loss": str},
}


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
    from slimcls.classifier.classifier import Classifier, make_encoder, mode_for

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


def _why_no_artefact(run: Path) -> str:
    """What a folder without an artefact is, by the files of a run that lie in it."""
    settings = run / "config.yaml"
    if not settings.is_file():
        return f"not a run directory or artefact of slimcls (it has no {DESCRIPTION})"
    if not (run / "result.parquet").is_file():
        return "the run is not finished; the same train command goes on"
    # Of all runs only a baseline's settings name a method.
    found = re.search(r"^method: (\S+)$", settings.read_text(encoding="utf-8"), re.MULTILINE)
    if found:
        what = f"the figures of a baseline ({found[1]}), which leaves no model"
        return f"{what}; classify with a run of slimcls train"
    return "the run was made with --save-model none; run it again with --save-model best"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
