"""Parameters and memory of a cut model, known before any weight is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig

from slimcls.backbones.families import base_of, blocks_of, family_of
from slimcls.backbones.truncate import cut_config, depth_of

#: Bytes of a parameter, of its gradient, and of AdamW's two moments: weights stay in float32.
WEIGHT, GRADIENT, MOMENTS = 4, 4, 8

#: Float32 copies of the logits: themselves, their log-softmax, and the gradient.
LOGIT_COPIES = 3


@dataclass(frozen=True)
class Sizes:
    """Parameters of a backbone: decoder, embeddings and final norm, no head of any kind."""

    params_full: int
    params_kept: int
    embedding_params: int
    """Token and position embeddings, of which a cut takes nothing."""

    @property
    def params_saved(self) -> float:
        """Share of the parameters that the cut saves, 0 to 1."""
        return 1 - self.params_kept / self.params_full

    @property
    def embedding_share(self) -> float:
        """Share of the embeddings in what is kept, 0 to 1."""
        return self.embedding_params / self.params_kept


@dataclass(frozen=True)
class Memory:
    """Bytes that training takes."""

    weights: int
    gradients: int
    optimiser: int
    activations: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.weights + self.gradients + self.optimiser + self.activations


@dataclass(frozen=True)
class Shape:
    """What the parts of a model count, the same for any number of kept blocks."""

    blocks: tuple[int, ...]
    """Parameters of each block."""
    around: int
    """Those of everything but the blocks."""
    embeddings: int

    @property
    def depth(self) -> int:
        """How many blocks there are."""
        return len(self.blocks)

    def sizes(self, layers: Iterable[int]) -> Sizes:
        """Parameters of the full backbone, and of one with the blocks ``layers``."""
        kept = sum(self.blocks[layer] for layer in layers)
        return Sizes(self.around + sum(self.blocks), self.around + kept, self.embeddings)


def shape_of(config: PretrainedConfig) -> Shape:
    """Counted on the full model's configuration: one block is built, without storage.

    All are where they are not alike.
    """
    from transformers import AutoModel

    family, depth = family_of(config), depth_of(config)
    with torch.device("meta"):
        model: Any = AutoModel.from_config(
            cut_config(config, [0] if family.alike else range(depth))
        )
    blocks = [_parameters(block) for block in blocks_of(model)]
    base = base_of(model)
    paths = [path for path in (family.embeddings, family.positions) if path]
    embeddings = sum(_parameters(attrgetter(path)(base)) for path in paths)
    around = _parameters(model) - sum(blocks)
    return Shape(tuple(blocks * depth if family.alike else blocks), around, embeddings)


def count(config: PretrainedConfig, layers: Sequence[int]) -> Sizes:
    """Parameters of the full and the cut backbone; ``config`` is the full model's."""
    return shape_of(config).sizes(layers)


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@dataclass(frozen=True)
class TrainingStep:
    """What a training step of a model takes, whatever number of blocks it has."""

    config: Any
    """The full model's configuration."""
    batch_size: int
    """Items of a step."""
    tokens: int
    """Tokens of the longest item."""
    precision: str
    """``32``, ``bf16`` or ``16``: of the arithmetic; weights stay in float32."""
    lm_head: bool = False
    """Whether the language-model head stays, which is more only where it is untied."""
    logits: int = 0
    """Positions of a step at which the whole vocabulary is scored."""
    rows: int | None = None
    """Rows of the token matrices that are opened, copied and trained instead of them all."""

    @cached_property
    def shape(self) -> Shape:
        """What the model's parts count."""
        return shape_of(self.config)

    @cached_property
    def head(self) -> int:
        """Parameters of the head that stays, beyond the backbone's."""
        return lm_head_params(self.config) if self.lm_head else 0

    @cached_property
    def block_activations(self) -> int:
        """Floats that one block keeps for the backward pass of a step."""
        return block_activations(self.config, self.tokens) * self.batch_size * self.tokens

    def memory(self, layers: Sequence[int], trainable: int) -> Memory:
        """Bytes that it takes with these blocks, of whose parameters so many have a gradient."""
        kept = self.shape.sizes(layers).params_kept + self.head
        if self.rows is not None:
            row = token_params(self.config, lm_head=self.lm_head) // self.config.vocab_size
            trainable -= row * (self.config.vocab_size - self.rows)
            # Held twice, and no other row at all.
            kept += row * (2 * self.rows - self.config.vocab_size)
        reduced = self.precision not in ("32", "auto")
        logits = self.logits * self.config.vocab_size * LOGIT_COPIES * 4
        return Memory(
            # Mixed precision keeps a copy of the weights in two bytes for the length of a step.
            weights=kept * (WEIGHT + 2 if reduced else WEIGHT),
            gradients=trainable * GRADIENT,
            optimiser=trainable * MOMENTS,
            activations=len(layers) * self.block_activations * (2 if reduced else 4) + logits,
        )

    def largest_keep(self, available: int, *, train_all: bool = True) -> int:
        """Most first layers whose training fits into so many bytes; 0 if not even one does.

        ``train_all`` is false where only a small part of the parameters is trained.
        """
        step = self if train_all else replace(self, rows=None)
        for keep in range(self.shape.depth, 0, -1):
            layers = range(keep)
            trained = self.shape.sizes(layers).params_kept + self.head if train_all else 0
            if step.memory(layers, trained).total <= available:
                return keep
        return 0


