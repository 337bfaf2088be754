"""The Hugging Face Trainer on given rows, in the order of another trainer's batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments, default_data_collator
from transformers.trainer_callback import PrinterCallback

from slimcls.config import RunConfig
from slimcls.training.stopping import warm_steps

if TYPE_CHECKING:
    from benchmarks.sides import Trail

#: What transformers calls slimcls' schedules.
SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}

Rows = list[dict[str, Any]]
Collate = Callable[[Rows], dict[str, torch.Tensor]]


def rows_of(
    ids: Sequence[list[int]], labels: Sequence[int], pad_id: int, *, pad_to: int | None = None
) -> tuple[Rows, Collate]:
    """The items as the Trainer takes them, and what makes a batch of them.

    Args:
        ids: Token ids of each item, prompts included.
        labels: Class numbers.
        pad_id: Fills up on the right; masked.
        pad_to: Pads every item to so many tokens beforehand; otherwise each batch to its longest.
    """
    rows: Rows = [{"input_ids": i, "label": n} for i, n in zip(ids, labels, strict=True)]
    if pad_to is None:
        return rows, lambda items: default_data_collator(_padded(items, pad_id))
    short = [{**row, "input_ids": row["input_ids"][:pad_to]} for row in rows]
    return _padded(short, pad_id, pad_to), default_data_collator


def _padded(rows: Rows, pad_id: int, length: int | None = None) -> Rows:
    length = length or max(len(row["input_ids"]) for row in rows)
    padded = []
    for row in rows:
        ids, room = row["input_ids"], length - len(row["input_ids"])
        mask = [1] * len(ids) + [0] * room
        padded.append({**row, "input_ids": ids + [pad_id] * room, "attention_mask": mask})
    return padded


def arguments(config: RunConfig, folder: Path, *, steps: int, plain: bool) -> TrainingArguments:
    """slimcls' optimiser and schedule; ``plain`` leaves the Trainer's other settings alone."""
    quiet: dict[str, Any] = {"save_strategy": "no", "report_to": "none", "disable_tqdm": True}
    best = {"logging_strategy": "no", "optim": "adamw_torch_fused", "dataloader_pin_memory": False}
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.lr,
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip,
        lr_scheduler_type=SCHEDULES[config.schedule],
        warmup_steps=warm_steps(config, steps),
        bf16=config.precision == "bf16",
        use_cpu=config.accelerator == "cpu",
        seed=config.seed,
        **quiet,
        **({} if plain else best),
    )


class Fed(Trainer):
    """The Trainer, given its batches: those of ``trail.places``, in that order."""

    def __init__(
        self,
        model: Any,
        settings: TrainingArguments,
        rows: Rows,
        collate: Collate,
        words: Sequence[int],
        trail: Trail,
    ) -> None:
        super().__init__(model=model, args=settings, train_dataset=rows, data_collator=collate)
        self.remove_callback(PrinterCallback)
        self.trail, self.words = trail, torch.tensor(words, device=settings.device)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batches in the order they are given in."""
        loader: DataLoader[Any] = DataLoader(
            self.train_dataset, batch_sampler=self.trail.places, collate_fn=self.data_collator
        )
        return self.accelerator.prepare(loader)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """A classifier's own loss; of a language model, that over the label words alone."""
        self.trail.start(inputs["input_ids"].device.type)
        if len(self.words):
            loss = label_word_loss(model, inputs, self.words)
        else:
            loss = super().compute_loss(model, inputs, *args, **kwargs)
        self.trail.note(loss)
        return loss


def label_word_loss(model: Any, inputs: Any, words: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the rows ``words`` of the head, at each item's last token."""
    base, mask = getattr(model, model.base_model_prefix), inputs["attention_mask"]
    hidden = base(inputs["input_ids"], attention_mask=mask, use_cache=False).last_hidden_state
    last = hidden[torch.arange(len(mask), device=mask.device), mask.sum(1) - 1]
    logits = F.linear(last, model.get_output_embeddings().weight[words]).float()
    return F.cross_entropy(logits, inputs["labels"])
