"""Settings left open (``auto``, defaults that depend on the model) get their values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from slimcls.config import Precision, RunConfig
from slimcls.devices import Accelerator, accelerator_for, multiplies_bf16
from slimcls.errors import UserError
from slimcls.kinds import LM_LOSSES
from slimcls.training.rates import learning_rate
from slimcls.training.steps import items_a_batch

#: Tokens of a step from which on bf16 on a processor saves enough: every weight is turned into bf16
#: and every gradient back, whatever a step holds (benchmarks/bf16.py).
ENOUGH_TOKENS = 256


def settle(config: RunConfig, layers: Sequence[int], depth: int, tokens: float) -> RunConfig:
    """The same run with nothing left open: what is saved, hashed and reported.

    ``layers`` are those that stay of the ``depth`` that the model has. Without a cut it does not
    matter what would have chosen: ``select`` is then ``first``. ``tokens`` are those of a training
    text, about (see :func:`slimcls.data.lengths.about_tokens`).

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
        precision=precision_of(config, accelerator, tokens),
        lm_loss=(config.lm_loss or LM_LOSSES[0]) if config.mode == "lm" else None,
        lr=config.lr or learning_rate(config.tune, deepest, depth, probe_first=config.probe_first),
    )


def precision_of(config: RunConfig, accelerator: Accelerator, tokens: float) -> Precision:
    """The arithmetic of a run on a device, with texts of about so many tokens.

    Raises UserError for float16 where only GPUs train in it.
    """
    wanted = config.precision
    if wanted == "16" and accelerator != "gpu":
        raise UserError(f"--precision 16: only on a GPU, not on {accelerator}; use bf16 or 32")
    if wanted != "auto":
        return wanted
    if accelerator == "gpu":
        return "bf16" if torch.cuda.is_bf16_supported(False) else "32"
    enough = tokens * items_a_batch(config, max(1, round(tokens))) >= ENOUGH_TOKENS
    return "bf16" if accelerator == "cpu" and enough and multiplies_bf16() else "32"
