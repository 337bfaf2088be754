"""A trained model in use: texts in, classes and probabilities out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from slimcls.classifier.modes import Mode
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.task import Encoder
from slimcls.classifier.trunk import decoder_of, read_prefix
from slimcls.data.batches import batches_by_length, collate
from slimcls.data.encoding import FramedEncoder
from slimcls.errors import UserError


@dataclass(frozen=True)
class Prediction:
    """The class of one text."""

    label: str
    """Name of the most probable class."""
    probabilities: dict[str, float]
    """Probability of each class, by name, in the data set's order of classes."""

    def columns(self, label: str = "label") -> dict[str, str | float]:
        """As a row of a file has it; ``label`` names the column of the class."""
        shares = {f"probability_{name}": share for name, share in self.probabilities.items()}
        return {label: self.label} | shares


class Classifier:
    """Classifies texts with a cut model, the way it was trained.

    Batches are sorted by length and the demonstrations are read once, neither of which changes a
    prediction. Weights must not change between calls. Threads may share one: they take turns.
    """

    def __init__(
        self, model: PreTrainedModel, mode: Mode, encoder: Encoder, labels: Sequence[str]
    ) -> None:
        self.model, self.mode = model.eval(), mode
        self.encoder, self.labels = encoder, list(labels)
        self.prefix_ids = shared_prefix(encoder)
        self._prefix: Prefix | None = None
        # A batch changes the model's modules for as long as it is computed.
        self._turn = threading.Lock()

    def predict(
        self,
        texts: str | Iterable[str],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
    ) -> list[Prediction]:
        """Classify a text, or texts (a list, a column); ``done`` is told how many each batch had.

        Raises UserError for what is no string, and where the model gives no finite numbers, with
        the place of the text.
        """
        logits = self.logits(self.encoder.encode(_listed(texts)).ids, batch_size, done)
        for place in (~logits.isfinite().all(1)).nonzero().flatten().tolist():
            raise UserError(
                f"the logits of texts[{place}] are not finite: {logits[place].tolist()}"
            )
        rows = logits.softmax(1).tolist()
        names = [self.labels[place] for place in logits.argmax(1).tolist()]
        return [
            Prediction(name, dict(zip(self.labels, row, strict=True)))
            for name, row in zip(names, rows, strict=True)
        ]

    @torch.inference_mode()
    def logits(
        self,
        ids: Sequence[list[int]],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
    ) -> Tensor:
        """Logits (texts, classes), float32, of whole encoded texts, in their order."""
        logits = torch.zeros(len(ids), len(self.labels))
        rest = [item[len(self.prefix_ids) :] for item in ids]
        device = self.model.device
        for places in batches_by_length([len(item) for item in rest], batch_size):
            batch = collate([(place, rest[place], 0) for place in places], 0).to(device)
            with self._turn:
                found = self.mode.logits(self.model, batch, self._read_prefix())
            logits[places] = found[-1].cpu()
            if done:
                done(len(places))
        return logits

    def latency(self, texts: Sequence[str], repeats: int = 20) -> float:
        """Median milliseconds for one text alone, tokenising included."""
        times = []
        for turn in range(3 + repeats):
            started = time.perf_counter()
            self.predict([texts[turn % len(texts)]])
            times.append(time.perf_counter() - started)
        return 1000 * median(times[3:])

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The model's, with no prompt in it."""
        if isinstance(self.encoder, FramedEncoder):
            return self.encoder.without_prompt()
        return self.encoder.tokenizer

    def _read_prefix(self) -> Prefix | None:
        if self._prefix is None and self.prefix_ids:
            ids = torch.tensor(self.prefix_ids, device=self.model.device)
            self._prefix = read_prefix(decoder_of(self.model), ids)
        return self._prefix


def _listed(given: str | Iterable[str]) -> list[str]:
    """A string is one text, and not as many as it has letters."""
    if isinstance(given, str):
        return [given]
    # A table's iterator gives its columns' names.
    if not isinstance(given, Iterable) or getattr(given, "ndim", 1) != 1:
        raise UserError(f"texts are {type(given).__name__}, not a list or column of strings")
    texts = list(given)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"texts[{place}] is {text!r:.40}, not a string; leave it out")
    return texts


def shared_prefix(encoder: Encoder) -> list[int]:
    """Token ids that every text encoded here begins with."""
    return encoder.shared_prefix_ids()
