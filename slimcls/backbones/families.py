"""Architectures, a row each: where a decoder keeps its blocks, norms, embeddings and head."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from operator import attrgetter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast

from slimcls.errors import UserError

if TYPE_CHECKING:
    from torch import nn


#: Layers that a configuration may name; more would take minutes before the weights, which have
#: fewer, could be looked at.
DEEPEST = 10_000

#: The new head of a classifier.
SCORE = "score.weight"

#: Tensors of old checkpoints that today's models compute themselves.
COMPUTED = re.compile(r"((^|\.)(attn|attention)\.(bias|masked_bias)|rotary_emb\.inv_freq|version)$")

#: Parts of a checkpoint that are no layer.
HEAD_PART, REST_PART = "head", "rest"


@dataclass(frozen=True)
class Family:
    """Names of the parts of one architecture.

    Paths are dotted and start at the base model, ``getattr(model, model.base_model_prefix)``;
    ``lm_head`` is an attribute of the causal language model itself.
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

    lm_head_aliases: tuple[str, ...] = ()
    """Other names under which checkpoints hold the head."""

    after_norm: tuple[str, str] | None = None
    """A projection of final hidden states, which a model may do without: where, and its name."""

    lm_head_bias: bool = False
    """Whether the language-model head has one."""

    after_head: tuple[tuple[Literal["times", "over"], str], ...] = ()
    """What the model does to its head's logits, by which entry of the config."""

    classifies: bool = True
    """Whether transformers has a class with a head for classes; else there is mode lm alone."""


_LLAMA = Family(
    name="Llama-like",
    model_types=(
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "smollm3",
        "ministral",
        "ministral3",
        "helium",
        "seed_oss",
        "hunyuan_v1_dense",
    ),
    blocks="layers",
    final_norm="norm",
    embeddings="embed_tokens",
    positions=None,
    lm_head="lm_head",
    depth_key="num_hidden_layers",
    lora_targets=("self_attn.q_proj", "self_attn.v_proj"),
    fan_in_fan_out=False,
    inner_saved=4,
    attention_out="self_attn.o_proj",
    mlp_out="mlp.down_proj",
    mlp_in="mlp",
    per_token=("self_attn.q_proj", "self_attn.o_proj", "mlp"),
)

FAMILIES: tuple[Family, ...] = (
    Family(
        name="GPT-2",
        model_types=("gpt2",),
        blocks="h",
        final_norm="ln_f",
        embeddings="wte",
        positions="wpe",
        lm_head="lm_head",
        depth_key="n_layer",
        lora_targets=("attn.c_attn", "attn.c_proj"),
        fan_in_fan_out=True,
        inner_saved=5,
        attention_out="attn.c_proj",
        mlp_out="mlp.c_proj",
        mlp_in="mlp.c_fc",
        per_token=("attn.c_proj", "mlp.c_fc", "mlp.act", "mlp.c_proj"),
    ),
    Family(
        name="OPT",
        model_types=("opt",),
        blocks="decoder.layers",
        final_norm="decoder.final_layer_norm",
        embeddings="decoder.embed_tokens",
        positions="decoder.embed_positions",
        lm_head="lm_head",
        depth_key="num_hidden_layers",
        lora_targets=("self_attn.q_proj", "self_attn.v_proj"),
        fan_in_fan_out=False,
        inner_saved=1,
        attention_out="self_attn.out_proj",
        mlp_out="fc2",
        mlp_in="fc1",
        per_token=("self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2"),
        after_norm=("decoder", "project_out"),
    ),
    _LLAMA,
    replace(_LLAMA, name="Gemma", model_types=("gemma", "gemma3_text")),
    replace(_LLAMA, name="OLMo", model_types=("olmo", "olmo2", "olmo3")),
    replace(_LLAMA, name="Exaone 4", model_types=("exaone4",)),
    replace(_LLAMA, name="StableLM", model_types=("stablelm",)),
    replace(_LLAMA, name="GLM", model_types=("glm", "glm4")),
    replace(
        _LLAMA,
        name="Phi",
        model_types=("phi",),
        final_norm="final_layernorm",
        inner_saved=2,
        attention_out="self_attn.dense",
        mlp_out="mlp.fc2",
        per_token=("self_attn.q_proj", "self_attn.dense", "mlp"),
        lm_head_bias=True,
    ),
    replace(
        _LLAMA,
        name="Phi-3",
        model_types=("phi3",),
        lora_targets=("self_attn.qkv_proj", "self_attn.o_proj"),
        per_token=("self_attn.o_proj", "mlp"),
    ),
    replace(_LLAMA, name="Nemotron", model_types=("nemotron",), inner_saved=3),
    replace(_LLAMA, name="Arcee", model_types=("arcee",), inner_saved=3),
    replace(
        _LLAMA,
        name="StarCoder2",
        model_types=("starcoder2",),
        inner_saved=2,
        mlp_out="mlp.c_proj",
        per_token=("self_attn.q_proj", "self_attn.o_proj", "mlp.c_fc", "mlp.act", "mlp.c_proj"),
    ),
    replace(_LLAMA, name="Apertus", model_types=("apertus",), classifies=False),
    replace(_LLAMA, name="ERNIE 4.5", model_types=("ernie4_5",), classifies=False),
    replace(
        _LLAMA,
        name="Granite",
        model_types=("granite",),
        after_head=(("over", "logits_scaling"),),
        classifies=False,
    ),
    replace(
        _LLAMA,
        name="Cohere",
        model_types=("cohere", "cohere2"),
        after_head=(("times", "logit_scale"),),
        classifies=False,
    ),
    Family(
        name="GPT-NeoX",
        model_types=("gpt_neox",),
        blocks="layers",
        final_norm="final_layer_norm",
        embeddings="embed_in",
        positions=None,
        lm_head="lm_head",
        depth_key="num_hidden_layers",
        lora_targets=("attention.query_key_value", "attention.dense"),
        fan_in_fan_out=False,
        inner_saved=2,
        attention_out="attention.dense",
        mlp_out="mlp.dense_4h_to_h",
        mlp_in="mlp",
        per_token=("attention.dense", "mlp"),
        lm_head_aliases=("embed_out",),
    ),
)


