"""Rows of the architectures that are built as Llama is, with blocks that are all alike."""

from __future__ import annotations

from dataclasses import replace

from slimcls.backbones.family import Family

LLAMA = Family(
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
    attention_norm="input_layernorm",
    values="self_attn.v_proj",
)


LLAMA_ROWS: tuple[Family, ...] = (
    LLAMA,
    replace(LLAMA, name="Gemma", model_types=("gemma",)),
    replace(
        LLAMA,
        name="Gemma 3",
        of_note="text: 270m, 1b",
        model_types=("gemma3_text",),
        attention_norm_behind="post_attention_layernorm",
        hidden_saved=18,
    ),
    replace(
        LLAMA,
        name="Gemma 2",
        of_note="caps its logits",
        model_types=("gemma2",),
        attention_norm_behind="post_attention_layernorm",
        after_head=(("cap", "final_logit_softcapping"),),
        attention="eager",
        shares_prefix=False,
        hidden_saved=18,
        probabilities_saved=2,
    ),
    replace(
        LLAMA,
        name="OLMo",
        of_note="2 and 3: norms behind attention and MLP",
        model_types=("olmo", "olmo2", "olmo3"),
    ),
    replace(
        LLAMA, name="Exaone 4", of_note="norms behind attention and MLP", model_types=("exaone4",)
    ),
    replace(LLAMA, name="StableLM", model_types=("stablelm",), hidden_saved=9),
    replace(
        LLAMA,
        name="GLM",
        model_types=("glm", "glm4"),
        attention_norm_behind="post_self_attn_layernorm",
    ),
    replace(
        LLAMA,
        name="Phi",
        of_note="phi-1, phi-1.5, phi-2; parallel residual, and the head has a bias",
        model_types=("phi",),
        final_norm="final_layernorm",
        inner_saved=2,
        attention_out="self_attn.dense",
        mlp_out="mlp.fc2",
        per_token=("self_attn.q_proj", "self_attn.dense", "mlp"),
        lm_head_bias=True,
    ),
    replace(
        LLAMA,
        name="Phi-3",
        of_note="phi-4 too",
        model_types=("phi3",),
        lora_targets=("self_attn.qkv_proj", "self_attn.o_proj"),
        per_token=("self_attn.o_proj", "mlp"),
        values="self_attn.qkv_proj",
    ),
    replace(LLAMA, name="Nemotron", model_types=("nemotron",), inner_saved=2),
    replace(LLAMA, name="Arcee", model_types=("arcee",), inner_saved=2),
    replace(
        LLAMA,
        name="StarCoder2",
        model_types=("starcoder2",),
        inner_saved=2,
        mlp_out="mlp.c_proj",
        per_token=("self_attn.q_proj", "self_attn.o_proj", "mlp.c_fc", "mlp.act", "mlp.c_proj"),
    ),
    replace(LLAMA, name="Apertus", model_types=("apertus",), classifies=False),
    replace(
        LLAMA, name="ERNIE 4.5", of_note="dense models", model_types=("ernie4_5",), classifies=False
    ),
    replace(
        LLAMA,
        name="Granite",
        of_note="its multipliers stay",
        model_types=("granite",),
        after_head=(("over", "logits_scaling"),),
        classifies=False,
    ),
    replace(
        LLAMA,
        name="Cohere",
        of_note="its multiplier stays",
        model_types=("cohere", "cohere2"),
        after_head=(("times", "logit_scale"),),
        classifies=False,
    ),
)
