"""One description of a task: a run makes it, the artefact says it, and both make the same of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimcls.backbones import sources
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.classifier.description import as_json, read_description, task_of
from slimcls.classifier.modes import LabelWords, WholePrompt
from slimcls.classifier.task import Task
from slimcls.data.prompts import PromptBuilder
from slimcls.errors import UserError

LABELS = ("bad", "good")
PROMPTED = {
    "template": "Review: {text}\nMood:{label}",
    "label_words": ("dark", "bright"),
    "demonstrations": (("it rains", 0), ("it is warm", 1)),
}
TASKS = [
    Task(mode="cls", labels=LABELS, context=100, max_text_tokens=20),
    Task(mode="p-cls", labels=LABELS, context=200, max_text_tokens=20, **PROMPTED),
    Task(mode="lm", labels=LABELS, context=200, max_text_tokens=20, lm_loss="sequence", **PROMPTED),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.mode)
def test_an_artefact_gives_back_the_task_of_its_run(task: Task, tmp_path: Path) -> None:
    (tmp_path / "slimcls.json").write_text(json.dumps(as_json(task)), encoding="utf-8")
    folder, description = read_description(tmp_path)
    again = task_of(description)
    assert (folder, again) == (tmp_path, task)
    tokenizer = open_tokenizer(sources.find("tiny-gpt2", None))
    texts = ["rain and wind", "bread " * 100]
    assert again.encoder(tokenizer).encode(texts) == task.encoder(tokenizer).encode(texts)


def test_in_format_1_a_prompt_was_tokenised_as_one_string(tmp_path: Path) -> None:
    said = as_json(TASKS[1]) | {"format": 1}
    del said["answers_alone"]
    (tmp_path / "slimcls.json").write_text(json.dumps(said), encoding="utf-8")
    old = task_of(read_description(tmp_path)[1])
    tokenizer = open_tokenizer(sources.find("tiny-gpt2", None))
    assert not old.answers_alone
    then, now = old.saved_encoder(tokenizer), TASKS[1].encoder(tokenizer)
    assert isinstance(then, PromptBuilder)
    assert isinstance(now, PromptBuilder)
    (whole,) = tokenizer([then.prompt("")])["input_ids"]
    assert then.encode([""]).ids == [whole] != now.encode([""]).ids
    assert then.encode(["rain"]) == now.encode(["rain"])


def test_the_mode_is_made_of_the_task() -> None:
    tokenizer = open_tokenizer(sources.find("tiny-gpt2", None))
    for task, kind in zip(TASKS[1:], ("p-cls", "lm"), strict=True):
        encoder = task.encoder(tokenizer)
        mode = task.strategy(encoder)
        assert isinstance(mode, WholePrompt) is (kind == "lm")
    words = Task(**(vars(TASKS[2]) | {"lm_loss": "label-words"}))
    assert isinstance(words.strategy(words.encoder(tokenizer)), LabelWords)
    twins = Task(**(vars(words) | {"label_words": ("dark", "dark")}))
    with pytest.raises(UserError, match="begin with the same token"):
        twins.strategy(twins.encoder(tokenizer))