def lm_head_params(config: Any) -> int:
    """Parameters of the language-model head beyond the backbone's; a tied matrix is none."""
    return _head_rows(config) + _before_head(config)


def token_params(config: Any, *, lm_head: bool = False) -> int:
    """Parameters with a row a token: the embedding's, and those of an untied head that stays."""
    return int(config.vocab_size * _width(config)) + (_head_rows(config) if lm_head else 0)


def _width(config: Any) -> int:
    """Of the token matrices."""
    return int(getattr(config, "word_embed_proj_dim", None) or config.hidden_size)


def _head_rows(config: Any) -> int:
    row = 0 if config.tie_word_embeddings else _width(config)
    return int(config.vocab_size * (row + family_of(config).lm_head_bias))


def _before_head(config: Any) -> int:
    """Parameters of what stands before the head, which is built without storage."""
    name = family_of(config).before_head
    if name is None:
        return 0
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(cut_config(config, [0]))
    return _parameters(getattr(model, name))


def block_activations(config: Any, tokens: int) -> int:
    """Floats that one block keeps for its backward pass, per token.

    Fitted to what autograd saves, within about a fifth: vectors of the hidden size and of the MLP's
    inner size, and attention's probabilities where it keeps them.
    """
    hidden = config.hidden_size
    inner = getattr(config, "intermediate_size", None) or getattr(config, "ffn_dim", None)
    inner = inner or getattr(config, "ffn_hidden_size", None)
    inner = inner or getattr(config, "n_inner", None) or 4 * hidden
    dropout = getattr(config, "attention_dropout", 0) or getattr(config, "attn_pdrop", 0)
    family = family_of(config)
    inner = family.inner_size(config) if family.inner_size else inner
    times = 3 if dropout else family.probabilities_saved
    probabilities = times * config.num_attention_heads * tokens
    return int(family.hidden_saved * hidden + family.inner_saved * inner + probabilities)


def available_memory(device: str = "cpu") -> int:
    """Bytes free on the machine (within its container's limit), or on the accelerator.

    ``device`` is ``cuda``, or ``auto`` for the accelerator where there is one; others share the
    machine's memory.
    """
    if device in ("cuda", "auto") and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    import psutil

    machine = int(psutil.virtual_memory().available)
    limits = [left for left in (cgroup_left(Path("/sys/fs/cgroup")),) if left is not None]
    return min([machine, *limits])


def cgroup_left(folder: Path) -> int | None:
    """Bytes a control group has left (version 2, else 1); file cache counts as free."""
    for most, used, stat in (
        ("memory.max", "memory.current", "memory.stat"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
        ),
    ):
        try:
            limit = int((folder / most).read_text())
            taken = int((folder / used).read_text())
            entries = dict(line.split() for line in (folder / stat).read_text().splitlines())
        except (OSError, ValueError):
            continue
        cached = int(entries.get("total_inactive_file", entries.get("inactive_file", 0)))
        return max(limit - taken + cached, 0)
    return None
