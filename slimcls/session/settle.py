"""Settings left open (``auto``, defaults that depend on the model) get their values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from slimcls.config import Precision, RunConfig
from slimcls.devices import Accelerator, accelerator_for
from slimcls.errors import UserError
from slimcls.kinds import LM_LOSSES
from slimcls.training.rates import learning_rate


def settle(config: RunConfig, layers: Sequence[int], depth: int) -> RunConfig:
    """The same run with nothing left open: what is saved, hashed and reported.

    ``layers`` are those that stay of the ``depth`` that the model has. Without a cut it does not
    matter what would have chosen: ``select`` is then ``first``.

    Raises:
        UserError: a device or arithmetic that this machine lacks.
    """
    accelerator = accelerator_for(config.accelerator)
    # An exit was trained at the rates of them all.
    deepest = max([len(layers), *(config.exits or [])])
    return dataclasses.replace(
        config,
        keep=len(layers),
        layers=list(layers),
        select="first" if config.keep == "all" else config.select,
        accelerator=accelerator,
        precision=_precision(config.precision, accelerator),
        lm_loss=(config.lm_loss or LM_LOSSES[0]) if config.mode == "lm" else None,
        lr=config.lr or learning_rate(config.tune, deepest, depth),
    )


def _precision(wanted: Precision, accelerator: Accelerator) -> Precision:
    """The arithmetic of a device. Raises UserError for float16 where only GPUs train in it."""
    if wanted == "16" and accelerator != "gpu":
        raise UserError(f"--precision 16: only on a GPU, not on {accelerator}; use bf16 or 32")
    if wanted != "auto":
        return wanted
    return "bf16" if accelerator == "gpu" and torch.cuda.is_bf16_supported(False) else "32"
