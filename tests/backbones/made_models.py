"""Small models of every family, saved as folders, with weights that tell blocks apart."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from slimcls.backbones.families import base_of, blocks_of, family_of
from slimcls.backbones.layout import weight_files
from slimcls.backbones.sources import Source
from slimcls.backbones.tiny import make_model
from slimcls.backbones.truncate import PER_LAYER

VOCABULARY, DEPTH = 96, 6

_SIZES = {
    "vocab_size": VOCABULARY,
    "num_hidden_layers": DEPTH,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
_LLAMA = _SIZES | {"intermediate_size": 48, "num_key_value_heads": 2}
_NEOX = _SIZES | {"intermediate_size": 64}
_OPT = _SIZES | {"ffn_dim": 64}
_GPT2 = {
    "vocab_size": VOCABULARY,
    "n_layer": DEPTH,
    "n_embd": 32,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
_SLIDING = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 3, "head_dim": 8}

#: Name -> (model_type, settings): every family, and what differs inside one.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", _GPT2),
    "opt": ("opt", _OPT),
    "opt-post": ("opt", _OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    "llama": ("llama", _LLAMA | {"tie_word_embeddings": True}),
    "llama-untied": ("llama", _LLAMA | {"tie_word_embeddings": False}),
    "mistral": ("mistral", _LLAMA | {"sliding_window": 4}),
    "qwen2": ("qwen2", _LLAMA | _SLIDING),
    "qwen3": ("qwen3", _LLAMA | _SLIDING | {"tie_word_embeddings": True}),
    "smollm3": ("smollm3", _LLAMA),
    "neox-parallel": ("gpt_neox", _NEOX | {"use_parallel_residual": True}),
    "neox-sequential": ("gpt_neox", _NEOX | {"use_parallel_residual": False}),
}

_SMALL = _LLAMA | {"num_hidden_layers": 4, "head_dim": 8}
_MIXED = {
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}
_YARN = {
    "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "llama_4_scaling_beta": 0.1,
    "original_max_position_embeddings": 16,
}  # fmt: skip
_OTHER = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
_FALCON = _OTHER | {"num_hidden_layers": 4, "hidden_size": 32, "num_attention_heads": 4}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
_GRANITE_4 = (
    _SMALL
    | {"layer_types": ["linear_attention", "full_attention"] * 2, "shared_intermediate_size": 40}
    | {"mamba_n_heads": 4, "mamba_d_state": 8, "mamba_chunk_size": 8, "logits_scaling": 8.0}
    | {"position_embedding_type": "rope", "residual_multiplier": 0.22}
)
_PLAIN = {"rope_type": "default", "rope_theta": 1e4}

#: The same of every other architecture, which test_family_battery.py proves in less time.
BATTERY: dict[str, tuple[str, dict[str, Any]]] = {
    "ministral": ("ministral", _SMALL | _MIXED),
    "ministral3": ("ministral3", _SMALL | {"rope_parameters": _YARN}),
    "helium": ("helium", _SMALL),
    "seed_oss": ("seed_oss", _SMALL),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", _SMALL),
    "gemma": ("gemma", _SMALL),
    "gemma3_text": ("gemma3_text", _SMALL | _MIXED),
    "olmo": ("olmo", _SMALL),
    "olmo2": ("olmo2", _SMALL),
    "olmo3": ("olmo3", _SMALL | _MIXED),
    "exaone4": ("exaone4", _SMALL | _MIXED),
    "stablelm": ("stablelm", _SMALL),
    "stablelm-parallel": ("stablelm", _SMALL | {"use_parallel_residual": True}),
    "glm": ("glm", _SMALL),
    "glm4": ("glm4", _SMALL),
    "phi": ("phi", _SMALL),
    "phi3": ("phi3", _SMALL | {"sliding_window": 4}),
    "nemotron": ("nemotron", _SMALL),
    "arcee": ("arcee", _SMALL),
    "starcoder2": ("starcoder2", _SMALL | {"sliding_window": 4}),
    "apertus": (
        "apertus",
        _SMALL | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    ),
    "ernie4_5": ("ernie4_5", _SMALL),
    "granite": (
        "granite",
        _SMALL | {"logits_scaling": 8.0, "residual_multiplier": 0.22, "embedding_multiplier": 12.0},
    ),
    "cohere": ("cohere", _SMALL),
    "cohere2": ("cohere2", _SMALL | _MIXED),
    "gemma2": ("gemma2", _SMALL | _MIXED | {"final_logit_softcapping": 2.0}),
    "falcon": ("falcon", _FALCON | {"ffn_hidden_size": 48}),
    "falcon-new": ("falcon", _FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-alibi": ("falcon", _FALCON | {"alibi": True, "parallel_attn": False, "bias": True}),
    "bloom": ("bloom", _OTHER | {"n_layer": 4, "hidden_size": 32, "n_head": 4}),
    "gptj": ("gptj", _OTHER | {"n_layer": 4, "n_embd": 32, "n_head": 4, "rotary_dim": 4}),
    "gpt_neo": (
        "gpt_neo",
        _OTHER
        | {"num_layers": 4, "hidden_size": 32, "num_heads": 4, "window_size": 4}
        | {"max_position_embeddings": 64}
        | {"attention_types": [[["global", "local"], 2]]},
    ),
    "modernbert-decoder": (
        "modernbert-decoder",
        _SMALL
        | {"local_attention": 8, "layer_types": ["full_attention", "sliding_attention"] * 2}
        | {"cls_token_id": 0, "sep_token_id": 0},
    ),
    "lfm2": (
        "lfm2",
        _SMALL | {"layer_types": ["conv", "full_attention"] * 2} | {"block_multiple_of": 8},
    ),
    "qwen3_moe": ("qwen3_moe", _SMALL | _MOE | {"mlp_only_layers": [2]}),
    "qwen2_moe": (
        "qwen2_moe",
        _SMALL | _MOE | {"shared_expert_intermediate_size": 40, "decoder_sparse_step": 2},
    ),
    "granite-4": ("granitemoehybrid", _GRANITE_4 | {"num_local_experts": 0}),
    "granite-4-experts": (
        "granitemoehybrid",
        _GRANITE_4 | {"num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "mpt": ("mpt", _OTHER | {"n_layers": 4, "d_model": 32, "n_heads": 4}),
}


def make(name: str) -> Any:
    """The full model, float32, in evaluation mode."""
    model_type, settings = (MODELS | BATTERY)[name]
    return make_model(model_type, settings, seed=7)


def composed(full: Any, layers: tuple[int, ...]) -> Any:
    """The full model with only some of its own blocks left in its list, renumbered by hand."""
    model = copy.deepcopy(full)
    blocks = list(blocks_of(model))
    family = family_of(model.config)
    parent = base_of(model)
    *path, last = family.blocks.split(".")
    for name in path:
        parent = getattr(parent, name)
    setattr(parent, last, torch.nn.ModuleList(blocks[i] for i in layers))
    for place, i in enumerate(layers):
        for module in blocks[i].modules():
            for name in ("layer_idx", "layer_id"):
                if hasattr(module, name):
                    setattr(module, name, place)
    for name in PER_LAYER:
        values = getattr(model.config, name, None)
        if values:
            setattr(model.config, name, [values[i] for i in layers])
    setattr(model.config, family.depth_key, len(layers))
    return model


def saved(model: Any, folder: Path, **options: Any) -> Source:
    """``model`` written to ``folder`` as transformers does it."""
    model.save_pretrained(folder, **options)
    return source_of(folder)


def source_of(folder: Path) -> Source:
    """A source without a fingerprint, which costs a read of all files."""
    names = [file.name for file in folder.iterdir()]
    weights = weight_files(names, str(folder), lambda name: folder / name)
    return Source(str(folder), folder, "none", tuple(folder / name for name in weights))


def ids(length: int = 12, batch: int = 2) -> torch.Tensor:
    """Token ids without the pad token, (batch, length)."""
    generator = torch.Generator().manual_seed(3)
    return torch.randint(2, VOCABULARY, (batch, length), generator=generator)


@contextmanager
def streams(model: Any) -> Iterator[dict[int, torch.Tensor]]:
    """The residual stream after each block, as it was in the last forward pass."""
    seen: dict[int, torch.Tensor] = {}

    def keep(index: int) -> Any:
        def hook(module: Any, given: Any, result: Any) -> None:
            seen[index] = (result[0] if isinstance(result, tuple) else result).detach().clone()

        return hook

    handles = [
        block.register_forward_hook(keep(index)) for index, block in enumerate(blocks_of(model))
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def saved_for_backward(model: Any, tokens: int, batch: int) -> int:
    """Bytes that autograd keeps of a forward pass, parameters left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(input_ids=ids(tokens, batch), use_cache=False).last_hidden_state.sum()
    return sum(kept.values())
