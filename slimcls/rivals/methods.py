"""The rivals that keep no layer: how each turns texts into numbers, and learns classes from them.

What there is to choose is chosen on the validation part, in the same way by all: the class of
``majority``, the strength of the regularisation of the others.
"""

from __future__ import annotations

import pickle
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tokenizers import Tokenizer
from torch import Tensor

from slimcls.data.encoding import TextEncoder
from slimcls.data.pairs import as_words
from slimcls.data.splits import Example
from slimcls.data.token_means import TokenMeans, means_of
from slimcls.errors import UserError
from slimcls.kinds import CHEAP

#: Inverse strengths of regularisation, strong to weak; of equal ones the first is taken.
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)

#: Numbers (texts, columns).
Matrix = NDArray[np.float64] | NDArray[np.float32] | csr_matrix


class Learns(Protocol):
    """A classifier of scikit-learn's."""

    classes_: NDArray[np.int64]

    def fit(self, inputs: Matrix, labels: Sequence[int]) -> Learns:
        """Learn."""

    def predict(self, inputs: Matrix) -> NDArray[np.int64]:
        """The class of each row."""

    def predict_proba(self, inputs: Matrix) -> NDArray[np.float64]:
        """Probabilities (rows, classes), in the order of ``classes_``."""


class Nothing:
    """Texts as nothing at all, for who decides without reading."""

    def fit(self, texts: Sequence[str]) -> None:
        """Learn nothing."""

    def __call__(self, texts: Sequence[str]) -> Matrix:
        """A column of zeros (texts, 1)."""
        return np.zeros((len(texts), 1))

    def tokens(self, texts: Sequence[str]) -> list[Sized]:
        """Nothing goes in."""
        return [() for _ in texts]

    @property
    def bytes(self) -> int:
        """What it takes to keep it."""
        return 0

    @property
    def steps(self) -> list[object]:
        """As steps of a pipeline of scikit-learn's: none."""
        return []


class Words:
    """Words and pairs of neighbouring words, weighted by TF-IDF with logarithmic counts.

    Whole texts, however long: no model's context limits them. Of text pairs, words say which of the
    texts has them (:func:`slimcls.data.pairs.as_words`).
    """

    def __init__(self) -> None:
        self.weights = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)

    def fit(self, texts: Sequence[str]) -> None:
        """Learn vocabulary and document frequencies. Raises UserError where there is no word."""
        try:
            self.weights.fit([as_words(text) for text in texts])
        except ValueError:
            raise UserError(
                "--method tfidf: no training text has a word of two letters or more"
            ) from None

    def __call__(self, texts: Sequence[str]) -> Matrix:
        """Weights (texts, words and pairs), sparse, each text of length 1."""
        return self.weights.transform([as_words(text) for text in texts])

    def tokens(self, texts: Sequence[str]) -> list[Sized]:
        """The words of each text."""
        split = self.weights.build_tokenizer()
        return [split(text) for text in texts]

    @cached_property
    def bytes(self) -> int:
        """What it takes to keep it, vocabulary included."""
        return len(pickle.dumps(self.weights))

    @property
    def steps(self) -> list[object]:
        """As steps of a pipeline of scikit-learn's, which takes texts as ``as_words`` has them."""
        # A place in memory, by which it knows what it has checked: what is kept would never be the
        # same twice.
        vars(self.weights).pop("_stop_words_id", None)
        return [self.weights]


