"""What has to be known of an architecture to cut it: the fields of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from slimcls.backbones.fused import Fused

#: Between the places of modules of which a block has one or some, by its kind.
OR = "|"


@dataclass(frozen=True)
class Family:
    """Names of the parts of one architecture.

    Paths are dotted and start at the base model, ``getattr(model, model.base_model_prefix)``;
    ``lm_head`` is an attribute of the causal language model itself. Paths inside a block may name
    several modules, ``self_attn.o_proj|conv.out_proj``, where blocks are of more than one kind:
    those that a block has count.
    """

    name: str
    """What error messages call it."""

    model_types: tuple[str, ...]
    """Values of ``model_type`` in config.json."""

    blocks: str
    """The list of decoder blocks."""

    final_norm: str
    """The norm after the last block; a model of the family may do without (opt-350m)."""

    embeddings: str
    """Token embeddings."""

    positions: str | None
    """Learned position embeddings; None where positions are rotary."""

    lm_head: str
    """The language-model head."""

    depth_key: str
    """What the config calls the number of blocks."""

    lora_targets: tuple[str, ...]
    """Projections inside a block that LoRA adapts."""

    fan_in_fan_out: bool
    """Whether projections are Conv1D, with weights stored as (in, out)."""

    inner_saved: int
    """Vectors of the MLP's inner size that a block keeps for its backward pass, per token."""

    per_token: tuple[str, ...]
    """Modules of a block whose output for a token only that token's own hidden state depends on:
    no keys, no values, none inside another, dropout left out."""

    attention_out: str
    """The projection of a block whose output the attention adds to the residual stream."""

    mlp_out: str
    """The same of the MLP."""

    mlp_in: str
    """The module through which all of the MLP's input goes."""

    attention_norm: str | None = None
    """The norm in front of a block's attention, which is of the final norm's class; with ``values``
    None where no block can be made to average (backbones/averaging.py)."""

    values: str | None = None
    """The projection whose outputs, or the last of them, are the attention's values, head by
    head."""

    attention_norm_behind: str | None = None
    """A norm that what the attention adds goes through first."""

    lm_head_aliases: tuple[str, ...] = ()
    """Other names under which checkpoints hold the head."""

    after_norm: tuple[str, str] | None = None
    """A projection of final hidden states, which a model may do without: where, and its name."""

    lm_head_bias: bool = False
    """Whether the language-model head has one."""

    after_head: tuple[tuple[Literal["times", "over", "cap"], str], ...] = ()
    """What the model does to its head's logits, by which entry of the config."""

    classifies: bool = True
    """Whether transformers has a class with a head for classes, of one linear layer; else there is
    mode lm alone."""

    why_not_classes: str = "transformers has no classifier of this architecture"
    """What is said where it has none."""

    before_head: str | None = None
    """What final hidden states go through before the language-model head, an attribute as it is."""

    attention: Literal["sdpa", "eager"] = "sdpa"
    """What computes attention; eager where transformers has nothing else that is right."""

    shares_prefix: bool = True
    """Whether what items begin with can be read once for all: positions can be given, and
    attention goes through transformers' interface for it and needs no more than keys and values."""

    context_key: str | None = "max_position_embeddings"
    """What the config calls the most tokens; None where it names none."""

    hidden_saved: int = 12
    """As ``inner_saved``, vectors of the hidden size."""

    probabilities_saved: int = 0
    """As ``inner_saved``, how often a block keeps each head's attention to every token; it does so
    three times, whatever stands here, where attention has dropout."""

    alike: bool = True
    """Whether all blocks have parameters of the same names and shapes."""

    fused: tuple[Fused, ...] = ()
    """Tensors of a block that checkpoints hold in parts, or by an older name."""

    inner_size: Callable[[Any], int] | None = None
    """The MLP's inner size by the config, where none of the usual entries is it."""

    not_exported: Callable[[Any], str] = lambda config: ""
    """Why a model with this config cannot become an ONNX graph; empty where it can."""

    of_note: str = ""
    """What docs/models.md says of it."""

    follow: Callable[[Any, Sequence[int]], None] | None = None
    """Rewrites in a config what it says of layers by a rule of its own, to these layers; raises
    UserError for layers without which the others lose their meaning."""
