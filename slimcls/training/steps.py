"""What a training step touches: items, positions that are scored, rows of the vocabulary."""

from __future__ import annotations

from transformers import PretrainedConfig

from slimcls.backbones import vocabulary
from slimcls.config import RunConfig


def rows_trained(config: RunConfig, shape: PretrainedConfig, rows: int) -> int | None:
    """Embedding rows that a run trains which reads ``rows`` tokens; None where it trains all.

    All are trained where the loss scores every token, and where the others' weights would not be
    the same to the last bit: several processes add their gradients up in an order that depends on
    how many there are, and float16 leaves out steps. A frozen embedding has nothing to spare.
    """
    spares = config.compact_vocabulary and config.tune == "full" and config.precision != "16"
    if not spares or config.devices * config.num_nodes > 1 or scored_positions(config, 1):
        return None
    return rows if vocabulary.pays(shape, rows) else None


def items_a_batch(config: RunConfig, tokens: int) -> int:
    """Items of a training batch, each taken to be ``tokens`` long."""
    return -(-config.batch_tokens // tokens) if config.batch_tokens else config.batch_size


def scored_positions(config: RunConfig, tokens: int) -> int:
    """Positions of a step at which the loss scores the whole vocabulary."""
    if config.mode != "lm":
        return 0
    each = {"sequence": tokens, "label-token": 1}.get(config.lm_loss or "", 0)
    return items_a_batch(config, tokens) * each
