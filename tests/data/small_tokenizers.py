"""Small byte-level tokenizers as GPT-2's, OPT's and Llama's are made, trained in a moment."""

from __future__ import annotations

from functools import cache
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SENTENCES = [
    "Review: a warm and funny film\nSentiment: Positive",
    "Review: dull, slow and far too long\nSentiment: Negative",
    "Question: Who wrote the first letter ?\nAnswer Type: Person",
    "Question: How many people live in 1984 towns ?\nAnswer Type: Number",
    "Article: Shares fell 3.5% on Monday; analysts weren't surprised.\nAnswer: Business",
    "Article: The striker's two goals won the match...\nAnswer: Sports World Technology",
]
KINDS = ("plain", "begin", "digits")


@cache
def small_tokenizer(kind: str) -> Any:
    """``plain`` as GPT-2, ``begin`` puts a token first as OPT does, ``digits`` splits digits."""
    tokenizer = Tokenizer(models.BPE())
    steps: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if kind == "digits":
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    if kind == "begin":
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=True),
                processors.TemplateProcessing(single="<end> $A", special_tokens=[("<end>", 0)]),
            ]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<end>",
        pad_token="<end>",
        padding_side="right",
        split_special_tokens=True,
        model_max_length=512,
    )
