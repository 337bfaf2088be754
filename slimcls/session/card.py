"""The model card: what was cut, on what data, how good, and how to use it without slimcls."""

from __future__ import annotations

import json

from slimcls.backbones.saved import NEEDS_PROMPT
from slimcls.escaping import in_markdown
from slimcls.kinds import MEAN_PROBE
from slimcls.runs.schema import RunResult
from slimcls.runs.summary import calibration_words, more_metric_rows, rival_words
from slimcls.session.card_data import card_data

_OPEN = """\
import json
import pathlib

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = pathlib.Path(".")  # where this README.md lies
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
labels = model.config.id2label


def classify(texts):
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits
"""

_OPEN_PROMPTED = """\
import json
import pathlib

import torch
from transformers import {factory}, AutoTokenizer

folder = pathlib.Path(".")  # where this README.md lies
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {factory}.from_pretrained(
    folder, variant="{variant}", dtype=torch.float32
).eval()
slimcls = json.loads((folder / "slimcls.json").read_text("utf-8"))
labels = slimcls["labels"]


def prompt(text):
    text = text.strip()
    parts = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = parts["offset_mapping"]
    if len(offsets) > slimcls["max_text_tokens"]:  # cut long texts as in training
        text = text[: offsets[slimcls["max_text_tokens"]][0]].rstrip()
    return slimcls["prompt_before"] + text + slimcls["prompt_after"]
"""

#: In place of the code for a text alone, where pairs go in.
_OF_PAIRS = {
    """\
    batch = tokenizer(texts, padding""": """\
    first, second = map(list, zip(*texts))
    batch = tokenizer(first, second, padding""",
    _OPEN_PROMPTED[_OPEN_PROMPTED.index("def prompt") :]: """\
def cut(text, tokens):
    parts = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = parts["offset_mapping"]
    return text if len(offsets) <= tokens else text[: offsets[tokens][0]].rstrip()


def prompt(pair):
    first, second = (text.strip() for text in pair)
    most = slimcls["max_text_tokens"]  # of both together: the longer one is cut first
    one, other = (
        len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (first, second)
    )
    first = cut(first, max(most - other, most // 2))
    second = cut(second, max(most - one, most // 2))
    begun = slimcls["prompt_before"] + first + slimcls["prompt_between"]
    return begun + second + slimcls["prompt_after"]
""",
}

_HEAD_LOGITS = """\

def classify(texts):
    batch = tokenizer([prompt(text) for text in texts], padding=True, return_tensors="pt")
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

EXAMPLE = '"An example text."'

_USE = """\

texts = [{example}]
logits = classify(texts)
about = json.loads((folder / "slimcls.json").read_text("utf-8"))
heat = about["confidence"]["temperature"]
for text, row in zip(texts, logits / heat):
    print(labels[row.argmax().item()], row.softmax(0).tolist())
