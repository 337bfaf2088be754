"""What goes into a run: its drawn items as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimcls.backbones.vocabulary import in_use
from slimcls.classifier.modes import Mode
from slimcls.classifier.task import Encoder, Task
from slimcls.config import RunConfig
from slimcls.data.encoding import DEFAULT_TOKENS
from slimcls.data.splits import Splits, draw
from slimcls.data.tables import Tables
from slimcls.log import Log

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass
class Inputs:
    """Drawn items of a run and their token ids, prompts included."""

    splits: Splits
    task: Task
    encoder: Encoder
    mode: Mode
    train: list[list[int]]
    validation: list[list[int]]
    test: list[list[int]]
    texts_cut: int
    unlabelled: Sequence[list[int]] = ()
    """Texts that are learnt from a teacher alone, as they go in."""

    @property
    def longest(self) -> int:
        """Tokens of the longest item."""
        return max(
            len(ids) for ids in (*self.train, *self.unlabelled, *self.validation, *self.test)
        )

    @property
    def _read(self) -> tuple[Sequence[list[int]], ...]:
        return (self.train, self.unlabelled, self.validation)

    @property
    def pad_id(self) -> int:
        """The token that fills a batch up; an opened tokenizer always has one."""
        found = self.encoder.tokenizer.pad_token_id
        assert isinstance(found, int)
        return found

    @property
    def tokens(self) -> list[int]:
        """All token ids that the run reads or scores, ascending, each once."""
        # Token 0 is what a classifier in use fills batches up with.
        return in_use(*self._read, self.test, [[self.pad_id, 0]], self.mode.word_ids)

    @property
    def rows(self) -> int:
        """How many different tokens training and validation read."""
        return len(in_use(*self._read, [[self.pad_id]], self.mode.word_ids))


def draw_items(config: RunConfig, data: Tables) -> Splits:
    """The items of a run.

    The draw depends on the data and the seed alone, so that modes and depths see the same items.
    """
    return draw(
        data,
        shots=config.shots,
        demos=config.demos,
        seed=config.seed,
        validation_size=config.validation_size,
        test_size=config.test_size,
        rule=config.split,
    )


def make_inputs(
    config: RunConfig,
    data: Tables,
    tokenizer: PreTrainedTokenizerFast,
    log: Log,
    usual_tokens: int = DEFAULT_TOKENS,
) -> Inputs:
    """Draw the items of a run and encode them; what was left out or cut is said in the log.

    ``usual_tokens`` are those of a text that are kept where the settings do not say.
    """
    splits = draw_items(config, data)
    for note in dict.fromkeys((*data.notes, *splits.notes)):
        log.say(f"note: {note}")
    task = _task(config, data, splits, tokenizer.model_max_length, usual_tokens)
    encoder = task.encoder(tokenizer)
    mode = task.strategy(encoder)
    train, validation, test = (
        encoder.encode([e.text for e in part])
        for part in (splits.train, splits.validation, splits.test)
    )
    texts_cut = train.n_cut + validation.n_cut + test.n_cut
    most = encoder.max_text_tokens
    if texts_cut:
        items = len(train.ids) + len(validation.ids) + len(test.ids)
        log.say(
            f"note: {texts_cut} of {items} texts ({texts_cut / items:.0%}) have more than {most} "
            "tokens and were cut; --max-text-tokens says where"
        )
    if demonstrations_cut := getattr(encoder, "demonstrations_cut", 0):
        log.say(f"note: {demonstrations_cut} demonstrations have more than {most} too")
    return Inputs(splits, task, encoder, mode, train.ids, validation.ids, test.ids, texts_cut)


def _task(config: RunConfig, data: Tables, splits: Splits, context: int, usual_tokens: int) -> Task:
    """What the classifier of a run will have to know of it."""
    return Task(
        mode=config.mode,
        labels=tuple(data.spec.labels),
        context=context,
        max_text_tokens=config.max_text_tokens,
        usual_tokens=usual_tokens,
        lm_loss=config.lm_loss,
        pool=config.pool,
        template=data.spec.template,
        label_words=tuple(data.spec.label_words),
        pair=data.spec.pair,
        demonstrations=tuple((e.text, e.label) for e in splits.demonstrations),
    )
