"""Rows of architectures whose blocks are not alike: hybrids, mixtures of experts, Ettin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from slimcls.backbones.family import Family
from slimcls.backbones.fused import Fused
from slimcls.backbones.llama_rows import LLAMA
from slimcls.errors import UserError


def _dense_by_number(config: Any, layers: Sequence[int]) -> None:
    """Which blocks have one MLP and no experts, as a list of their places alone."""
    step, dense = config.decoder_sparse_step, set(config.mlp_only_layers)
    config.decoder_sparse_step = 1
    config.mlp_only_layers = [
        place for place, layer in enumerate(layers) if layer in dense or (layer + 1) % step
    ]


def _with_the_first(config: Any, layers: Sequence[int]) -> None:
    if list(layers)[:1] != [0]:
        raise UserError(
            "this model's first layer has no norm of its own, which all others have: keep layer 0 "
            "too"
        )


def _cache_with_attention(config: Any, layers: Sequence[int]) -> None:
    """transformers asks an attention layer for the length of its cache, and fails without one."""
    if "full_attention" not in config.layer_types:
        config.use_cache = False


_EXPERTS = (
    Fused(
        "mlp.experts.gate_up_proj",
        ("mlp.experts.{}.gate_proj.weight", "mlp.experts.{}.up_proj.weight"),
    ),
    Fused("mlp.experts.down_proj", ("mlp.experts.{}.down_proj.weight",)),
)

_COPIES = "a graph would copy the weights of a token's experts anew for every token"

UNLIKE_ROWS: tuple[Family, ...] = (
    replace(
        LLAMA,
        name="Granite 4",
        of_note="attention and Mamba 2 layers; no ONNX of those with experts",
        model_types=("granitemoehybrid",),
        lora_targets=("self_attn.q_proj|mamba.in_proj", "self_attn.v_proj|mamba.out_proj"),
        attention_out="self_attn.o_proj|mamba.out_proj",
        mlp_out="shared_mlp|block_sparse_moe",
        mlp_in="shared_mlp|block_sparse_moe",
        per_token=(
            "self_attn.q_proj",
            "self_attn.o_proj|mamba.out_proj",
            "shared_mlp|block_sparse_moe",
        ),
        after_head=(("over", "logits_scaling"),),
        classifies=False,
        shares_prefix=False,
        alike=False,
        fused=(
            Fused(
                "block_sparse_moe.experts.gate_up_proj", ("block_sparse_moe.input_linear.weight",)
            ),
            Fused("block_sparse_moe.experts.down_proj", ("block_sparse_moe.output_linear.weight",)),
            Fused("block_sparse_moe.router.weight", ("block_sparse_moe.router.layer.weight",)),
        ),
        inner_size=lambda config: (
            config.shared_intermediate_size
            + config.num_experts_per_tok * config.intermediate_size * bool(config.num_local_experts)
        ),
        hidden_saved=29,
        follow=_cache_with_attention,
        not_exported=lambda config: _COPIES if config.num_local_experts else "",
    ),
    replace(
        LLAMA,
        name="LFM2",
        of_note="attention and short convolutions",
        model_types=("lfm2",),
        final_norm="embedding_norm",
        lora_targets=("self_attn.q_proj|conv.in_proj", "self_attn.v_proj|conv.out_proj"),
        attention_out="self_attn.out_proj|conv.out_proj",
        mlp_out="feed_forward.w2",
        mlp_in="feed_forward",
        per_token=("self_attn.q_proj", "self_attn.out_proj|conv.out_proj", "feed_forward"),
        classifies=False,
        attention_norm=None,
        values=None,
        shares_prefix=False,
        alike=False,
        follow=_cache_with_attention,
    ),
    replace(
        LLAMA,
        name="Qwen3-MoE",
        of_note="experts in some layers or all; no ONNX",
        model_types=("qwen3_moe",),
        mlp_out="mlp",
        alike=False,
        fused=_EXPERTS,
        inner_size=lambda config: config.num_experts_per_tok * config.moe_intermediate_size,
        not_exported=lambda config: _COPIES,
        follow=_dense_by_number,
    ),
    replace(
        LLAMA,
        name="Qwen2-MoE",
        of_note="as Qwen3-MoE, with experts that all tokens share",
        model_types=("qwen2_moe",),
        mlp_out="mlp",
        alike=False,
        fused=_EXPERTS,
        inner_size=lambda config: (
            config.num_experts_per_tok * config.moe_intermediate_size
            + config.shared_expert_intermediate_size
        ),
        not_exported=lambda config: _COPIES,
        follow=_dense_by_number,
    ),
    replace(
        LLAMA,
        name="Ettin's decoder",
        of_note="layer 0 must stay: it alone has no norm of its own. Layers stand before its head",
        model_types=("modernbert-decoder",),
        final_norm="final_norm",
        embeddings="embeddings.tok_embeddings",
        lm_head="decoder",
        lm_head_bias=True,
        before_head="lm_head",
        lora_targets=("attn.q_proj", "attn.v_proj"),
        attention_out="attn.Wo",
        mlp_out="mlp.Wo",
        mlp_in="mlp",
        per_token=("attn.q_proj", "attn.Wo", "mlp"),
        classifies=False,
        why_not_classes="transformers' classifier of it has more than one linear layer as its head",
        alike=False,
        follow=_with_the_first,
    ),
)
