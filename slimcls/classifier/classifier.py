"""A trained model in use: texts in, classes and probabilities out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from slimcls.classifier.confidence import Confidence
from slimcls.classifier.modes import Mode
from slimcls.classifier.prediction import Predictor
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.task import Encoder
from slimcls.classifier.trunk import decoder_of, read_prefix
from slimcls.data.batches import Batch, collate
from slimcls.data.by_length import batches_by_length
from slimcls.data.encoding import FramedEncoder


class Classifier(Predictor):
    """Classifies texts with a cut model, the way it was trained.

    Batches are sorted by length and the demonstrations are read once, neither of which changes a
    prediction. Weights must not change between calls. Threads may share one: they take turns.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        mode: Mode,
        encoder: Encoder,
        labels: Sequence[str],
        confidence: Confidence | None = None,
    ) -> None:
        super().__init__(encoder, labels, confidence)
        self.model, self.mode = model.eval(), mode
        self.prefix_ids = encoder.shared_prefix_ids()
        self._prefix: Prefix | None = None
        # A batch changes the model's modules for as long as it is computed.
        self._turn = threading.Lock()

    @torch.inference_mode()
    def logits(
        self,
        ids: Sequence[list[int]],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
    ) -> Tensor:
        """Logits (texts, classes), float32, of whole encoded texts, in their order."""
        logits = torch.zeros(len(ids), len(self.labels))
        for places, batch in self._batches(ids, batch_size):
            with self._turn:
                found = self.mode.logits(self.model, batch, self.read_prefix())
            logits[places] = found[-1].cpu()
            if done:
                done(len(places))
        return logits

    def _batches(
        self, ids: Sequence[list[int]], batch_size: int
    ) -> Iterator[tuple[list[int], Batch]]:
        """Texts of like lengths together, without what all begin with, and their places."""
        rest = [item[len(self.prefix_ids) :] for item in ids]
        for places in batches_by_length([len(item) for item in rest], batch_size):
            batch = collate([(place, rest[place], 0) for place in places], 0)
            yield places, batch.to(self.model.device)

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

    def read_prefix(self) -> Prefix | None:
        """What every text begins with, with its keys and values; None where it is nothing."""
        if self._prefix is None and self.prefix_ids:
            ids = torch.tensor(self.prefix_ids, device=self.model.device)
            self._prefix = read_prefix(decoder_of(self.model), ids)
        return self._prefix
