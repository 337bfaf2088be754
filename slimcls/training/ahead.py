"""How far training is and how long it will take: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn

import lightning as L  # noqa: N812 - the library's own abbreviation
from torch import Tensor
from tqdm import tqdm

from slimcls.log import Log, duration
from slimcls.training.stopping import epoch_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slimcls.data.batches import Batch

    Bar = tqdm[NoReturn]

#: Least seconds between two lines.
EVERY = 60.0


class Ahead(L.Callback):
    """Says how far training is. ``steps`` are those of the whole run, had nothing stopped it early.

    The time left is that of the steps left at the pace of this process so far, validation included.
    """

    def __init__(self, steps: int, log: Log, *, bar: bool) -> None:
        self.steps, self.report, self.wants_bar = steps, log, bar
        self._bar: Bar | None = None
        self._first, self._started, self._said = 0, 0.0, 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock where this process goes on."""
        self._first = trainer.global_step
        self._started = self._said = time.monotonic()
        if self.wants_bar and trainer.is_global_zero:
            self._bar = tqdm(total=self.steps, initial=self._first, unit="step", leave=False)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Mapping[str, Tensor] | None,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Move the bar, or say a line where the last one is old enough."""
        epoch = epoch_words(trainer, trainer.current_epoch + 1)
        if self._bar is not None:
            self._bar.set_description(epoch, refresh=False)
            self._bar.update(trainer.global_step - self._bar.n)
        elif trainer.is_global_zero and time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            done = trainer.global_step
            each = (self._said - self._started) / max(1, done - self._first)
            left = duration(each * (self.steps - done))
            sure = "at most" if trainer.early_stopping_callback else "about"
            self.report.say(f"{epoch}, step {done:,} of {self.steps:,}: {sure} {left} left")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the bar away."""
        self._close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