"""


def model_card(result: RunResult, description: dict[str, object]) -> str:
    """README.md of an artefact, with code that runs on plain transformers."""
    parts = [
        _what(result, description),
        figures(result, description),
        _limits(result),
        _usage(description),
    ]
    head = card_data(description, result).to_yaml()
    return f"---\n{head}\n---\n\n" + "\n\n".join(parts) + "\n"


def code(description: dict[str, object]) -> str:
    """Python that opens the artefact in the current folder and classifies a text."""
    example = '("A first text.", "A second text.")' if description.get("pair") else EXAMPLE
    use = _USE.format(example=example)
    if description["answers_alone"]:
        return _of(description, f"{_OPEN}\n{use}")
    mode, factory, logits = description["mode"], "AutoModelForSequenceClassification", _HEAD_LOGITS
    if mode == "lm":
        factory = "AutoModelForCausalLM"
        whole = description["lm_loss"] == "sequence"
        logits = _WHOLE_WORD_LOGITS if whole else _WORD_LOGITS
    opening = _of(description, _OPEN_PROMPTED).format(factory=factory, variant=NEEDS_PROMPT)
    return f"{opening}\n{logits}\n{use}"


def _of(description: dict[str, object], written: str) -> str:
    """The code that was written for a text alone, for what the artefact takes."""
    for one, other in _OF_PAIRS.items() if description.get("pair") else ():
        written = written.replace(one, other)
    return written


def _what(result: RunResult, description: dict[str, object]) -> str:
    c, o = result.config, result.outcome
    model, data = (in_markdown(str(description[name])) for name in ("model", "dataset"))
    note = f" ({in_markdown(o.source_note)})" if o.source_note else ""
    drawn = (
        " The weights of these layers are not the original's: they were drawn at random before "
        "training, as a baseline that shows what pretraining is worth."
        if c.random_blocks
        else ""
    )
    taught = (
        f" What it learnt are the scores of the run {in_markdown(o.taught_by)} on these texts and "
        f"{o.unlabelled_texts:,} without labels."
        if o.taught
        else ""
    )
    frozen = o.method == MEAN_PROBE
    averages = ""
    if frozen or c.pool:
        averages = (
            " One more layer stands behind those and averages over a text's tokens: the head reads "
            "the mean."
        )
    if frozen:
        averages += f" Only the head was fitted, by logistic regression ({in_markdown(o.chosen)})."
    begun = (
        " The head began as a logistic regression on the layers as they were."
        if c.probe_first
        else ""
    )
    saved = (
        f" Weights are in {c.save_dtype}: rounded so, and computed with in float32 as below, they "
        "have the figures here; arithmetic in that type itself may give others."
        if c.save_dtype
        else ""
    )
    return (
        f"# {model} cut to {c.keep} of {o.depth} layers, classifying {data}\n\n"
        f"Made by slimcls {o.slimcls_version} from {model}{note}, weights "
        f"`{o.source_fingerprint}`. Kept layers: {c.layers}, numbered from 0; embeddings, "
        f"positions and the final norm were kept too.{drawn}{averages} {o.params_kept:,} of "
        f"{o.params_full:,} backbone parameters are left ({max(0.0, o.params_saved):.1%} saved)."
        f"{saved}\n\n"
        f"Mode `{c.mode}`, tuned `{c.tune}`, seed {c.seed}. Trained on {o.train_items} texts; "
        f"{o.validation_items} more chose {'the strength' if frozen else 'the epoch'}; "
        f"{o.labels_used} labels were used in all."
        f"{begun}{taught}"
    )


def figures(result: RunResult, description: dict[str, object]) -> str:
    """What the test part said, or the validation part where there is no test."""
    o = result.outcome
    if not o.test_items:
        return (
            "## Figures\n\nNothing was tested: its texts came without a test part. On the "
            f"{o.validation_items} validation texts, which chose the epoch and so flatter, "
            f"accuracy is {o.validation_accuracy:.3f} ({o.validation_low:.3f} to "
            f"{o.validation_high:.3f}) and macro-F1 {o.validation_macro_f1:.3f}."
        )
    rows = [
        "## Figures\n",
        f"Test: {o.test_items} texts of {in_markdown(str(description['dataset']))} (version "
        f"{o.data_version}), read once. Intervals are 95 % Wilson intervals over test items; "
        f"another seed may differ by more. {in_markdown(o.data_note)}".rstrip()
        + "\n",
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
    for one in json.loads(o.per_class):
        rows.append(
            f"| {in_markdown(one['label'])} | {one['items']} | "
            f"{one['precision']:.3f} | {one['recall']:.3f} | {one['f1']:.3f} |"
        )
    if more := more_metric_rows(o):
        rows += ["", "| metric | test |", "| --- | --- |"]
        rows += [f"| {in_markdown(name)} | {in_markdown(value)} |" for name, value in more]
    said = [f"Warning: {in_markdown(o.warnings)}."] if o.warnings else []
    for words in (*said, *rival_words(result)):
        rows += ["", words]
    return "\n".join(rows)


def _limits(result: RunResult) -> str:
    o = result.outcome
    tested = f"Probabilities on test: {calibration_words(o)}. " if o.test_items else ""
    return (
        "## Limits\n\n"
        f"It knows only these classes, and texts like those it was trained on; a text is cut "
        f"after {o.text_tokens} tokens. {tested}The "
        "licences of the original model and of the data hold for this model too."
    )


_ALONE = """\
With plain transformers, `pipeline("text-classification", FOLDER, truncation=True)` gives the same \
classes: {what}, {around}. Or:"""

_NOT_ALONE = """\
Without slimcls the prompt has to be put around each text, which the tokenizer does not do here; \
so the weights lie under a name of their own, and `pipeline("text-classification", FOLDER)` opens \
nothing. With plain transformers:"""


def _usage(description: dict[str, object]) -> str:
    bare = description["mode"] == "cls"
    around = "long ones are cut" if bare else "the tokenizer puts the prompt around them"
    what, item = "bare texts go in", "text"
    if description.get("pair"):
        what = 'pairs go in as `{"text": FIRST, "text_pair": SECOND}`'
        item = "(first, second)"
    plain = _ALONE.format(what=what, around=around)
    plain = plain if description["answers_alone"] else _NOT_ALONE
    return (
        f"## Use\n\nWith slimcls: `slimcls.load(FOLDER).predict([{item}])`.\n\n"
        f"{plain}\n\n```python\n{code(description)}```"
    )
