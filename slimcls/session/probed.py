"""What a probe has answered to a run's test items, kept for all runs on the same items.

Fitting a probe takes minutes: it is done where one is asked for, and found again by content.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from slimcls.session.inputs import Inputs
from slimcls.storage.cache import build_once, cache_dir
from slimcls.storage.vectors import digest
from slimcls.training.depths import DepthStates

_FILE = "answers.safetensors"


def keep_answers(states: DepthStates, inputs: Inputs, logits: Tensor, layers: int) -> None:
    """Keep logits (test items, classes) of a probe that reads the output of ``layers`` layers.

    Raises UserError where the cache cannot be written.
    """
    tensors = {"logits": logits.contiguous(), "layers": torch.tensor(layers)}
    build_once(_folder(states, inputs), lambda folder: save_file(tensors, folder / _FILE))


def kept_answers(states: DepthStates, inputs: Inputs) -> tuple[Tensor, int] | None:
    """What :func:`keep_answers` kept for these items; None where no probe was fitted to them."""
    path = _folder(states, inputs) / _FILE
    if not path.is_file():
        return None
    found = load_file(path)
    return found["logits"], int(found["layers"])


def _folder(states: DepthStates, inputs: Inputs) -> Path:
    splits = inputs.splits
    parts = (inputs.train, inputs.validation, inputs.test)
    made_from = [
        states.identity(inputs.encoder.shared_prefix_ids()),
        [[digest(ids).hex() for ids in part] for part in parts],
        [[item.label for item in part] for part in (splits.train, splits.validation)],
        len(inputs.task.labels),
    ]
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]
    return cache_dir() / "probes" / key