def family_of(config: Any) -> Family:
    """The row of a transformers config, or of anything with a ``model_type``.

    Raises:
        UserError: the architecture has no row; names it and says where to add one.
    """
    model_type = str(getattr(config, "model_type", None) or "without a model_type")
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    known = ", ".join(f"{row.name} ({', '.join(row.model_types)})" for row in FAMILIES)
    raise UserError(
        f"architecture {model_type!r} is not supported (families: {known}); "
        "to support it, add a row to FAMILIES in slimcls/backbones/families.py"
    )


def check_architecture(content: dict[str, Any], name: str) -> None:
    """Raise UserError where the config.json with this ``content`` is not of a model to be cut.

    ``name`` is what the error calls the model.
    """
    family = family_of(SimpleNamespace(model_type=content.get("model_type")))
    depth = content.get(family.depth_key, 1)
    if not isinstance(depth, int) or not 1 <= depth <= DEEPEST:
        raise UserError(
            f"{name}: config.json has {family.depth_key} {str(depth)[:40]}; it must be a number "
            f"of layers up to {DEEPEST}"
        )
    if content.get("quantization_config"):
        raise UserError(f"{name}: its weights are quantised; use the model as it was before")


def block_pattern(family: Family) -> re.Pattern[str]:
    """Finds number of block and place in it in the name of a tensor."""
    return re.compile(rf"{re.escape(family.blocks)}\.(\d+)\.(.+)")


def part_of(name: str, config: Any) -> str | None:
    """Which part of a checkpoint the tensor ``name`` belongs to, in a model with this ``config``.

    ``layer-000`` and so on, ``head`` for a language-model head of its own, ``rest`` for what is
    around the blocks, None for what no cut model takes from a checkpoint.
    """
    family = family_of(config)
    found = re.search(rf"(?:^|\.){block_pattern(family).pattern}", name)
    if COMPUTED.search(name) or name == SCORE:
        return None
    if found:
        return layer_part(int(found[1]))
    heads = (family.lm_head, *family.lm_head_aliases)
    if name.removesuffix(".weight").removesuffix(".bias") in heads:
        return None if config.tie_word_embeddings else HEAD_PART
    return REST_PART


def layer_part(layer: int) -> str:
    """What :func:`part_of` calls the part of a layer."""
    return f"layer-{layer:03d}"


def base_of(model: nn.Module) -> nn.Module:
    """The decoder inside a model with a head; a base model is its own base."""
    base = getattr(model, str(getattr(model, "base_model_prefix", "")), None)
    return model if base is None else cast("nn.Module", base)


def blocks_of(model: nn.Module) -> nn.ModuleList:
    """The decoder blocks of a model, with or without a head."""
    family = family_of(model.config)
    return cast("nn.ModuleList", attrgetter(family.blocks)(base_of(model)))


def final_norm_of(model: nn.Module) -> nn.Module | None:
    """The norm after the last block, None where there is none (post-norm OPT)."""
    family = family_of(model.config)
    return cast("nn.Module | None", attrgetter(family.final_norm)(base_of(model)))
