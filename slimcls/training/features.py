"""A head trained on a frozen backbone: what goes into it is computed once for each text.

With ``--tune head`` the hidden state that the head reads is a constant of the text. It is kept on
disk as :mod:`slimcls.training.frozen` keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from slimcls.backbones.sources import Source
from slimcls.classifier.modes import Classification, Mode, head_of
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.trunk import last_tokens
from slimcls.config import RunConfig
from slimcls.data.batches import Batch
from slimcls.log import Log
from slimcls.storage.vectors import digest
from slimcls.training.frozen import Frozen, Reading, origin_of


def _last(base: PreTrainedModel, batch: Batch, prefix: Prefix | None) -> Tensor:
    """What goes into a head (items, hidden), float32."""
    return last_tokens(base, batch, prefix)[:, 0].float()


class Features:
    """Final hidden states of the last token of each text, from a model's frozen backbone.

    ``device`` is where they are computed; the model is moved there.
    """

    def __init__(
        self, model: PreTrainedModel, config: RunConfig, source: Source, device: str, log: Log
    ) -> None:
        self.model = model
        seed = config.seed if config.random_blocks else None
        origin = origin_of(source, config.layers or [], device, seed)
        # The first reading there was has no name in the names of its folders.
        self._frozen = Frozen(lambda: model, origin, Reading("", _last), device, log)

    def of(self, items: Sequence[list[int]], prefix: list[int], precision: str) -> Tensor:
        """Vectors (items, hidden), float32, of token ids that follow those of ``prefix``.

        What no run has computed before is computed now. ``precision`` is that of the arithmetic.
        """
        return self._frozen.of(items, prefix, precision)

    def mode(self, plain: Mode, items: Sequence[list[int]], prefix: list[int], to: str) -> Mode:
        """A mode that finds these items' vectors where ``plain`` computes them.

        ``to`` is the precision of training.
        """
        return OnFeatures(plain, items, self.of(items, prefix, to))

    @torch.inference_mode()
    def logits(self, items: Sequence[list[int]], prefix: list[int]) -> Tensor:
        """Logits (items, classes) of the head as it is, float32, as a classifier in use has them.

        ``items`` begin with ``prefix``.
        """
        vectors = self.of([ids[len(prefix) :] for ids in items], prefix, "32")
        head = head_of(self.model)
        return head(vectors.to(head.weight.device)).float().cpu()


class OnFeatures(Classification):
    """``p-cls`` or ``cls`` with vectors that were computed before: only the head has work to do."""

    def __init__(self, plain: Mode, items: Sequence[list[int]], vectors: Tensor) -> None:
        self.class_weights, self.soft_targets = plain.class_weights, plain.soft_targets
        self._vectors = vectors
        self._rows = {digest(ids): row for row, ids in enumerate(items)}

    def logits(self, model: PreTrainedModel, batch: Batch, prefix: Prefix | None) -> Tensor:
        self._vectors = self._vectors.to(batch.labels.device)
        real = zip(batch.input_ids.tolist(), batch.lengths.tolist(), strict=True)
        rows = [self._rows[digest(ids[:length])] for ids, length in real]
        return head_of(model)(self._vectors[rows]).float()[None]