class Embeddings:
    """The mean of a model's own input embeddings over a text's tokens, as runs of cls have them.

    ``table`` is (vocabulary, width), float32. With ``dtype`` it is rounded to that first.
    """

    def __init__(
        self, encoder: TextEncoder, table: Tensor, dtype: torch.dtype | None = None
    ) -> None:
        self.encoder = encoder
        rounded = table.detach() if dtype is None else table.detach().to(dtype)
        # Arrays have no bfloat16.
        self.rows = (rounded.float() if dtype is torch.bfloat16 else rounded).numpy()

    def fit(self, texts: Sequence[str]) -> None:
        """Learn nothing: the embeddings are pretrained."""

    def __call__(self, texts: Sequence[str]) -> Matrix:
        """Means (texts, width), float64."""
        return means_of(self.rows, self._ids(texts))

    def tokens(self, texts: Sequence[str]) -> list[Sized]:
        """The token ids of each text."""
        return [*self._ids(texts)]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return self.encoder.encode(texts).ids

    @property
    def bytes(self) -> int:
        """What it takes to keep it, without the tokenizer."""
        return self.rows.nbytes

    @property
    def steps(self) -> list[object]:
        """As steps of a pipeline of scikit-learn's, with the tokenizer inside."""
        tokenizer = Tokenizer.from_str(self.encoder.tokenizer.backend_tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        encoder = self.encoder
        return [TokenMeans(tokenizer.to_str(), self.rows, encoder.context, encoder.max_text_tokens)]


Vectoriser = Nothing | Words | Embeddings


@dataclass(frozen=True)
class Contender:
    """A classifier to be tried, and what it would be to choose it."""

    name: str
    classifier: Learns


@dataclass(frozen=True)
class Method:
    """One rival."""

    what: str
    """Its name for people."""
    candidates: Callable[[Sequence[int], Sequence[str]], list[Contender]]
    """What to try, given the training items' classes and the classes' names; of equally good ones
    the first is taken."""
    vectoriser: Callable[[], Vectoriser]
    """Makes what turns texts into numbers, where that takes no model."""


def _constants(labels: Sequence[int], names: Sequence[str]) -> list[Contender]:
    """Each class by itself, the most frequent one in training first."""
    return [
        Contender(names[label], DummyClassifier(strategy="constant", constant=label))
        for label, _ in sorted(Counter(labels).items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def _regressions(labels: Sequence[int], names: Sequence[str]) -> list[Contender]:
    return [Contender(f"C = {c:g}", LogisticRegression(C=c, max_iter=1000)) for c in STRENGTHS]


def _scaled_regressions(labels: Sequence[int], names: Sequence[str]) -> list[Contender]:
    """On columns brought to one spread: a penalty weighs all alike."""
    return [
        Contender(plain.name, make_pipeline(StandardScaler(), plain.classifier))
        for plain in _regressions(labels, names)
    ]


def _needs_model() -> Vectoriser:
    raise TypeError("embeddings are made from a model")


#: By the name that ``--method`` takes.
RIVALS = {
    "majority": Method(CHEAP["majority"], _constants, Nothing),
    "tfidf": Method(f"{CHEAP['tfidf']} and logistic regression", _regressions, Words),
    "embeddings": Method(
        f"{CHEAP['embeddings']} and logistic regression", _scaled_regressions, _needs_model
    ),
}


class Rival:
    """A fitted method: texts in, logits out.

    Args:
        method: What to try.
        vectoriser: Not fitted yet.
        train: What to fit to.
        validation: What to choose by.
        names: Of the classes.
    """

    def __init__(
        self,
        method: Method,
        vectoriser: Vectoriser,
        train: Sequence[Example],
        validation: Sequence[Example],
        names: Sequence[str],
    ) -> None:
        self.vectoriser, self.names, self.classes = vectoriser, tuple(names), len(names)
        texts, labels = _parts(train)
        others, truth = _parts(validation)
        vectoriser.fit(texts)
        inputs, unseen = vectoriser(texts), vectoriser(others)
        #: Validation accuracy of each candidate, by name.
        self.tried: dict[str, float] = {}
        fitted = {}
        for candidate in method.candidates(labels, names):
            fitted[candidate.name] = fitted_quietly(candidate.classifier, inputs, labels)
            found = fitted[candidate.name].predict(unseen)
            self.tried[candidate.name] = float(np.mean(found == truth))
        self.chosen = max(self.tried, key=lambda name: self.tried[name])
        self.classifier = fitted[self.chosen]

    def logits(self, texts: Sequence[str]) -> Tensor:
        """Logarithms of the class probabilities (texts, classes); -inf for what cannot be."""
        return class_logits(self.classifier, self.vectoriser(texts), self.classes)

    @property
    def pipeline(self) -> Pipeline:
        """From texts to classes, as scikit-learn has it."""
        last = self.classifier
        steps = list(last) if isinstance(last, Pipeline) else [last]
        return make_pipeline(*self.vectoriser.steps, *steps)

    @property
    def megabytes(self) -> float:
        """What it takes to keep it, in 10^6 bytes."""
        return (self.vectoriser.bytes + len(pickle.dumps(self.classifier))) / 1e6


def class_logits(classifier: Learns, inputs: Matrix, classes: int) -> Tensor:
    """Logarithms of the class probabilities (texts, classes); -inf for what cannot be."""
    with np.errstate(divide="ignore"):
        logs = np.log(classifier.predict_proba(inputs))
    logits = torch.full((len(logs), classes), float("-inf"), dtype=torch.float64)
    logits[:, list(classifier.classes_)] = torch.from_numpy(logs).double()
    return logits


def coefficients(classifier: Learns) -> int:
    """Fitted coefficients and intercepts."""
    last = classifier[-1] if isinstance(classifier, Pipeline) else classifier
    return sum(getattr(last, name).size for name in ("coef_", "intercept_") if hasattr(last, name))


def latency(classify: Callable[[str], object], texts: Sequence[str], repeats: int = 20) -> float:
    """Median milliseconds for one text alone, as for a cut model."""
    times = []
    for turn in range(3 + repeats):
        started = time.perf_counter()
        classify(texts[turn % len(texts)])
        times.append(time.perf_counter() - started)
    return 1000 * median(times[3:])


def fitted_quietly(classifier: Learns, inputs: Matrix, labels: Sequence[int]) -> Learns:
    """The classifier, fitted; that it might have gone further is not said."""
    with warnings.catch_warnings():
        # At the weak end of the search the optimum lies far out: whether going there is better
        # shows long before it is reached.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Classes may be many and small, and are classes all the same.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return classifier.fit(inputs, labels)


def _parts(items: Sequence[Example]) -> tuple[list[str], list[int]]:
    return [item.text for item in items], [item.label for item in items]
