"""What an exported classifier says of texts, beside the run that it was made from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimcls.classifier import confidence
from slimcls.classifier.confidence import Confidence
from slimcls.classifier.prediction import Predictor
from slimcls.data.pairs import Pair, parts_of
from slimcls.errors import UserError
from slimcls.statistics import SeedItems, paired_difference

#: Texts that tokenizers and padding stumble over.
ODD = (
    "", " ", "a", "  blanks around it \n", "A line\r\nand another\n\n\tand a tab",
    "\u00e9 and e\u0301, \u4e2d\u6587, \U0001f600", "\u2028\u00a0\u3000odd blanks\u200b",
    "\x00\x07", "<|endoftext|></s><s><pad><unk>[PAD]<|im_end|>", "don't, won't...",
    "{text} {label}", "0123456789" * 40, "word " * 2000, "x" * 5000, "12 days of rain; it's cold.",
)  # fmt: skip

#: Most that a logit of the graph in 32 bits may differ by, of the largest or of 1.
WITHIN = 1e-4
#: Texts that are timed, alone and in batches.
ALONE, TOGETHER = 100, 512


@dataclass(frozen=True)
class Compared:
    """Of some texts, what the run and the exported classifier make of them."""

    texts: int
    labels_differ: int
    """Texts with another label."""
    logits_differ: float
    """The largest difference of a logit."""
    probabilities_differ: float
    """The largest difference of a class's probability."""

    @property
    def share(self) -> float:
        """Per cent of the texts that have another label."""
        return 100 * self.labels_differ / self.texts


@dataclass(frozen=True)
class Accuracies:
    """Of labelled texts."""

    run: float
    exported: float
    difference: float
    """Exported minus run, with its paired 95 % interval over the texts."""
    low: float
    high: float


@dataclass(frozen=True)
class Speed:
    """Of the exported classifier on the machine that exported it, tokenising included."""

    one_text_p50_ms: float
    one_text_p95_ms: float
    texts_per_second: float
    """In batches of 64."""


@dataclass(frozen=True)
class Calibration:
    """The exported classifier's probabilities at the run's temperature and at its own."""

    temperature_of_run: float
    temperature: float
    """Fitted to the exported classifier."""
    loss_before: float
    """Mean negative log-likelihood of labelled texts, in nats, at the run's temperature."""
    loss: float
    """At its own."""


def odd_texts(run: Predictor) -> Sequence[str]:
    """Texts, or pairs of such, that tokenizers and padding stumble over."""
    if run.pair is None:
        return ODD
    return [Pair(*pair) for pair in zip(ODD, (*ODD[5:], *ODD[:5]), strict=True)]


def check_tokens(run: Predictor, exported: Predictor, texts: Sequence[str]) -> None:
    """UserError where the exported tokenizer gives other tokens."""
    encoded = [side.encoder.encode(texts).ids for side in (run, exported)]
    for text, ours, theirs in zip(texts, *encoded, strict=True):
        if ours != theirs:
            raise UserError(
                f"the exported tokenizer gives other tokens than the run's for {text!r:.60}"
            )


class Outcome:
    """What both make of some texts, from which everything is compared."""

    def __init__(self, run: Predictor, exported: Predictor, texts: Sequence[str]) -> None:
        self._run, self._exported = (
            np.asarray(side.logits(side.encoder.encode(texts).ids), dtype=np.float64)
            for side in (run, exported)
        )

    def compared(self) -> Compared:
        """Labels, logits and probabilities."""
        logits = float(np.abs(self._run - self._exported).max())
        run, exported = map(confidence.probabilities, (self._run, self._exported))
        shares = float(np.abs(run - exported).max())
        return Compared(len(self._run), int(self._differ().sum()), logits, shares)

    def accuracies(self, labels: Sequence[int]) -> Accuracies:
        """How right both are."""
        wanted = np.asarray(labels)
        ids = np.arange(len(wanted))
        run, exported = (
            SeedItems(0, ids, side.argmax(1) == wanted) for side in (self._run, self._exported)
        )
        found = paired_difference([exported], [run])
        right, kept = (float(side.correct.astype(float).mean()) for side in (run, exported))
        return Accuracies(right, kept, found.mean, found.low, found.high)

    def confidence(self, labels: Sequence[int]) -> Confidence:
        """What the exported classifier's probabilities are worth, by these texts' true classes."""
        return confidence.measured(self._exported, labels)

    def calibration(self, of_run: float, own: float, labels: Sequence[int]) -> Calibration:
        """The exported classifier's probabilities at two temperatures, the run's and its own."""
        before, after = (
            confidence.log_likelihood_loss(confidence.probabilities(self._exported, one), labels)
            for one in (of_run, own)
        )
        return Calibration(of_run, own, before, after)

    def check_graph(self) -> None:
        """UserError where the graph in 32 bits does not compute what the model does."""
        apart = np.abs(self._run - self._exported).max()
        if not apart <= WITHIN * max(1.0, np.abs(self._run).max()):
            raise UserError(
                f"the exported graph gives other logits than the run (by {apart:.2g}): "
                "this kind of model cannot be exported yet"
            )

    def _differ(self) -> NDArray[np.bool_]:
        return self._run.argmax(1) != self._exported.argmax(1)


def measured(exported: Predictor, texts: Sequence[str]) -> Speed:
    """How fast it is on these texts, alone and together, after a first turn that does not count."""
    some = [text for text in texts if all(part.strip() for part in parts_of(text))] or ["a text"]
    alone = [some[place % len(some)] for place in range(ALONE)]
    together = [some[place % len(some)] for place in range(TOGETHER)]
    exported.predict(together[:64])
    took = []
    for text in alone:
        started = time.perf_counter()
        exported.predict([text])
        took.append(1000 * (time.perf_counter() - started))
    started = time.perf_counter()
    exported.predict(together)
    rate = len(together) / (time.perf_counter() - started)
    half, most = np.percentile(took, [50, 95]).tolist()
    return Speed(half, most, rate)
