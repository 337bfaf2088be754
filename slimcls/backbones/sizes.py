"""Parameters and memory of a cut model, known before any weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


def count(config: PretrainedConfig, layers: Sequence[int]) -> Sizes:
    """Parameters of the full and the cut backbone; ``config`` is the full model's.

    One block is built without storage: blocks of one model have equal shapes.
    """
    from transformers import AutoModel

    family = family_of(config)
    with torch.device("meta"):
        model: Any = AutoModel.from_config(cut_config(config, [0]))
    block = _parameters(blocks_of(model))
    around = _parameters(model) - block
    paths = [path for path in (family.embeddings, family.positions) if path]
    embeddings = sum(_parameters(attrgetter(path)(base_of(model))) for path in paths)
    return Sizes(around + depth_of(config) * block, around + len(layers) * block, embeddings)


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def training_memory(
    config: PretrainedConfig,
    layers: Sequence[int],
    *,
    batch_size: int,
    tokens: int,
    trainable_params: int,
    precision: str,
    lm_head: bool = False,
    logits: int = 0,
    rows: int | None = None,
) -> Memory:
    """Bytes that training a cut model takes; ``config`` is the full model's.

    Args:
        config: Configuration of the full model.
        layers: The kept ones.
        batch_size: Items of a step.
        tokens: Tokens of the longest item.
        trainable_params: Parameters with a gradient.
        precision: ``32``, ``bf16`` or ``16``: of the arithmetic; weights stay in float32.
        lm_head: Whether the language-model head stays, which is more only where it is untied.
        logits: Positions of a step at which the whole vocabulary is scored.
        rows: Rows of the token matrices that training copies and trains instead of them all.
    """
    kept = count(config, layers).params_kept + (lm_head_params(config) if lm_head else 0)
    if rows is not None:
        row = token_params(config, lm_head=lm_head) // config.vocab_size
        trainable_params -= row * (config.vocab_size - rows)
        kept += row * rows
    reduced = precision not in ("32", "auto")
    # Mixed precision keeps a copy of the weights in two bytes for the length of a step.
    weights = kept * (WEIGHT + 2 if reduced else WEIGHT)
    activations = len(layers) * block_activations(config, tokens) * batch_size * tokens
    return Memory(
        weights=weights,
        gradients=trainable_params * GRADIENT,
        optimiser=trainable_params * MOMENTS,
        activations=activations * (2 if reduced else 4)
        + logits * config.vocab_size * LOGIT_COPIES * 4,
    )


def lm_head_params(config: Any) -> int:
    """Parameters of the language-model head beyond the backbone's: 0 where it is tied."""
    width = getattr(config, "word_embed_proj_dim", None) or config.hidden_size
    return 0 if config.tie_word_embeddings else int(config.vocab_size * width)


def token_params(config: Any, *, lm_head: bool = False) -> int:
    """Parameters with a row a token: the embedding's, and those of an untied head that stays."""
    width = getattr(config, "word_embed_proj_dim", None) or config.hidden_size
    return int(config.vocab_size * width) + (lm_head_params(config) if lm_head else 0)


def block_activations(config: Any, tokens: int) -> int:
    """Floats that one block keeps for its backward pass, per token.

    Fitted to what autograd saves, within about a fifth: 12 vectors of the hidden size, some of
    the MLP's inner size and, where attention has dropout, its probabilities three times.
    """
    hidden = config.hidden_size
    inner = getattr(config, "intermediate_size", None) or getattr(config, "ffn_dim", None)
    inner = inner or getattr(config, "n_inner", None) or 4 * hidden
    dropout = getattr(config, "attention_dropout", 0) or getattr(config, "attn_pdrop", 0)
    probabilities = 3 * config.num_attention_heads * tokens if dropout else 0
    return int(12 * hidden + family_of(config).inner_saved * inner + probabilities)


def largest_keep(
    config: PretrainedConfig,
    available: int,
    *,
    batch_size: int,
    tokens: int,
    precision: str,
    train_all: bool = True,
    lm_head: bool = False,
    logits: int = 0,
    rows: int | None = None,
) -> int:
    """Most first layers whose training fits into ``available`` bytes; 0 if not even one.

    ``train_all`` is false where only a small part of the parameters is trained.
    """
    head = lm_head_params(config) if lm_head else 0
    for keep in range(depth_of(config), 0, -1):
        layers = range(keep)
        trained = count(config, layers).params_kept + head if train_all else 0
        memory = training_memory(
            config,
            layers,
            batch_size=batch_size,
            tokens=tokens,
            trainable_params=trained,
            precision=precision,
            lm_head=lm_head,
            logits=logits,
            rows=rows if train_all else None,
        )
        if memory.total <= available:
            return keep
    return 0


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
