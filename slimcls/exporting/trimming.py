"""A classifier with the tokens that its texts use, and what that costs."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimcls.backbones.fewer_tokens import with_tokens
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.task import Task
from slimcls.data import texts as same
from slimcls.data.cutting import tokens_of
from slimcls.data.pairs import Pair
from slimcls.data.prompts import PromptBuilder
from slimcls.data.trimming import Vocabulary
from slimcls.data.unlabelled import REST, left_out, unlabelled_texts
from slimcls.session.again import Drawn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: Texts of other kinds than most classifiers see: what a tokenizer without rare words makes of
#: them is what any text may meet that is not like those it was trimmed for.
OTHER = (
    "The committee postponed its ruling on the merger until shareholders had been consulted.",
    "Preheat the oven, whisk three eggs with a pinch of nutmeg, and fold in the sifted flour.",
    "hey r u coming 2nite?? dont forget the tickets lol, my battery is almost dead :(",
    "for (size_t i = 0; i < n; ++i) { total += weights[i] * inputs[i]; }",
    "Patients with chronic obstructive pulmonary disease were randomised to tiotropium.",
    "Die Bahn fährt wegen Bauarbeiten bis Mitternacht nur zwischen Köln und Düsseldorf.",
    "Le conseil municipal a voté hier soir la rénovation du théâtre de la place.",
    "The glacier's meltwater carved a canyon through Precambrian schist and quartzite.",
    "ERROR 2024-03-11T08:15:42Z worker-7 connection reset by peer (errno=104), retrying",
    "Invoice no. 88-1043: 12 units at $19.95, shipping $7.50, due within 30 days.",
    "明日の会議は午後三時から始まります。",
    "Elle Fanning and Saoirse Ronan walked the red carpet in Venice on Thursday.",
)

#: Sizes that are tried lie so much apart, and are multiples of the other.
STEP, WHOLE_TOKENS = 2**0.5, 64


@dataclass(frozen=True)
class Trimmed:
    """What fewer tokens have changed."""

    tokens: int
    of: int
    """How many the run's tokenizer has."""
    counted: int
    """Texts whose tokens were counted."""
    tried: dict[int, float]
    """Where their number was chosen: per cent of the validation texts with another label, by it."""
    as_before: int
    """Validation texts of which all tokens are left: they are encoded exactly as before."""
    validation: int
    per_text: float
    """Mean tokens of a validation text, uncut and without a prompt."""
    per_text_of_run: float
    per_other: float
    """The same of texts that are not like the run's."""
    per_other_of_run: float
    epochs: int
    """For how many epochs the classifier was trained again."""


class Trimmer:
    """A run's classifier with any number of its tokens."""

    def __init__(self, run: Classifier, task: Task, texts: Sequence[str]) -> None:
        self._run, self._task, self.texts = run, task, texts
        self._vocabulary = Vocabulary(run.encoder.tokenizer)
        self._counts = Counter(token for ids in run.encoder.encode(texts).ids for token in ids)

    def kept(self, tokens: int) -> list[int]:
        """The ids of the tokens that stay, so many at most, ascending.

        Raises UserError where that is too few.
        """
        return self._vocabulary.kept(self._counts, tokens, self._needed())

    def classifier(self, tokens: int) -> Classifier:
        """The classifier with so many tokens at most.

        Raises UserError where that is too few.
        """
        kept = self.kept(tokens)
        encoder = self._task.saved_encoder(self._vocabulary.tokenizer_of(kept))
        return Classifier(
            with_tokens(self._run.model, kept),
            self._task.strategy(encoder),
            encoder,
            self._task.labels,
            self._task.confidence,
        )

    def sizes(self) -> Iterator[int]:
        """The numbers of tokens that are tried, ascending, up to the last below all there are."""
        size = float(len(self._vocabulary.least(self._needed())))
        while (tokens := WHOLE_TOKENS * math.ceil(size / WHOLE_TOKENS)) < len(self._vocabulary.ids):
            yield tokens
            size *= STEP

    def report(self, trimmed: Classifier, validation: Sequence[str], epochs: int) -> Trimmed:
        """What a classifier with fewer tokens has of the texts, beside the run."""
        own, fewer = self._run.encoder.tokenizer, trimmed.encoder.tokenizer
        kept = fewer.get_vocab()
        left = [
            all(name in kept for name in own.convert_ids_to_tokens(ids))
            for ids in self._run.encoder.encode(validation).ids
        ]
        return Trimmed(
            tokens=trimmed.model.config.vocab_size,
            of=self._run.model.config.vocab_size,
            counted=len(self.texts),
            tried={},
            as_before=sum(left),
            validation=len(validation),
            per_text=_per_text(fewer, validation),
            per_text_of_run=_per_text(own, validation),
            per_other=_per_text(fewer, OTHER),
            per_other_of_run=_per_text(own, OTHER),
            epochs=epochs,
        )

    def _needed(self) -> set[int]:
        """Tokens that stand around every text, label words, and those the model's settings name."""
        encoder, config = self._run.encoder, self._run.model.config
        some = [Pair(text, text) if encoder.pair else text for text in ("", "a")]
        found = {token for ids in encoder.encode(some).ids for token in ids}
        if isinstance(encoder, PromptBuilder):
            found |= {token for ids in encoder.label_ids for token in ids}
        found |= {encoder.tokenizer.pad_token_id, config.pad_token_id}
        return found & set(self._vocabulary.ids.values())


def counted_texts(drawn: Drawn, unlabelled: str | None) -> list[str]:
    """The texts whose tokens say what stays: training texts, used or not, and those of a file.

    What chooses and what judges is not among them: validation and test texts.
    """
    data, splits = drawn.data, drawn.splits
    held_out = [*data.test.texts, *(data.validation.texts if data.validation else ())]
    held_out += [item.text for item in splits.validation]
    known = {same.key(text) for text in held_out}
    given = list(data.train.texts)
    if unlabelled is not None and unlabelled != REST:
        more, bad = unlabelled_texts(Path(unlabelled), drawn.config.text_column, data.spec.pair)
        given += more
        for note in left_out(unlabelled, bad):
            print(f"note: {note}", file=sys.stderr)
    return list(dict.fromkeys(text for text in given if same.key(text) not in known))


def fewest(sizes: Sequence[int], fits: Callable[[int], bool]) -> int | None:
    """The least of ascending sizes that fits; None where the largest that was tried does not.

    The range is halved: what fits is taken to fit with more tokens too.
    """
    least, low, high = None, 0, len(sizes) - 1
    while low <= high:
        middle = (low + high) // 2
        if fits(sizes[middle]):
            least, high = sizes[middle], middle - 1
        else:
            low = middle + 1
    return least


def _per_text(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> float:
    ids = tokens_of(tokenizer, texts, whole=False)
    return sum(map(len, ids)) / len(ids)
