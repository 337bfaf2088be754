"""The Hugging Face Trainer on the rows of a workload, in the order of another trainer's batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, default_data_collator
from transformers.trainer_callback import PrinterCallback

from benchmarks.workload import Workload

Rows = list[dict[str, Any]]


def rows_of(load: Workload, *, pad_to: int | None = None) -> tuple[Rows, Callable[..., Any]]:
    """The training items whole, prompts included, and what makes a batch of them.

    Args:
        load: The run.
        pad_to: Pads every item to so many tokens beforehand; otherwise each batch to its longest.
    """
    items = zip(load.inputs.train, load.labels, strict=True)
    rows: Rows = [{"input_ids": ids, "label": label} for ids, label in items]
    if pad_to is None:
        return rows, DataCollatorWithPadding(load.tokenizer)
    texts = {"input_ids": [row["input_ids"][:pad_to] for row in rows]}
    padded = load.tokenizer.pad(texts, padding="max_length", max_length=pad_to)
    masks = padded["attention_mask"]
    for row, ids, mask in zip(rows, padded["input_ids"], masks, strict=True):
        row |= {"input_ids": ids, "attention_mask": mask}
    return rows, default_data_collator


def arguments(load: Workload, folder: Path, *, steps: int, plain: bool) -> TrainingArguments:
    """slimcls' optimiser and schedule; ``plain`` leaves the Trainer's other settings alone."""
    config = load.config
    quiet: dict[str, Any] = {"save_strategy": "no", "report_to": "none", "disable_tqdm": True}
    best = {"logging_strategy": "no", "optim": "adamw_torch_fused", "dataloader_pin_memory": False}
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.lr,
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip,
        lr_scheduler_type="linear",
        warmup_steps=math.ceil(config.warmup * steps),
        bf16=config.precision == "bf16",
        use_cpu=config.accelerator == "cpu",
        seed=config.seed,
        **quiet,
        **({} if plain else best),
    )


class Fed(Trainer):
    """The Trainer, given its batches; ``losses`` are those of the first ``keep`` steps."""

    def __init__(
        self,
        load: Workload,
        model: Any,
        settings: TrainingArguments,
        rows: Rows,
        collate: Callable[..., Any],
        order: Sequence[Sequence[int]],
        *,
        keep: int,
    ) -> None:
        super().__init__(model=model, args=settings, train_dataset=rows, data_collator=collate)
        self.remove_callback(PrinterCallback)
        self.losses: list[float] = []
        self.order, self.keep = order, keep
        words = getattr(load.inputs.mode, "word_ids", [])
        self.words = torch.tensor([ids[0] for ids in words], device=settings.device)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batches in the order they are given in."""
        loader: DataLoader[Any] = DataLoader(
            self.train_dataset, batch_sampler=self.order, collate_fn=self.data_collator
        )
        return self.accelerator.prepare(loader)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """A classifier's own loss; of a language model, that over the label words alone."""
        if len(self.words):
            loss = label_word_loss(model, inputs, self.words)
        else:
            loss = super().compute_loss(model, inputs, *args, **kwargs)
        if len(self.losses) < self.keep:
            self.losses.append(float(loss.detach()))
        return loss


def label_word_loss(model: Any, inputs: Any, words: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the rows ``words`` of the head, at each item's last token."""
    base, mask = getattr(model, model.base_model_prefix), inputs["attention_mask"]
    hidden = base(inputs["input_ids"], attention_mask=mask, use_cache=False).last_hidden_state
    last = hidden[torch.arange(len(mask), device=mask.device), mask.sum(1) - 1]
    logits = F.linear(last, model.get_output_embeddings().weight[words]).float()
    return F.cross_entropy(logits, inputs["labels"])
