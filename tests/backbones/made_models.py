"""Small models of every family, saved as folders, with weights that tell blocks apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from slimcls.backbones.families import blocks_of
from slimcls.backbones.layout import weight_files
from slimcls.backbones.sources import Source
from slimcls.backbones.tiny import make_model

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


def make(name: str) -> Any:
    """The full model, float32, in evaluation mode."""
    model_type, settings = MODELS[name]
    return make_model(model_type, settings, seed=7)


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
