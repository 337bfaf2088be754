"""README.md of an exported folder: what it is, what changed, how to use it."""

from __future__ import annotations

from typing import Any

from slimcls.classifier.description import task_of
from slimcls.exporting.report import Report, figures

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
    return (
        f"# {description['model']} cut to {layers}, classifying {description['dataset']}, as ONNX"
        f"\n\nExported by slimcls {description['slimcls_version']}; mode `{description['mode']}`, "
        f"{len(description['labels'])} classes, texts are cut after "
        f"{description['max_text_tokens']} tokens. {bits} Its probabilities are not calibrated. "
        "The licences of the original model and of the data hold for this model too."
    )


def _figures(report: Report) -> str:
    """The parity report, as a table."""
    rows = ["## Beside the run\n", "| | |", "| --- | --- |"]
    rows += [f"| {what} | {figure} |" for what, figure in figures(report)]
    rows.append("\nTimes are those of the machine that exported it; `parity.json` has all figures.")
    return "\n".join(rows)


def _usage(description: dict[str, Any]) -> str:
    parts = [
        "## Use\n\nWith slimcls alone, no torch: `slimcls predict FOLDER TEXT`, or "
        "`slimcls.load(FOLDER).predict([text])`."
    ]
    if task_of(description).answers_alone:
        parts.append(f"Without slimcls, in this folder:\n\n```python\n{_CODE}```")
    return "\n\n".join(parts)
