"""README.md of an exported folder: what it is, what changed, how to use it."""

from __future__ import annotations

from typing import Any

from slimcls.classifier.description import ONNX, task_of
from slimcls.exporting.report import Report, figures
from slimcls.session.card import code

_CODE = """\
import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

about = json.load(open("slimcls.json", encoding="utf-8"))
tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.encode_special_tokens = True
own = tokenizer.num_special_tokens_to_add(False)
tokenizer.enable_truncation(about["max_text_tokens"] + own)
session = onnxruntime.InferenceSession("model.onnx")

text = "An example text.".strip()
ids = tokenizer.encode(text).ids[about["onnx"]["prefix_tokens"] :]
given = {"ids": np.array([ids]), "lengths": np.array([len(ids)])}
(logits,) = session.run(None, given)[0]
print(about["labels"][logits.argmax()])
"""


#: In place of the code for a text alone, where pairs go in.
_OF_PAIRS = {
    "to_add(False)": "to_add(True)",
    'text = "An example text.".strip()': 'first, second = "A first text.", "A second text."',
    "encode(text)": "encode(first, second)",
}


def card(description: dict[str, Any], report: Report) -> str:
    """The text of the card."""
    parts = [_what(description, report), _figures(report), _usage(description)]
    return "\n\n".join(parts) + "\n"


def _what(description: dict[str, Any], report: Report) -> str:
    layers = f"{len(description['kept_layers'])} of {description['depth']} layers"
    done = report.quantised
    bits = (
        f"{done.matrices} matrices with {done.parameters:,} numbers are in {report.bits} bits, "
        f"{done.left:,} numbers in 32."
        if done
        else "All numbers are in 32 bits."
    )
    trimmed = report.trimmed
    tokens = f" Its tokenizer has {trimmed.tokens:,} of {trimmed.of:,} tokens." if trimmed else ""
    form = ", as ONNX" if report.to == "onnx" else ""
    return (
        f"# {description['model']} cut to {layers}, classifying {description['dataset']}{form}"
        f"\n\nExported by slimcls {description['slimcls_version']}; mode `{description['mode']}`, "
        f"{len(description['labels'])} classes, texts are cut after "
        f"{description['max_text_tokens']} tokens. {bits}{tokens} {_calibrated(report)} "
        "The licences of the original model and of the data hold for this model too."
    )


def _calibrated(report: Report) -> str:
    if report.calibration and report.validation:
        texts = report.validation.texts
        return f"Its probabilities were calibrated on the run's {texts} validation texts."
    changed = report.trimmed or report.quantised
    return f"Its probabilities were {'not calibrated anew' if changed else 'not changed'}."


def _figures(report: Report) -> str:
    """The parity report, as a table."""
    rows = ["## Beside the run\n", "| | |", "| --- | --- |"]
    rows += [f"| {what} | {figure} |" for what, figure in figures(report)]
    rows.append("\nTimes are those of the machine that exported it; `parity.json` has all figures.")
    return "\n".join(rows)


def _usage(description: dict[str, Any]) -> str:
    item, second = (
        ("(first, second)", " --hypothesis TEXT") if "pair" in description else ("text", "")
    )
    if ONNX not in description:
        return (
            f"## Use\n\nWith slimcls: `slimcls.load(FOLDER).predict([{item}])`. With plain "
            f"transformers:\n\n```python\n{code(description)}```"
        )
    parts = [
        f"## Use\n\nWith slimcls alone, no torch: `slimcls predict FOLDER TEXT{second}`, or "
        f"`slimcls.load(FOLDER).predict([{item}])`."
    ]
    if task_of(description).answers_alone:
        alone = _CODE
        for one, other in _OF_PAIRS.items() if "pair" in description else ():
            alone = alone.replace(one, other)
        parts.append(f"Without slimcls, in this folder:\n\n```python\n{alone}```")
    return "\n\n".join(parts)
