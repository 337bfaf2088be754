"""What trying something takes on this machine, in seconds, with so much of the texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from slimcls.search.speed import Speed

#: Epochs that a training has at most, and the steps that those are at least: most cuts have stopped
#: improving by then (docs/options.md), and one that has not says so. Heads begin as regressions,
#: which takes few; a cut that learns from a teacher begins with a drawn head.
EPOCHS, STEPS = 6, 150
TAUGHT_EPOCHS, TAUGHT_STEPS = 12, 250
#: Items of a step.
BATCH = 16
#: Seconds of a training beside its epochs: opening the model, testing, writing.
BESIDE = 8.0
#: Seconds of TF-IDF, and those of a million letters of five classes beside them.
WORDS, LETTERS = 2.0, 9.0
#: Seconds of the mean of the embeddings, and those of a thousand texts of up to five classes beside
#: them: they grow with the square of the texts, since weak regularisation takes more steps too.
EMBEDDED, TEXTS = 2.0, 4.0
#: Seconds of fitting a regression to frozen states, to a thousand texts of five classes.
REGRESSION = 12.0


@dataclass(frozen=True)
class Texts:
    """How much there is to read."""

    train: tuple[int, ...]
    """Tokens of each training text, as many as would go in if time did not matter."""
    classes: tuple[int, ...]
    """Training texts of each class."""
    validation: tuple[int, ...]
    """Tokens of each validation text."""
    letters: int
    """Of all training texts."""
    unlabelled: tuple[int, ...] = ()

    @property
    def words(self) -> float:
        """Seconds of TF-IDF on all of it."""
        return WORDS + LETTERS * self.letters / 1e6 * len(self.classes) / 5

    def embedded(self, shots: int | None) -> float:
        """Seconds of the mean of the embeddings, learnt from so many texts a class."""
        classes = max(1.0, len(self.classes) / 5)
        return EMBEDDED + TEXTS * (self.items(shots) / 1000) ** 2 * classes

    def items(self, shots: int | None) -> int:
        """Training texts, with so many a class at most."""
        return sum(min(count, shots or count) for count in self.classes)

    def tokens(self, shots: int | None, most: int | None) -> float:
        """Tokens of an epoch, texts without labels included."""
        each = _cut(self.train, most) / len(self.train)
        return each * self.items(shots) + _cut(self.unlabelled, most)


@dataclass(frozen=True)
class Costs:
    """Seconds at most, with so much of the texts."""

    texts: Texts
    speed: Speed
    most: int | None
    shots: int | None
    embedded: int | None
    """Texts a class of the mean of the embeddings."""

    @property
    def cheap(self) -> float:
        """All cheap rivals once; the majority class takes nothing that counts."""
        return self.texts.words + self.texts.embedded(self.embedded)

    @property
    def _taught(self) -> bool:
        return bool(self.texts.unlabelled)

    @property
    def _steps(self) -> int:
        """Of an epoch."""
        return -(-self.texts.items(self.shots) // BATCH)

    @property
    def epochs(self) -> int:
        if self._taught:
            return max(TAUGHT_EPOCHS, -(-TAUGHT_STEPS // self._steps))
        return max(EPOCHS, -(-STEPS // self._steps))

    def training(self, depth: int) -> float:
        tokens = self.texts.tokens(self.shots, self.most)
        validation = _cut(self.texts.validation, self.most)
        read = self.speed.reading(depth, validation)
        # With a teacher, its own training alone; whichever depth that is, no more than this.
        begun = self._regression + self.speed.reading(depth, tokens + validation)
        return BESIDE + begun + self.epochs * (self.speed.training(depth, tokens) + read)

    def search(self, rungs: Sequence[int]) -> float:
        return sum(map(self.training, rungs))

    def confirming(self, rungs: Sequence[int], seeds: int) -> float:
        """The choice and what it is held against, of layers that are trained."""
        return seeds * sum(map(self.training, rungs[:2]))

    def frozen(self, depth: int) -> float:
        """Layers as they are with logistic regression, read once more as they are handed over."""
        return BESIDE + self._regression + self.speed.reading(depth, self._frozen_tokens)

    @property
    def _regression(self) -> float:
        """Fitting a regression to frozen states."""
        much = self.texts.items(self.shots) / 1000 * math.sqrt(len(self.texts.classes) / 5)
        return max(REGRESSION * much, 1.0)

    def all_frozen(self, depths: Sequence[int]) -> float:
        """Each depth, and one pass over the deepest for what states alone say."""
        if not depths:
            return 0.0
        read = self.speed.reading(max(depths), self._frozen_tokens)
        return read + sum(map(self.frozen, depths))

    @property
    def _frozen_tokens(self) -> float:
        """Of the training texts and, as they are read twice, of the validation texts."""
        labelled = _cut(self.texts.train, self.most) / len(self.texts.train)
        tokens = labelled * self.texts.items(self.shots)
        return tokens + 2 * _cut(self.texts.validation, self.most)


# A plan asks for the same few sums hundreds of times.
@lru_cache(maxsize=64)
def _cut(lengths: tuple[int, ...], most: int | None) -> float:
    return float(sum(min(length, most or length) for length in lengths))
