"""A classifier whose texts leave at the first exit that is sure, and its file beside the weights.

``model/`` stays the plain folder of the deepest cut. What the exits above have of their own, a norm
and a head each, lies in :data:`EXITS_FILE`, which nothing but slimcls opens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from slimcls.backbones.truncate import depth_of
from slimcls.backbones.weights import check_finite_weights
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.early import EarlyRule
from slimcls.classifier.exits import EXITS, add_exits
from slimcls.classifier.leaving import leave_early
from slimcls.errors import UserError
from slimcls.storage.hashes import sha256_of

#: Norms and heads of the exits above a model's end, by their number and place.
EXITS_FILE = "exits.safetensors"


class Cascade(Classifier):
    """Asks a text as many layers as it takes for an exit to be sure of it.

    A text gets the class that the cut to its exit's depth gives it. The logits are divided by the
    exit's own temperature.
    """

    def __init__(self, deepest: Classifier, rule: EarlyRule) -> None:
        """``deepest`` is a classifier whose model has the rule's exits."""
        super().__init__(
            deepest.model, deepest.mode, deepest.encoder, deepest.labels, rule.confidence
        )
        self.rule = rule

    def logits(
        self,
        ids: Sequence[list[int]],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
    ) -> Tensor:
        return self.scored(ids, batch_size, done)[0]

    @torch.inference_mode()
    def scored(
        self,
        ids: Sequence[list[int]],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
    ) -> tuple[Tensor, list[int | None]]:
        """Logits (texts, classes), float32, and how many layers each text was seen by."""
        logits = torch.zeros(len(ids), len(self.labels))
        ends = torch.zeros(len(ids), dtype=torch.long)
        heats = torch.tensor(self.rule.temperatures)
        for places, batch in self._batches(ids, batch_size):
            with self._turn:
                left = leave_early(self.model, self.mode, batch, self.read_prefix(), self._sure)
            ends[places] = left.ends.cpu()
            logits[places] = left.logits.float().cpu() / heats[ends[places]][:, None]
            if done:
                done(len(places))
        return logits, [self.rule.depths[end] for end in ends.tolist()]

    def _sure(self, number: int, logits: Tensor) -> Tensor:
        shares = (logits / self.rule.temperatures[number]).softmax(1)
        return shares.amax(1) >= self.rule.threshold


def open_cascade(folder: Path, deepest: Classifier, rule: EarlyRule) -> Cascade:
    """The cascade of a folder whose deepest cut is open already; its model gets the exits.

    Raises UserError where the file of exits is damaged, or not of the same run.
    """
    path = folder / EXITS_FILE
    try:
        found = sha256_of(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {_AGAIN}") from None
    if found != rule.sha256:
        raise UserError(
            f"{path}: is damaged or of another run (slimcls.json has another hash); {_AGAIN}"
        )
    model = deepest.model
    if rule.depths[-1] != (depth := depth_of(model.config)):
        raise UserError(
            f"{folder}: its exits end at {rule.depths[-1]} layers, its model at {depth}; {_AGAIN}"
        )
    add_exits(model, rule.depths[:-1])
    exits = model.get_submodule(EXITS)
    try:
        tensors = load_file(path)
        exits.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()[:160]
        raise UserError(f"{path}: does not fit the model ({reason}); {_AGAIN}") from None
    check_finite_weights(tensors, str(path))
    return Cascade(deepest, rule)


_AGAIN = "run slimcls cascade again, or open the folder without leaving early"
