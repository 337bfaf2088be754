"""The one LightningModule: loss, optimiser, schedule, validation score."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning as L  # noqa: N812 - the library's own abbreviation
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from slimcls.backbones.vocabulary import matrices
from slimcls.classifier.accuracy import accuracy_and_f1
from slimcls.classifier.modes import Mode
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.trunk import decoder_of, read_prefix
from slimcls.config import RunConfig
from slimcls.data.batches import Batch
from slimcls.errors import Diverged
from slimcls.training.rates import embedding_rate, parameter_groups
from slimcls.training.stopping import warm_steps

#: Share of the peak learning rate, by step and number of steps behind the warm-up: those of
#: transformers' get_scheduler, whose module imports peft and what quantises wherever it is there.
_SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "constant": lambda step, steps: 1.0,
    "linear": lambda step, steps: (steps - step) / steps,
    "cosine": lambda step, steps: (1 + math.cos(math.pi * (step / steps))) / 2,
}

#: Tokens that attend to each other at most where plain products are quicker in bf16 on a processor.
SHORT = 128


class Learner(L.LightningModule):
    """Trains what ``requires_grad`` of a transformers model, by the strategy of a mode.

    ``prefix_ids`` are the token ids that every item begins with and that the batches leave out;
    empty where nothing is shared. ``steps`` is the number of optimiser steps of a whole run.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        mode: Mode,
        config: RunConfig,
        *,
        steps: int,
        prefix_ids: list[int],
    ) -> None:
        super().__init__()
        # A checkpoint holds what is trained; the rest comes from the source again.
        self.strict_loading = False
        self.model, self.mode, self.config, self.steps = model, mode, config, steps
        self.prefix_ids = prefix_ids
        #: Accuracy and macro-F1 of the last validation, from the shallowest depth on.
        self.validation = [(0.0, 0.0)]
        self._prefix: Prefix | None = None
        self._confusion = torch.zeros(0)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over what is trained; the learning rate changes every step."""
        optimizer = torch.optim.AdamW(
            parameter_groups(self.model, self.config),
            weight_decay=self.config.weight_decay,
            # A fused optimiser unscales float16 gradients after they were clipped.
            fused=self.config.precision != "16",
        )
        changing = _schedule_of(self.config, optimizer, self.steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": changing, "interval": "step"},
        }

    def configure_gradient_clipping(
        self, optimizer: Optimizer, *args: object, **kwargs: object
    ) -> None:
        """Clip by norm; Lightning's own refuses a fused optimiser under mixed precision."""
        if self.config.clip:
            clip_gradients(self.model, self.config.clip)

    def train(self, mode: bool = True) -> Learner:
        """Training mode for what is trained: see :func:`freeze_idle`."""
        super().train(mode)
        if mode:
            freeze_idle(self.model)
        return self

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch. Raises UserError where it is not a finite number."""
        with self._attention(batch):
            loss = self.mode.loss(self.model, batch, self._unread_prefix())
        self._check_finite("loss", loss)
        if self.trainer.loggers:
            self.log("train_loss", loss.detach(), batch_size=len(batch.labels))
        return loss

    def _attention(self, batch: Batch) -> AbstractContextManager[object]:
        """How a step attends: for short texts in bf16 on a processor by plain products.

        There the backward pass of PyTorch's fused kernel takes longer than all else of a block
        (benchmarks/bf16.py).
        """
        keys = batch.input_ids.shape[1] + len(self.prefix_ids)
        plain = self.config.precision == "bf16" and self.device.type == "cpu" and keys <= SHORT
        return sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()

    def _unread_prefix(self) -> Prefix | None:
        """The shared prefix, for the batch to compute with the weights as they are; or None."""
        if not self.prefix_ids:
            return None
        return Prefix(torch.tensor(self.prefix_ids, device=self.device))

    def read_prefix(self) -> Prefix | None:
        """Keys and values of the shared prefix with the weights as they are, or None."""
        prefix = self._unread_prefix()
        return None if prefix is None else read_prefix(decoder_of(self.model), prefix.ids)

    def on_validation_epoch_start(self) -> None:
        """Read the prefix once and start counting anew."""
        self._prefix = self.read_prefix()
        self._confusion = torch.zeros(0)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count predictions by depth, true and predicted class."""
        logits = self.mode.logits(self.model, batch, self._prefix)
        self._check_finite("validation logits", logits)
        depths, items, classes = logits.shape
        if not len(self._confusion):
            self._confusion = torch.zeros(depths, classes, classes, device=self.device)
        ones = torch.ones(depths, items, device=self.device)
        where = (torch.arange(depths, device=self.device)[:, None], batch.labels, logits.argmax(2))
        self._confusion.index_put_(where, ones, accumulate=True)

    def on_validation_epoch_end(self) -> None:
        """Log accuracy and macro-F1 over the whole validation set, all processes together."""
        self._prefix = None
        confusion = self._confusion
        if self.trainer.world_size > 1:
            confusion = self.trainer.strategy.reduce(confusion, reduce_op="sum")
        self.validation = [accuracy_and_f1(at_depth) for at_depth in confusion]
        names = ("validation_accuracy", "validation_macro_f1")
        self.log_dict(dict(zip(names, self.validation[-1], strict=True)))
        self.log("monitored", self.monitored)

    @property
    def monitored(self) -> float:
        """The validation score that picks the best epoch: the mean over the depths.

        Rounded, so that equal scores, summed in another order, are equal to all that compare them.
        """
        which = 0 if self.config.monitor == "accuracy" else 1
        return round(sum(scores[which] for scores in self.validation) / len(self.validation), 9)

    def _check_finite(self, name: str, values: Tensor) -> None:
        if not torch.isfinite(values).all():
            lr = self.trainer.optimizers[0].param_groups[0]["lr"]
            raise Diverged(
                f"the {name} became {values.sum().item()} at step {self.global_step + 1} with "
                f"learning rate {lr:.2g}: try a lower --lr, more --warmup, --clip 1 or "
                "--precision 32"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained only."""
        checkpoint["state_dict"] = {f"model.{k}": v for k, v in trained_state(self.model).items()}


def schedule(kind: str, optimizer: Optimizer, *, warm: int, steps: int) -> LambdaLR:
    """A learning rate that rises for ``warm`` steps and then goes as its kind does to the end."""

    def share(step: int) -> float:
        if step < warm:
            return step / warm
        return _SCHEDULES[kind](step - warm, max(1, steps - warm))

    return LambdaLR(optimizer, share)


def _schedule_of(config: RunConfig, optimizer: Optimizer, steps: int) -> LambdaLR:
    warm = warm_steps(config, steps)
    return schedule(config.schedule, optimizer, warm=warm, steps=steps)


def rates(config: RunConfig, steps: int, done: int) -> list[float]:
    """Learning rates of the embedding in the first ``done`` steps of a run of ``steps``."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=embedding_rate(config))
    changing = _schedule_of(config, optimizer, steps)
    found = []
    for _ in range(done):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        changing.step()
    return found


def clip_gradients(model: PreTrainedModel, most: float) -> None:
    """Scale the gradients so that their norm is ``most`` where it is more.

    Embedding rows without a gradient are left out of the sum of squares. They add nothing to it,
    but another order of summation would: so it is the same number to the last bit, and every
    weight after it, whether a model has these rows or not.
    """
    trained = {p: p.grad for p in model.parameters() if p.grad is not None}
    by_token = {id(p) for p in matrices(model)}
    gradients = [_row_norms(g) if id(p) in by_token else g for p, g in trained.items()]
    norm = torch.nn.utils.get_total_norm(gradients)
    if not norm <= most:  # nor where it is no number
        torch.nn.utils.clip_grads_with_norm_(trained, most, norm)


def _row_norms(gradient: Tensor) -> Tensor:
    """Norms of the rows that have a gradient; their norm is that of the whole."""
    norms = torch.linalg.vector_norm(gradient, dim=1)
    return norms[norms != 0]


def trained_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """What is trained, by name; a tied tensor once."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def freeze_idle(model: torch.nn.Module) -> None:
    """Put what is not trained into evaluation mode: dropout acts inside trained parts alone.

    With LoRA every block is trained in part, and dropout acts everywhere.
    """
    if any("lora_" in name for name, _ in model.named_parameters()):
        return
    model.eval()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and all(p.requires_grad for p in parameters):
            module.train()
