"""The model card: what was cut, on what data, how good, and how to use it without slimcls."""

from __future__ import annotations

import json

from slimcls.runs.schema import RunResult
from slimcls.runs.summary import calibration_words, rival_words

_HEAD = """\
---
library_name: transformers
pipeline_tag: text-classification
tags: [slimcls, layer-pruning, text-classification]
---
"""

_OPEN = """\
import json
import pathlib

import torch
from transformers import AutoTokenizer, {factory}

folder = pathlib.Path(".")  # where this README.md lies
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {factory}.from_pretrained(folder, dtype=torch.float32).eval()
slimcls = json.loads((folder / "slimcls.json").read_text())
"""

_CUT = """\

def prompt(text):
    text = text.strip()
    parts = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = parts["offset_mapping"]
    if len(offsets) > slimcls["max_text_tokens"]:  # cut long texts as in training
        text = text[: offsets[slimcls["max_text_tokens"]][0]].rstrip()
    return slimcls["prompt_before"] + text + slimcls["prompt_after"]
"""

_HEAD_LOGITS = """\

def classify(texts):
    batch = tokenizer([{text} for text in texts], {options}return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits
"""

_WORD_LOGITS = """\

def classify(texts):
    batch = tokenizer([prompt(text) for text in texts], padding=True, return_tensors="pt")
    last = batch["attention_mask"].sum(1) - 1
    with torch.no_grad():
        logits = model(**batch).logits[torch.arange(len(texts)), last]
    return logits[:, [ids[0] for ids in slimcls["label_word_ids"]]]
"""

_WHOLE_WORD_LOGITS = """\

def logit(text, word):
    ids = tokenizer(prompt(text))["input_ids"] + word
    with torch.no_grad():
        logs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(logs[len(ids) - len(word) - 1 + i, token] for i, token in enumerate(word))


def classify(texts):
    words = slimcls["label_word_ids"]
    return torch.stack([torch.stack([logit(text, word) for word in words]) for text in texts])
"""

_USE = """\

texts = ["{example}"]
logits = classify(texts)
for row in logits / slimcls["confidence"]["temperature"]:
    print(slimcls["labels"][row.argmax()], row.softmax(0).tolist())
"""


def model_card(result: RunResult, description: dict[str, object]) -> str:
    """README.md of an artefact, with code that runs on plain transformers."""
    parts = [
        _what(result, description),
        _figures(result, description),
        _limits(result),
        _usage(description),
    ]
    return _HEAD + "\n" + "\n\n".join(parts) + "\n"


def code(description: dict[str, object]) -> str:
    """Python that opens the artefact in the current folder and classifies a text."""
    mode, loss = description["mode"], description.get("lm_loss")
    example = "An example text."
    if mode == "cls":
        logits = _HEAD_LOGITS.format(text="text.strip()", options="padding=True, truncation=True, ")
        cut = ""
    else:
        cut = _CUT
        logits = _HEAD_LOGITS.format(text="prompt(text)", options="padding=True, ")
        if mode == "lm":
            logits = _WHOLE_WORD_LOGITS if loss == "sequence" else _WORD_LOGITS
    factory = "AutoModelForCausalLM" if mode == "lm" else "AutoModelForSequenceClassification"
    parts = [_OPEN.format(factory=factory), cut, logits, _USE.format(example=example)]
    return "\n".join(part for part in parts if part)


def _what(result: RunResult, description: dict[str, object]) -> str:
    c, o = result.config, result.outcome
    model, data = description["model"], description["dataset"]
    note = f" ({o.source_note})" if o.source_note else ""
    drawn = (
        " The weights of these layers are not the original's: they were drawn at random before "
        "training, as a baseline that shows what pretraining is worth."
        if c.random_blocks
        else ""
    )
    return (
        f"# {model} cut to {c.keep} of {o.depth} layers, classifying {data}\n\n"
        f"Made by slimcls {o.slimcls_version} from `{model}`{note}, weights "
        f"`{o.source_fingerprint}`. Kept layers: {c.layers}, numbered from 0; embeddings, "
        f"positions and the final norm were kept too.{drawn} {o.params_kept:,} of "
        f"{o.params_full:,} backbone parameters are left ({o.params_saved:.1%} saved).\n\n"
        f"Mode `{c.mode}`, tuned `{c.tune}`, seed {c.seed}. Trained on {o.train_items} texts; "
        f"{o.validation_items} more chose the epoch; {o.labels_used} labels were used in all."
    )


def _figures(result: RunResult, description: dict[str, object]) -> str:
    o = result.outcome
    rows = [
        "## Figures\n",
        f"Test: {o.test_items} texts of `{description['dataset']}` (version {o.data_version}), "
        "read once. Intervals are 95 % Wilson intervals over test items; another seed may differ "
        "by more." + (f" {o.data_note}" if o.data_note else "") + "\n",
        "| | accuracy | interval | macro-F1 |",
        "| --- | --- | --- | --- |",
        f"| test | {o.test_accuracy:.3f} | {o.test_low:.3f} to {o.test_high:.3f} | "
        f"{o.test_macro_f1:.3f} |",
        f"| validation | {o.validation_accuracy:.3f} | {o.validation_low:.3f} to "
        f"{o.validation_high:.3f} | {o.validation_macro_f1:.3f} |",
        "",
        "| class | items | precision | recall | F1 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for figures in json.loads(o.per_class):
        rows.append(
            f"| {figures['label']} | {figures['items']} | {figures['precision']:.3f} | "
            f"{figures['recall']:.3f} | {figures['f1']:.3f} |"
        )
    said = [f"Warning: {o.warnings}."] if o.warnings else []
    for words in (*said, *rival_words(result)):
        rows += ["", words]
    return "\n".join(rows)


def _limits(result: RunResult) -> str:
    o = result.outcome
    return (
        "## Limits\n\n"
        f"It knows only these classes, and texts like those it was trained on; a text is cut "
        f"after {o.text_tokens} tokens. Probabilities on test: {calibration_words(o)}. The "
        "licences of the original model and of the data hold for this model too."
    )


def _usage(description: dict[str, object]) -> str:
    return (
        "## Use\n\nWith slimcls: `slimcls.load(FOLDER).predict([text])`. With plain transformers:"
        f"\n\n```python\n{code(description)}```"
    )
