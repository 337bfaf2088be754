"""How long training goes: warm-up, patience and the most steps, in one place.

What is left open is measured in steps, not in epochs, where there are few of them: an epoch of a
hundred texts is six steps, and four such say nothing of whether a model has learnt what it can.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slimcls.config import RunConfig

if TYPE_CHECKING:
    import lightning as L  # noqa: N812 - the library's own abbreviation

#: Steps of warm-up, and the share of all that they are at most.
WARM, WARM_SHARE = 50, 0.1
#: Epochs without a better validation score before training stops, and the steps they have at least.
PATIENCE, PATIENCE_STEPS = 4, 100


def warm_steps(config: RunConfig, steps: int) -> int:
    """Steps in which the learning rate rises, of a run that has ``steps`` at most."""
    if config.warmup is None:
        return min(WARM, math.ceil(WARM_SHARE * steps))
    return int(config.warmup) if config.warmup >= 1 else math.ceil(config.warmup * steps)


def patience(config: RunConfig, epoch_steps: int) -> int:
    """Epochs without a better validation score before training stops; 0 where it never does."""
    if config.patience is None:
        return max(PATIENCE, -(-PATIENCE_STEPS // epoch_steps))
    return config.patience


def most_epochs(config: RunConfig, epoch_steps: int) -> int:
    """Epochs of a run that nothing stops early: whole ones, of which --steps wants so many."""
    if config.steps is None:
        return config.epochs
    return min(config.epochs, -(-config.steps // epoch_steps))


def epoch_words(trainer: L.Trainer, epoch: int) -> str:
    """Where training is, as in ``epoch 3 of 5``; epochs count from 1."""
    early = trainer.early_stopping_callback is not None
    return f"epoch {epoch} of {'at most ' if early else ''}{trainer.max_epochs}"
