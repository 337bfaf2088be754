"""A classifier of words in use, such as TF-IDF with logistic regression: no model, no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from slimcls.classifier.description import DESCRIPTION, FORMAT, FORMAT_OF_TEXTS, WORDS, pair_of
from slimcls.classifier.prediction import Predictor
from slimcls.data.pairs import as_words
from slimcls.errors import UserError
from slimcls.storage.files import replacing_folder
from slimcls.storage.hashes import sha256_of

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from slimcls.classifier.task import Encoder

#: The pipeline, in a format that runs no code of the file's when it is opened.
PIPELINE = "pipeline.skops"
#: What a class that training never showed has in place of the logarithm of nothing.
LEAST = 1e-30


class Whole:
    """Texts as they are, for what counts words itself; of pairs, words say whose they are."""

    def __init__(self, pair: tuple[str, str] | None = None) -> None:
        self.pair = pair

    def encode(self, texts: Sequence[str]) -> Whole:
        """The same, to be asked for ``ids``."""
        encoded = Whole(self.pair)
        encoded.ids = [as_words(text) for text in texts]
        return encoded

    #: Texts, where others have token ids.
    ids: list[str]


class WordsClassifier(Predictor):
    """Classifies texts with a pipeline of scikit-learn's, fitted to class numbers."""

    def __init__(
        self, pipeline: Pipeline, labels: Sequence[str], pair: tuple[str, str] | None = None
    ) -> None:
        super().__init__(cast("Encoder", Whole(pair)), labels)
        self.pipeline = pipeline

    def logits(
        self,
        ids: Sequence[Any],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
    ) -> NDArray[np.float64]:
        """Logarithms of the class probabilities (texts, classes), of texts as they are."""
        shares = np.full((len(ids), len(self.labels)), LEAST)
        for first in range(0, len(ids), batch_size):
            some = slice(first, first + batch_size)
            shares[some, self.pipeline.classes_] = self.pipeline.predict_proba(ids[some])
            if done:
                done(len(ids[some]))
        found: NDArray[np.float64] = np.log(shares.clip(min=LEAST))
        return found


def save_words(
    pipeline: Pipeline,
    labels: Sequence[str],
    folder: Path,
    pair: tuple[str, str] | None = None,
) -> None:
    """Write ``model/`` of a classifier of words, whole or not at all.

    ``pair`` names the columns of text pairs, which the pipeline then takes as
    :func:`slimcls.data.pairs.as_words` has them.

    Raises UserError where the disk is full.
    """
    import skops.io

    with replacing_folder(folder) as filled:
        skops.io.dump(pipeline, filled / PIPELINE)
        description = {
            "format": FORMAT if pair else FORMAT_OF_TEXTS,
            "mode": WORDS,
            "labels": list(labels),
            "sha256": sha256_of(filled / PIPELINE),
        } | ({"pair": list(pair)} if pair else {})
        text = json.dumps(description, indent=1, ensure_ascii=False)
        (filled / DESCRIPTION).write_text(text, encoding="utf-8")


def open_words(folder: Path, description: dict[str, Any]) -> WordsClassifier:
    """Open what :func:`save_words` wrote. Raises UserError where it is damaged."""
    from slimcls.cli import extras

    extras.check_extra("a classifier of words", extras.WORDS)
    import skops.io

    path = folder / PIPELINE
    try:
        whole = sha256_of(path) == description["sha256"]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); train again") from None
    if not whole:
        raise UserError(f"{path}: is damaged ({DESCRIPTION} has another hash); train again")
    try:
        # Types beyond those that skops knows to be harmless would be refused.
        pipeline = skops.io.load(path)
    except Exception as error:  # skops and scikit-learn raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"{path}: cannot be opened ({reason})") from error
    return WordsClassifier(pipeline, description["labels"], pair_of(description))
