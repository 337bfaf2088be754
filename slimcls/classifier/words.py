"""A pipeline of scikit-learn's in use, such as TF-IDF with logistic regression, without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from slimcls.classifier.description import (
    DESCRIPTION,
    FORMAT,
    FORMAT_OF_PAIRS,
    FORMAT_OF_TEXTS,
    WORDS,
    method_of,
    pair_of,
)
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
#: What skops says of it, and there the places in memory: no text of anybody's has such quotes.
SCHEMA, _PLACE = "schema.json", re.compile(r'(?<="__id__": )\d+|(?<="file": ")\d+(?=\.)')
#: The method whose pipeline has a step of slimcls's own, and that step: the one type beyond those
#: that skops knows to be harmless.
EMBEDDINGS, STEP = "embeddings", "slimcls.data.token_means.TokenMeans"
#: What a class that training never showed has in place of the logarithm of nothing.
LEAST = 1e-30


class Whole:
    """Texts as they are, for a pipeline that takes them apart itself.

    Of pairs, where ``counts``, words say whose they are.
    """

    def __init__(self, pair: tuple[str, str] | None = None, *, counts: bool = True) -> None:
        self.pair, self.counts = pair, counts

    def encode(self, texts: Sequence[str]) -> Whole:
        """The same, to be asked for ``ids``."""
        encoded = Whole(self.pair, counts=self.counts)
        encoded.ids = [as_words(text) if self.counts else text for text in texts]
        return encoded

    #: Texts, where others have token ids.
    ids: list[str]


class WordsClassifier(Predictor):
    """Classifies texts with a pipeline of scikit-learn's, fitted to class numbers.

    Of pairs it is given words where it ``counts`` those, else both texts.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        labels: Sequence[str],
        pair: tuple[str, str] | None = None,
        *,
        counts: bool = True,
    ) -> None:
        super().__init__(cast("Encoder", Whole(pair, counts=counts)), labels)
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


def describe_words(
    method: str, labels: Sequence[str], pair: tuple[str, str] | None = None
) -> dict[str, Any]:
    """``slimcls.json`` of a pipeline of ``method``, one of :data:`slimcls.kinds.CHEAP`."""
    version = FORMAT if method == EMBEDDINGS else FORMAT_OF_PAIRS if pair else FORMAT_OF_TEXTS
    return {"format": version, "mode": WORDS, "method": method, "labels": list(labels)} | (
        {"pair": list(pair)} if pair else {}
    )


def save_words(
    pipeline: Pipeline,
    description: dict[str, Any],
    folder: Path,
    beside: Callable[[Path], object] = lambda _: None,
) -> None:
    """Write ``model/`` of a pipeline of scikit-learn's, whole or not at all.

    Of text pairs TF-IDF takes what :func:`slimcls.data.pairs.as_words` makes.

    Args:
        pipeline: From texts to class numbers.
        description: As :func:`describe_words` begins it.
        folder: Where.
        beside: Told the folder that is being filled: writes what else belongs there.

    Raises:
        UserError: the disk is full.
    """
    with replacing_folder(folder) as filled:
        # A vocabulary takes a fifteenth of the bytes so; embeddings nine tenths, and seconds more.
        packed = ZIP_STORED if description["method"] == EMBEDDINGS else ZIP_DEFLATED
        _dump(pipeline, filled / PIPELINE, packed)
        described = description | {"sha256": sha256_of(filled / PIPELINE)}
        text = json.dumps(described, indent=1, ensure_ascii=False)
        (filled / DESCRIPTION).write_text(text, encoding="utf-8")
        beside(filled)


def _dump(pipeline: Pipeline, path: Path, packed: int) -> None:
    """What skops writes, with the same bytes every time.

    skops tells objects apart by where they lay in memory, and names files so: here they are
    numbered as they come. A fit decides by bytes.
    """
    import skops.io

    with ZipFile(BytesIO(skops.io.dumps(pipeline))) as written:
        schema = written.read(SCHEMA).decode()
        numbers = {old: str(new) for new, old in enumerate(dict.fromkeys(_PLACE.findall(schema)))}
        schema = _PLACE.sub(lambda found: numbers[found[0]], schema)
        with ZipFile(path, "w", packed) as made:
            for name in written.namelist():
                place, _, kind = name.partition(".")
                if name != SCHEMA:
                    # A name alone would get the time of day.
                    as_it_came = ZipInfo(f"{numbers[place]}.{kind}")
                    made.writestr(as_it_came, written.read(name), packed)
            made.writestr(ZipInfo(SCHEMA), schema, packed)


def open_words(folder: Path, description: dict[str, Any]) -> WordsClassifier:
    """Open what :func:`save_words` wrote. Raises UserError where it is damaged."""
    from slimcls.cli import extras

    extras.check_extra("a pipeline of scikit-learn's", extras.WORDS)
    import skops.io

    path = folder / PIPELINE
    try:
        whole = sha256_of(path) == description["sha256"]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); train again") from None
    if not whole:
        raise UserError(f"{path}: is damaged ({DESCRIPTION} has another hash); train again")
    own = method_of(description) == EMBEDDINGS
    try:
        # Types beyond these and those that skops knows to be harmless are refused.
        pipeline = skops.io.load(path, trusted=[STEP] if own else [])
    except Exception as error:  # skops and scikit-learn raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"{path}: cannot be opened ({reason})") from error
    return WordsClassifier(pipeline, description["labels"], pair_of(description), counts=not own)
