"""Stop anywhere, go on to the same numbers: checkpoints, the best weights, per-batch seeds."""

from __future__ import annotations

import csv
import io
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, cast

import lightning as L  # noqa: N812 - the library's own abbreviation
import numpy as np
import torch
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from slimcls.config import RunConfig
from slimcls.data.batches import Batch, TrainingBatches
from slimcls.errors import Interrupted
from slimcls.log import Log
from slimcls.storage.files import replacing, write_text
from slimcls.training.learner import Learner
from slimcls.training.left import BEST, LAST, save_trained
from slimcls.training.stopping import epoch_words

#: Columns of curves.csv.
CURVES = (
    "epoch",
    "step",
    "train_loss",
    "validation_accuracy",
    "validation_macro_f1",
    "learning_rate",
    "train_seconds",
)
#: Further columns, of each exit above the end of the model.
EXIT_CURVES = ("validation_accuracy_at_{}", "validation_macro_f1_at_{}")
_Handler = Callable[[int, FrameType | None], object] | int | None

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class AtomicIO(CheckpointIO):
    """Write to a temporary name, flush, rename; read with ``weights_only=True``.

    Lightning's own plugin first builds the whole file in memory.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        """Write a checkpoint so that a kill leaves the old one or the new one."""
        with replacing(Path(path)) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # what torch makes of a full disk
                raise OSError(str(error).splitlines()[0]) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: torch.device | str | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint; nothing in it is executed."""
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint that may be gone already."""
        Path(path).unlink(missing_ok=True)


class Seeds(L.Callback):
    """Seed every batch from (seed, epoch, batch, process): nothing of the generator to save."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Make dropout a function of where in the run the batch stands."""
        where = [self.seed, trainer.current_epoch, batch_idx, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(where).generate_state(1)[0]))


class Progress(L.Callback):
    """Keeps the best weights, the curves and the clock of a run over all its interruptions."""

    def __init__(self, run: Path, log: Log) -> None:
        self.run, self.report = run, log
        self.best_score, self.best_epoch = -1.0, 0
        self.curves: list[dict[str, float]] = []
        self.clock = {"train_seconds": 0.0, "examples": 0, "tokens": 0}
        self.losses = {"sum": 0.0, "items": 0}
        self._started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """All of it, for the checkpoint."""
        return {
            name: getattr(self, name)
            for name in ("best_score", "best_epoch", "curves", "clock", "losses")
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_train_batch_start(self, *args: object) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: STEP_OUTPUT,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Add up loss, items, real tokens and seconds."""
        items = len(batch.labels)
        self.losses["sum"] += float(cast("Mapping[str, Tensor]", outputs)["loss"]) * items
        self.losses["items"] += items
        self.clock["examples"] += items
        self.clock["tokens"] += int(batch.lengths.sum())
        self.clock["train_seconds"] += time.perf_counter() - self._started

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the epoch's figures; write the weights if they are the best so far."""
        assert isinstance(pl_module, Learner)
        *shallower, (accuracy, macro_f1) = pl_module.validation
        epoch = trainer.current_epoch + 1
        figures = (
            epoch,
            trainer.global_step,
            self.losses["sum"] / max(1, self.losses["items"]),
            accuracy,
            macro_f1,
            trainer.optimizers[0].param_groups[0]["lr"],
            self.clock["train_seconds"],
        )
        at_exits = exit_columns(pl_module.config, shallower)
        self.curves.append(dict(zip(CURVES, figures, strict=True)) | at_exits)
        self.losses = {"sum": 0.0, "items": 0}
        better = pl_module.monitored > self.best_score
        if better:
            self.best_score, self.best_epoch = pl_module.monitored, epoch
        if trainer.is_global_zero:
            self.report.say(
                f"{epoch_words(trainer, epoch)}: loss {self.curves[-1]['train_loss']:.3f}, "
                f"validation accuracy {accuracy:.3f}, macro-F1 {macro_f1:.3f}"
                + "".join(
                    f"; at {depth}: {scores[0]:.3f}"
                    for depth, scores in zip(pl_module.config.exits or [], shallower, strict=False)
                )
            )
            write_text(self.run / "curves.csv", as_csv(self.curves))
            if better:
                save_trained(pl_module.model, self.run / "checkpoints" / BEST)


class Resume(L.Callback):
    """Saves the state of training now and then and at a signal; must be the last callback."""

    def __init__(self, folder: Path, batches: TrainingBatches, seconds: float) -> None:
        self.path = folder / LAST
        self.batches, self.seconds = batches, seconds
        self._saved = time.monotonic()
        self._cost = 0.0
        #: The signal that asked to stop and was not answered yet, or 0.
        self.pending = 0
        self._before: dict[int, _Handler] = {}

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leave out the batches of a begun epoch that the checkpoint has seen."""
        loop = checkpoint["loops"]["fit_loop"]
        done = loop["epoch_loop.batch_progress"]["current"]["ready"] % len(self.batches)
        self.batches.start_at(loop["epoch_progress"]["current"]["processed"], done)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over Ctrl-C and SIGTERM, after Lightning has set its own handlers."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in _SIGNALS}
            for number in _SIGNALS:
                signal.signal(number, self._on_signal)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: STEP_OUTPUT,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Save inside an epoch; its last batch waits for the validation."""
        if batch_idx + 1 < len(self.batches):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save behind the validation, but not behind the last one.

        What early stopping has decided is no part of a checkpoint: a run that went on from there
        would train an epoch more.
        """
        last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if not last:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the signals back."""
        self.restore_signals()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back."""
        self.restore_signals()

    def restore_signals(self) -> None:
        """Put back the handlers that were there before training."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.pending:  # asked twice: do not wait for the batch
            raise KeyboardInterrupt
        self.pending = number

    def _save(self, trainer: L.Trainer) -> None:
        # A large checkpoint takes seconds itself: it may cost a twentieth of the time at most.
        wait = max(self.seconds, 20 * self._cost) if self.seconds else 0
        due = time.monotonic() - self._saved >= wait
        if trainer.world_size > 1:
            due = self._agree(trainer, due)
        if due or self.pending:
            started = time.monotonic()
            trainer.save_checkpoint(self.path)
            self._saved = time.monotonic()
            self._cost = self._saved - started
        if self.pending and trainer.is_global_zero:
            raise Interrupted(
                self.pending, f"stopped; saved in {self.path}; the same command goes on from there"
            )
        if self.pending:  # the first process of the run speaks for all
            raise SystemExit(128 + self.pending)

    def _agree(self, trainer: L.Trainer, due: bool) -> bool:
        """All processes save and stop at the same batch, whichever of them got the signal."""
        signals = torch.tensor(float(self.pending), device=trainer.strategy.root_device)
        self.pending = int(trainer.strategy.reduce(signals, reduce_op="max"))
        return bool(trainer.strategy.broadcast(due))


def exit_columns(config: RunConfig, scores: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Accuracy and macro-F1 of the exits above the end of a model, as curves.csv has them."""
    return {
        name.format(depth): score
        for depth, of_exit in zip(config.exits or [], scores, strict=False)
        for name, score in zip(EXIT_CURVES, of_exit, strict=True)
    }


def as_csv(rows: list[dict[str, float]]) -> str:
    """Rows as CSV under a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
