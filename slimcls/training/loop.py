"""Lightning's Trainer around the learner: epochs, validation, early stopping, going on."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - the library's own abbreviation
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from slimcls.backbones import vocabulary
from slimcls.backbones.left_rows import left_out, left_rows_of
from slimcls.backbones.vocabulary import Compact
from slimcls.backbones.weights import not_finite
from slimcls.classifier import trunk
from slimcls.classifier.modes import Mode
from slimcls.config import RunConfig
from slimcls.data.batches import Items, TrainingBatches, collate
from slimcls.data.by_length import batches_by_length
from slimcls.devices import torch_device
from slimcls.errors import Diverged, Interrupted, UserError
from slimcls.log import Log
from slimcls.storage.files import write_text
from slimcls.training.ahead import Ahead
from slimcls.training.checkpoints import CURVES, EXIT_CURVES, AtomicIO, Progress, Resume, Seeds
from slimcls.training.learner import Learner, rates, trained_state
from slimcls.training.left import BEST, LAST, TRAINED, drop_damaged, load_trained
from slimcls.training.steps import rows_trained
from slimcls.training.stopping import most_epochs, patience


@dataclass
class Fitted:
    """What training came to."""

    best_epoch: int = 0
    epochs_run: int = 0
    validation_accuracy: float = float("nan")
    validation_macro_f1: float = float("nan")
    train_seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    params_trained: int = 0
    steps: int = 0
    """Steps of the whole run, had nothing stopped it early."""
    best_step: int = 0
    """Steps behind the best weights."""
    converged: bool = False
    """Whether validation had stopped improving: as many epochs as patience has, or one, brought
    nothing better."""
    losses: list[float] = field(default_factory=list)
    """Mean training loss of each epoch, the sum over depths."""
    at_exits: list[list[float]] = field(default_factory=list)
    """Validation accuracy and macro-F1 of each exit above the end of the model."""

    def at(self, scores: list[float]) -> Fitted:
        """The same with the validation scores of an exit."""
        accuracy, macro_f1 = scores
        return replace(self, validation_accuracy=accuracy, validation_macro_f1=macro_f1)


@dataclass(frozen=True)
class Work:
    """What a fit needs."""

    model: PreTrainedModel
    """A transformers model, trained in place."""
    mode: Mode
    config: RunConfig
    train: Items
    validation: Items
    prefix: list[int]
    """Token ids that all items begin with and that ``train`` and ``validation`` leave out."""
    folder: Path
    """The run directory."""
    log: Log

    @property
    def checkpoints(self) -> Path:
        """Where the state of training is kept until the run is finished."""
        return self.folder / "checkpoints"


def fit(work: Work) -> Fitted:
    """Train; the model is left with the weights of the best epoch.

    Goes on from the run's checkpoint where there is one. Raises UserError where the loss is no
    number any more, and Interrupted after Ctrl-C or SIGTERM.
    """
    config, model = work.config, work.model
    count = sum(p.numel() for p in model.parameters() if p.requires_grad) + left_out(model)
    if config.epochs == 0:
        write_text(work.folder / "curves.csv", ",".join(CURVES) + "\n")
        return Fitted(params_trained=count)
    drop_damaged(work.checkpoints, work.log)
    compact = _compact(work)
    fitted = _trained_before(work) or _train(work, count)
    load_trained(model, work.checkpoints / BEST)
    if compact:
        decayed = rates(config, fitted.steps, fitted.best_step)
        device = torch_device(config.accelerator)
        compact.restore(decayed, config.weight_decay, device)
        if left := left_rows_of(model):
            left.decays.append((tuple(decayed), config.weight_decay, device))
    if name := not_finite(trained_state(model)):
        raise Diverged(
            f"{name} is not finite after training: try a lower --lr, more --warmup, --clip 1 or "
            "--precision 32"
        )
    return fitted


def begun(work: Work) -> bool:
    """Whether there is something to go on from, which holds all weights that are trained."""
    drop_damaged(work.checkpoints, work.log)
    return any((work.checkpoints / name).exists() for name in (LAST, TRAINED))


def _compact(work: Work) -> Compact | None:
    """The model with the embedding rows that this work reads, where the others need no gradient."""
    pads = [[work.model.config.pad_token_id]]
    items = (work.train.ids, work.validation.ids, [work.prefix], pads)
    ids = vocabulary.in_use(*items, work.mode.word_ids)
    rows = rows_trained(work.config, work.model.config, len(ids))
    return None if rows is None else Compact(work.model, ids)


def _trained_before(work: Work) -> Fitted | None:
    """What a process found that was stopped behind training."""
    path = work.checkpoints / TRAINED
    return Fitted(**json.loads(path.read_text())) if path.exists() else None


def _train(work: Work, count: int) -> Fitted:
    """Train to the end, with the best weights under ``checkpoints/``."""
    progress, steps, ended, stopped = _run_trainer(work)
    best = progress.curves[progress.best_epoch - 1]
    fitted = Fitted(
        best_epoch=progress.best_epoch,
        epochs_run=len(progress.curves),
        validation_accuracy=best["validation_accuracy"],
        validation_macro_f1=best["validation_macro_f1"],
        train_seconds=progress.clock["train_seconds"],
        examples=int(progress.clock["examples"]),
        tokens=int(progress.clock["tokens"]),
        params_trained=count,
        steps=steps,
        best_step=int(best["step"]),
        converged=ended,
        losses=[epoch["train_loss"] for epoch in progress.curves],
        at_exits=[
            [best[name.format(depth)] for name in EXIT_CURVES]
            for depth in (work.config.exits or [])[:-1]
        ],
    )
    write_text(work.checkpoints / TRAINED, json.dumps(asdict(fitted)))
    (work.checkpoints / LAST).unlink(missing_ok=True)
    if stopped:
        raise Interrupted(stopped, "stopped after training; the same command tests and saves")
    return fitted


def _run_trainer(work: Work) -> tuple[Progress, int, bool, int]:
    """Train; what came of it, all steps, whether it converged, and the signal to stop, or 0."""
    config, progress = work.config, Progress(work.folder, work.log)
    with _quiet(), _compiled(work):
        trainer: Any = _trainer(config, work.folder)
        batches = TrainingBatches(
            [len(ids) for ids in work.train.ids],
            config.batch_size,
            config.seed,
            tokens=config.batch_tokens,
            epochs=config.epochs,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        resume = Resume(work.checkpoints, batches, config.checkpoint_seconds)
        epochs, waits = most_epochs(config, len(batches)), patience(config, len(batches))
        trainer.fit_loop.max_epochs = epochs
        steps = epochs * len(batches)
        ahead = Ahead(steps, work.log, bar=work.log.bars)
        # Resume saves what the callbacks before it have noted.
        trainer.callbacks += [Seeds(config.seed), progress, ahead, *_stopping(waits), resume]
        learner = Learner(work.model, work.mode, config, steps=steps, prefix_ids=work.prefix)
        learner.train()
        last = work.checkpoints / LAST
        if last.exists():
            work.log.say(f"going on from {last}")
        try:
            trainer.fit(
                learner,
                *_loaders(work, batches, trainer),
                ckpt_path=str(last) if last.exists() else None,
                weights_only=True,
            )
        finally:
            resume.restore_signals()
    if trainer.global_rank:
        # Only the first process of a run tests and writes.
        sys.exit(0)
    ended = len(progress.curves) - progress.best_epoch >= max(1, waits)
    return progress, steps, ended, resume.pending


def _compiled(work: Work) -> AbstractContextManager[None]:
    return trunk.compiled(trunk.decoder_of(work.model)) if work.config.compile else nullcontext()


def _stopping(waits: int) -> list[Callback]:
    if not waits:
        return []
    # Lightning would else ask it behind every other callback, Resume's save included.
    when = {"check_on_train_epoch_end": False}
    return [EarlyStopping("monitored", patience=waits, mode="max", **when)]


def _loaders(
    work: Work, batches: TrainingBatches, trainer: L.Trainer
) -> tuple[DataLoader[tuple[int, list[int], int]], ...]:
    pad = partial(collate, pad_id=work.model.config.pad_token_id)
    validation = _validation_batches(work.validation, work.config, trainer)
    return (
        DataLoader(work.train, batch_sampler=batches, collate_fn=pad),
        DataLoader(work.validation, batch_sampler=validation, collate_fn=pad),
    )


def _trainer(config: RunConfig, folder: Path) -> L.Trainer:
    precision = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[config.precision]
    return L.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy=config.strategy,
        precision=precision,  # type: ignore[arg-type]
        logger=_logger(config, folder),
        plugins=[AtomicIO()],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=10,
        default_root_dir=folder,
    )


def _validation_batches(items: Items, config: RunConfig, trainer: L.Trainer) -> list[list[int]]:
    processes = trainer.world_size
    if len(items) < processes:
        raise UserError(f"{len(items)} validation items for {processes} processes: fewer --devices")
    # Every process needs a batch.
    size = min(config.eval_batch_size, len(items) // processes)
    return batches_by_length([len(ids) for ids in items.ids], size)[
        trainer.global_rank :: processes
    ]


def _logger(config: RunConfig, folder: Path) -> Logger | bool:
    """The library's logger beside ``curves.csv``; UserError where its package is missing."""
    if config.logger == "csv":
        return False
    from lightning.pytorch import loggers

    try:
        if config.logger == "tensorboard":
            return loggers.TensorBoardLogger(folder, name="", version="tensorboard")
        if config.logger == "mlflow":
            return loggers.MLFlowLogger("slimcls", run_name=folder.name)
        return loggers.WandbLogger(name=folder.name, project="slimcls", save_dir=folder)
    except ModuleNotFoundError:
        name = config.logger
        raise UserError(f"--logger {name}: its package is missing; pip install {name}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's hints about hardware and workers out of a run's output."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        yield
