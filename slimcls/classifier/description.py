"""``slimcls.json``, which lies beside an artefact's weights: the task, as a file has it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcls.classifier.task import Task
from slimcls.data.lines import no_utf8
from slimcls.data.pairs import PAIR_SLOTS, Pair, parts_of, slots_of, template_fault
from slimcls.errors import UserError
from slimcls.kinds import CHEAP, LM_LOSSES, MEAN_PROBE, ModeName
from slimcls.storage.json_files import parse_json

if TYPE_CHECKING:
    from slimcls.classifier.confidence import Confidence
    from slimcls.classifier.early import EarlyRule

#: Raised when ``slimcls.json`` changes so that older readers would misread it.
FORMAT = 4
#: What descriptions are written in that older readers read too: of texts, of text pairs.
FORMAT_OF_TEXTS, FORMAT_OF_PAIRS = 2, 3
DESCRIPTION = "slimcls.json"
#: The mode of a pipeline of scikit-learn's, which has no layer of a model and no prompt.
WORDS = "words"
#: The key that an exported folder alone has: what else its files say of themselves.
ONNX = "onnx"
#: The key by which texts leave early: :mod:`slimcls.classifier.early`.
CASCADE = "cascade"

_TEXT: dict[str, Any] = {"labels": (list, str), "max_text_tokens": int, "context": int}
_PROMPT = _TEXT | {"template": str, "label_words": (list, str), "demonstrations": (list, dict)}
#: What a description must hold to classify, by mode.
KEYS: dict[ModeName, dict[str, Any]] = {
    "cls": _TEXT,
    "p-cls": _PROMPT,
    "lm": _PROMPT | {"lm_loss": str},
}
#: What the description of an exported folder holds under ``onnx``.
EXPORT_KEYS: dict[str, Any] = {"bits": int, "prefix_tokens": int, "sha256": dict}
#: What that of a pipeline of scikit-learn's holds.
WORDS_KEYS: dict[str, Any] = {"labels": (list, str), "sha256": str}
#: What else, from a format on.
SINCE: dict[int, dict[str, Any]] = {
    1: {},
    2: {"answers_alone": bool},
    3: {"answers_alone": bool, "pair": (list, str)},
    4: {"answers_alone": bool},
}


def as_json(task: Task) -> dict[str, object]:
    """A task as ``slimcls.json`` says it; :func:`read_description` reads it back."""
    held: dict[str, object] = {
        "format": FORMAT_OF_PAIRS if task.pair else FORMAT_OF_TEXTS,
        "mode": task.mode,
        "labels": list(task.labels),
        "max_text_tokens": task.max_text_tokens,
        "context": task.context,
        "answers_alone": task.answers_alone,
    }
    if task.pair:
        held["pair"] = list(task.pair)
    if task.confidence:
        held["confidence"] = task.confidence.as_json()
    if task.mode == "cls":
        return held
    return held | {
        "lm_loss": task.lm_loss,
        "template": task.template,
        "label_words": list(task.label_words),
        "demonstrations": [
            {**_slots(text), "label": task.labels[label]} for text, label in task.demonstrations
        ],
    }


def _slots(text: str) -> dict[str, str]:
    """A demonstration's text, or both of a pair, by their slots."""
    parts = parts_of(text)
    return dict(zip(PAIR_SLOTS if len(parts) > 1 else ("text",), parts, strict=True))


def read_description(run: Path) -> tuple[Path, dict[str, Any]]:
    """The artefact's folder in a run, or that is one, and its ``slimcls.json``.

    It is cheap: faults show at once. :func:`task_of` makes a task of it. ``ORG/NAME[@REVISION]``,
    where no folder is called so, is a classifier on the hub, and is fetched.

    Raises UserError where the folder is not a slimcls artefact or newer than this slimcls.
    """
    if not run.is_dir():
        from slimcls.classifier.from_hub import fetch_artefact

        run = fetch_artefact(str(run))
    folder = run / "model" if (run / "model" / DESCRIPTION).is_file() else run
    path = folder / DESCRIPTION
    if not path.is_file():
        raise UserError(f"{run}: {_why_no_artefact(run)}")
    try:
        description = parse_json(path.read_text(encoding="utf-8"))
        version = description["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a description that slimcls wrote") from None
    if _is(version, int) and version > FORMAT:
        raise UserError(
            f"{path}: format {version} is newer than this slimcls reads ({FORMAT}); upgrade slimcls"
        )
    if fault := _fault(description):
        raise UserError(f"{path}: {fault}, so it is not as slimcls wrote it; train again")
    return folder, description


def task_of(description: dict[str, Any]) -> Task:
    """The task of what :func:`read_description` has read."""
    labels = tuple(description["labels"])
    return Task(
        mode=description["mode"],
        labels=labels,
        context=description["context"],
        max_text_tokens=description["max_text_tokens"],
        lm_loss=description.get("lm_loss"),
        template=description.get("template", ""),
        label_words=tuple(description.get("label_words", ())),
        demonstrations=tuple(
            (_shown_text(shown), labels.index(shown["label"]))
            for shown in description.get("demonstrations", ())
        ),
        # In format 1 the prompt was always slimcls's own affair.
        answers_alone=description.get("answers_alone", description["mode"] == "cls"),
        pair=pair_of(description),
        confidence=_confidence(description.get("confidence")),
    )


