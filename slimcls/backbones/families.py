"""Architectures, a row each: where a decoder keeps its blocks, norms, embeddings and head."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from slimcls.backbones.family import OR, Family
from slimcls.backbones.llama_rows import LLAMA_ROWS
from slimcls.backbones.unlike_rows import UNLIKE_ROWS
from slimcls.errors import UserError

if TYPE_CHECKING:
    from torch import nn


#: Layers that a configuration may name; more would take minutes before the weights, which have
#: fewer, could be looked at.
DEEPEST = 10_000

#: Tokens of a text, at most, where positions have no end.
TRAINED_CONTEXT = 2048

#: The new head of a classifier.
SCORE = "score.weight"

#: Tensors of old checkpoints that today's models compute themselves.
COMPUTED = re.compile(r"((^|\.)(attn|attention)\.(bias|masked_bias)|rotary_emb\.inv_freq|version)$")


def _each_by_itself(config: Any, layers: Sequence[int]) -> None:
    """GPT-Neo's patterns of attention, each with how often it comes, as one pattern a layer."""
    kinds = [config.attention_layers[layer] for layer in layers]
    config.attention_layers = kinds
    config.attention_types = [[[kind], 1] for kind in kinds]


_BLOOM = Family(
    name="BLOOM",
    of_note="its context is taken as 2,048 tokens",
    model_types=("bloom",),
    blocks="h",
    final_norm="ln_f",
    embeddings="word_embeddings",
    positions=None,
    lm_head="lm_head",
    depth_key="n_layer",
    lora_targets=("self_attention.query_key_value", "self_attention.dense"),
    fan_in_fan_out=False,
    inner_saved=2,
    attention_out="self_attention.dense",
    mlp_out="mlp.dense_4h_to_h",
    mlp_in="mlp.dense_h_to_4h",
    per_token=("self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    attention="eager",
    shares_prefix=False,
    context_key=None,
    probabilities_saved=1,
)

_GPTJ = replace(
    _BLOOM,
    name="GPT-J",
    of_note="parallel residual; the head has a bias",
    model_types=("gptj",),
    embeddings="wte",
    lora_targets=("attn.q_proj", "attn.v_proj"),
    attention_out="attn.out_proj",
    mlp_out="mlp.fc_out",
    mlp_in="mlp.fc_in",
    per_token=("attn.q_proj", "attn.out_proj", "mlp.fc_in", "mlp.act", "mlp.fc_out"),
    inner_saved=5,
    lm_head_bias=True,
    context_key="n_positions",
    attention_norm="ln_1",
    values="attn.v_proj",
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
        attention_norm="ln_1",
        values="attn.c_attn",
    ),
    Family(
        name="OPT",
        of_note="opt-350m: post-norm blocks, no final norm, projections in and out",
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
        attention_norm="self_attn_layer_norm",
        values="self_attn.v_proj",
    ),
    *LLAMA_ROWS,
    Family(
        name="GPT-NeoX",
        of_note="pythia; parallel residual",
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
    replace(
        _BLOOM,
        name="Falcon",
        of_note="no ONNX of models with ALiBi (falcon-rw)",
        model_types=("falcon",),
        depth_key="num_hidden_layers",
        mlp_in="mlp",
        per_token=("self_attention.dense", "mlp"),
        attention="sdpa",
        probabilities_saved=0,
        context_key="max_position_embeddings",
        not_exported=lambda config: (
            "its ALiBi is computed in bfloat16, which onnxruntime does not do" * config.alibi
        ),
    ),
    _BLOOM,
    _GPTJ,
    replace(
        _GPTJ,
        name="GPT-Neo",
        of_note="its pattern of attention is written out layer by layer",
        model_types=("gpt_neo",),
        positions="wpe",
        depth_key="num_layers",
        lora_targets=("attn.attention.q_proj", "attn.attention.v_proj"),
        attention_out="attn.attention.out_proj",
        mlp_out="mlp.c_proj",
        mlp_in="mlp.c_fc",
        per_token=(
            "attn.attention.q_proj",
            "attn.attention.out_proj",
            "mlp.c_fc",
            "mlp.act",
            "mlp.c_proj",
        ),
        lm_head_bias=False,
        context_key="max_position_embeddings",
        values="attn.attention.v_proj",
        follow=_each_by_itself,
    ),
    replace(
        _BLOOM,
        name="MPT",
        of_note="",
        model_types=("mpt",),
        blocks="blocks",
        final_norm="norm_f",
        embeddings="wte",
        depth_key="n_layers",
        lora_targets=("attn.Wqkv", "attn.out_proj"),
        attention_out="attn.out_proj",
        mlp_out="ffn.down_proj",
        mlp_in="ffn.up_proj",
        per_token=("attn.out_proj", "ffn.up_proj", "ffn.act", "ffn.down_proj"),
        context_key="max_seq_len",
    ),
    *UNLIKE_ROWS,
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


def context_of(config: Any) -> int:
    """Most tokens that a model with this configuration reads."""
    key = family_of(config).context_key
    return TRAINED_CONTEXT if key is None else int(getattr(config, key))


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


def base_of(model: nn.Module) -> nn.Module:
    """The decoder inside a model with a head; a base model is its own base."""
    base = getattr(model, str(getattr(model, "base_model_prefix", "")), None)
    return model if base is None else cast("nn.Module", base)


def blocks_of(model: nn.Module) -> nn.ModuleList:
    """The decoder blocks of a model, with or without a head."""
    family = family_of(model.config)
    return cast("nn.ModuleList", attrgetter(family.blocks)(base_of(model)))


def parts_of(block: nn.Module, paths: str) -> list[nn.Module]:
    """The modules of a block at one of a row's places, which may name several: those it has."""
    found = []
    for path in paths.split(OR):
        part: Any = block
        for name in path.split("."):
            part = getattr(part, name, None)
        if part is not None:
            found.append(part)
    return found


def final_norm_of(model: nn.Module) -> nn.Module | None:
    """The norm after the last block, None where there is none (post-norm OPT)."""
    family = family_of(model.config)
    return cast("nn.Module | None", attrgetter(family.final_norm)(base_of(model)))
