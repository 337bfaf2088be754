"""What a run will take, said before any weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig

from slimcls.backbones import sizes
from slimcls.backbones.sizes import Memory, Shape, Sizes, TrainingStep
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import cut_config, model_class_of, read_config
from slimcls.classifier.exits import add_exits
from slimcls.config import RunConfig
from slimcls.devices import torch_device
from slimcls.errors import UserError
from slimcls.training import tuning
from slimcls.training.steps import items_a_batch, rows_trained, scored_positions


@dataclass(frozen=True)
class Plan:
    """Parameters and memory of a run."""

    model: str
    depth: int
    layers: tuple[int, ...]
    shape: Shape
    params_trained: int
    memory: Memory
    available: int
    """Bytes this machine (or its accelerator) has free."""
    fitting_keep: int
    """Most first layers whose training fits into that; 0 if none."""
    device: str
    random_blocks: bool = False
    rows: int | None = None
    """Embedding rows that are trained in place of all."""
    averages: bool = False
    """Whether a layer that averages is put behind the kept ones."""

    @property
    def sizes(self) -> Sizes:
        """Parameters of what is handed over."""
        return self.sizes_of(self.layers)

    def sizes_of(self, layers: Sequence[int]) -> Sizes:
        """The same with other layers; one that averages is of the size of the last."""
        return self.shape.sizes([*layers, layers[-1]] if self.averages else layers)

    def describe(self) -> str:
        """Three lines for the person at the terminal."""
        s, m = self.sizes, self.memory
        kept = ",".join(map(str, self.layers)) if len(self.layers) < 12 else len(self.layers)
        rows = f"; {self.rows:,} embedding rows occur and are trained" if self.rows else ""
        drawn = ", their weights drawn anew" if self.random_blocks else ""
        drawn += ", and one more that averages" if self.averages else ""
        return (
            f"plan: {self.model}, {len(self.layers)} of {self.depth} layers kept ({kept}){drawn}\n"
            f"  parameters: {s.params_full:,} full, {s.params_kept:,} kept, "
            f"{s.params_saved:.1%} saved; embeddings are {s.embedding_share:.0%} of what is kept\n"
            f"  memory for training: {_gb(m.total)} (weights {_gb(m.weights)}, gradients "
            f"{_gb(m.gradients)}, optimiser {_gb(m.optimiser)}, activations about "
            f"{_gb(m.activations)}); free on this machine: {_gb(self.available)}{rows}"
        )

    def check(self, *, force: bool) -> None:
        """Raise UserError where training would not fit, unless forced."""
        if self.memory.total <= self.available or force:
            return
        fits = f"--keep {self.fitting_keep} would fit; " if self.fitting_keep else ""
        raise UserError(
            f"--keep {len(self.layers)} of {self.model} needs {_gb(self.memory.total)} to train, "
            f"{_gb(self.available)} are free: {fits}--tune lora, a smaller --batch-size or "
            f"--max-text-tokens need less; --force tries all the same"
        )


def make_plan(
    config: RunConfig, source: Source, tokens: int, classes: int, rows: int | None = None
) -> Plan:
    """The plan of a run whose longest item has ``tokens`` tokens.

    ``rows`` is how many different tokens its training and validation read; None for not known.
    """
    full = read_config(source)
    assert config.layers is not None
    layers = tuple(config.layers)
    trained = count_trained(full, config, classes)
    step = TrainingStep(
        full,
        batch_size=items_a_batch(config, tokens),
        tokens=tokens,
        precision=config.precision,
        lm_head=config.mode == "lm",
        logits=scored_positions(config, tokens),
        rows=None if rows is None else rows_trained(config, full, rows),
    )
    device = torch_device(config.accelerator)
    available = sizes.available_memory(device)
    return Plan(
        config.model,
        step.shape.depth,
        layers,
        step.shape,
        trained,
        step.memory(layers, trained),
        available,
        step.largest_keep(available, train_all=config.tune == "full"),
        device,
        config.random_blocks,
        step.rows,
        bool(config.pool),
    )


def count_trained(full: PretrainedConfig, config: RunConfig, classes: int) -> int:
    """Parameters that training changes, counted on a model without storage."""
    cut = cut_config(full, config.layers or [])
    cut.num_labels = classes
    with torch.device("meta"):
        model = model_class_of(cut, "lm" if config.mode == "lm" else "classification")(cut)
        if config.exits:
            add_exits(model, config.exits[:-1])
        tuning.choose_trained(model, config)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size < 1e10 else f"{size / 1e9:.0f} GB"