def early_rule(description: dict[str, Any]) -> EarlyRule | None:
    """How texts leave early; None where they do not."""
    if CASCADE not in description:
        return None
    from slimcls.classifier.early import from_json

    return from_json(description[CASCADE])


def pair_of(description: dict[str, Any]) -> tuple[str, str] | None:
    """What the columns of text pairs are called; None for a classifier of texts."""
    first, second = description.get("pair") or (None, None)
    return (first, second) if first and second else None


def method_of(description: dict[str, Any]) -> object:
    """Which rival a pipeline of scikit-learn's is; at first there was TF-IDF alone."""
    return description.get("method", "tfidf")


def _shown_text(shown: dict[str, str]) -> str:
    if "text" in shown:
        return shown["text"]
    return Pair(*(shown[slot] for slot in PAIR_SLOTS))


def _fault(description: dict[str, Any]) -> str:
    """What is wrong with a description that this slimcls should be able to read; empty if nothing.

    The checks stand in an order in which each may rely on those before it.
    """
    version = description["format"]
    if not _is(version, int) or not 1 <= version <= FORMAT:
        return f"there is no format {version!r:.40}"
    if fault := no_utf8([json.dumps(description, ensure_ascii=False)]):
        return fault
    pair = description.get("pair")
    if pair is not None and not (_is(pair, (list, str)) and len(set(pair)) == 2 == len(pair)):
        return "'pair' must name two columns"
    if description.get("mode") == WORDS:
        if method_of(description) not in CHEAP:
            return f"'method' must be one of {', '.join(CHEAP)}"
        return _lacks(description, WORDS_KEYS) or _labels_fault(description["labels"])
    if description.get("mode") not in tuple(KEYS):
        return f"'mode' must be one of {', '.join(KEYS)}"
    if fault := _lacks(description, KEYS[description["mode"]] | SINCE[version]):
        return fault
    if ONNX in description and (fault := _lacks(description[ONNX], EXPORT_KEYS)):
        return f"{ONNX!r}: {fault}"
    if description["mode"] == "lm" and description["lm_loss"] not in LM_LOSSES:
        return f"'lm_loss' must be one of {', '.join(LM_LOSSES)}"
    if min(description["context"], description["max_text_tokens"]) < 1:
        return "'context' and 'max_text_tokens' must be at least 1"
    if "confidence" in description and not _confidence(description["confidence"]):
        return "'confidence' has values of the wrong kind"
    if CASCADE in description and not early_rule(description):
        return f"{CASCADE!r} has values of the wrong kind"
    labels, words = description["labels"], description.get("label_words")
    if fault := _labels_fault(labels):
        return fault
    if words is None:
        return ""
    if len(words) != len(labels):
        return f"there are {len(words)} label words for {len(labels)} labels"
    if fault := template_fault(description["template"]):
        return f"'template' {fault}"
    slots = slots_of(description["template"])
    if (slots == PAIR_SLOTS) is not (pair is not None):
        return "'template' has other slots than 'pair' says"
    for shown in description.get("demonstrations", []):
        texts = [shown.get(slot) for slot in slots]
        if not all(_is(text, str) for text in texts) or shown.get("label") not in labels:
            return "a demonstration lacks its text or has an unknown label"
    return ""


def _labels_fault(labels: list[str]) -> str:
    if len(set(labels)) < max(2, len(labels)):
        return "'labels' must name two classes or more, each once"
    return ""


def _lacks(given: object, keys: dict[str, Any]) -> str:
    """What of the keys is not there, or has a value of another type; empty if nothing."""
    if not isinstance(given, dict):
        return "a value of the wrong kind"
    for key, what in keys.items():
        if key not in given:
            return f"{key!r} is missing"
        if not _is(given[key], what):
            return f"{key!r} has a value of the wrong kind"
    return ""


def _is(value: object, what: type | tuple[type, type]) -> bool:
    """Whether a JSON value is of a type, or a list of such; true is not a number."""
    if isinstance(what, tuple):
        return isinstance(value, list) and all(isinstance(item, what[1]) for item in value)
    return isinstance(value, what) and isinstance(value, bool) is (what is bool)


def _why_no_artefact(run: Path) -> str:
    """What a folder without an artefact is, by the files of a run that lie in it."""
    settings = run / "config.yaml"
    if not settings.is_file():
        return f"not a run directory or artefact of slimcls (it has no {DESCRIPTION})"
    if not (run / "result.parquet").is_file():
        return "the run is not finished; the same train command goes on"
    # Of all runs only a baseline's settings name a method.
    found = re.search(r"^method: (\S+)$", settings.read_text(encoding="utf-8"), re.MULTILINE)
    if found and found[1] not in (*CHEAP, MEAN_PROBE):
        what = f"the figures of a baseline ({found[1]}), which leaves no model"
        return f"{what}; classify with a run of slimcls train"
    return "the run was made with --save-model none; run it again with --save-model best"


def _confidence(held: Any) -> Confidence | None:
    # It needs numpy, which takes longer to import than to say that a folder is none.
    from slimcls.classifier.confidence import from_json

    return from_json(held)
