"""Tiny models of every family, built from a config with fixed weights: a few hundred kB each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from slimcls.backbones.quiet import no_bars
from slimcls.storage.cache import build_once, cache_dir

VOCABULARY, CONTEXT, BLOCKS, HIDDEN, HEADS = 1024, 512, 6, 32, 4

#: Spread of random weights: large enough that a block changes what passes through it.
SPREAD = 0.1


@dataclass(frozen=True)
class Tiny:
    """One tiny model: its architecture and its tokenizer's special tokens."""

    model_type: str
    settings: dict[str, Any]
    special: tuple[str, ...]
    """Special tokens, ids from 0; the last one is the end token."""
    pad: str | None = None
    start: str | None = None
    """Put in front of every text, as this family's tokenizers do."""
    dropout: dict[str, float] = field(default_factory=dict)


_GPT2: dict[str, Any] = {
    "n_layer": BLOCKS, "n_embd": HIDDEN, "n_head": HEADS, "n_positions": CONTEXT,
    "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
_GPT2_DROPOUT = {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}
_OPT: dict[str, Any] = {
    "num_hidden_layers": BLOCKS, "hidden_size": HIDDEN, "ffn_dim": 4 * HIDDEN,
    "num_attention_heads": HEADS, "max_position_embeddings": CONTEXT,
    "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2,
}  # fmt: skip
# The shape of opt-350m: norms after the halves of a block, narrow embeddings, no final norm.
_OPT_POST = _OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": HIDDEN // 2}
_OPT_DROPOUT = {"dropout": 0.1, "attention_dropout": 0.1}
_OPT_SPECIAL = ("<s>", "<pad>", "</s>")
_LLAMA: dict[str, Any] = {
    "num_hidden_layers": BLOCKS, "hidden_size": HIDDEN, "intermediate_size": 2 * HIDDEN,
    "num_attention_heads": HEADS, "num_key_value_heads": 2, "tie_word_embeddings": True,
    "max_position_embeddings": CONTEXT, "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
_NEOX: dict[str, Any] = {
    "num_hidden_layers": BLOCKS, "hidden_size": HIDDEN, "intermediate_size": 4 * HIDDEN,
    "num_attention_heads": HEADS, "max_position_embeddings": CONTEXT,
    "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
_NEOX_DROPOUT = {"hidden_dropout": 0.1, "attention_dropout": 0.1}
_END = ("<|endoftext|>",)

TINY: dict[str, Tiny] = {
    "tiny-gpt2": Tiny("gpt2", _GPT2, _END, dropout=_GPT2_DROPOUT),
    "tiny-opt": Tiny("opt", _OPT, _OPT_SPECIAL, "<pad>", "</s>", _OPT_DROPOUT),
    "tiny-opt-post": Tiny("opt", _OPT_POST, _OPT_SPECIAL, "<pad>", "</s>", _OPT_DROPOUT),
    "tiny-llama": Tiny("llama", _LLAMA, ("<s>", "</s>"), None, "<s>", {"attention_dropout": 0.1}),
    "tiny-neox": Tiny("gpt_neox", _NEOX, _END, dropout=_NEOX_DROPOUT),
}


def build(name: str) -> Path:
    """Folder of a tiny model in the cache, built at the first call.

    Raises:
        UserError: the cache cannot be written.
        KeyError: no such tiny model.
    """
    row = TINY[name]
    return build_once(_folder(name), lambda target: _write(row, target))


def _folder(name: str) -> Path:
    """Named after what the model is made from, so that a change makes another folder."""
    made_from = Path(__file__).read_bytes() + _corpus().encode()
    key = hashlib.sha256(made_from).hexdigest()[:12]
    return cache_dir() / "models" / f"{name}-{key}"


@lru_cache(maxsize=1)
def _corpus() -> str:
    return Path(__file__).with_name("tiny_corpus.txt").read_text(encoding="utf-8")


def _write(row: Tiny, target: Path) -> None:
    _tokenizer(row).save_pretrained(target)
    model = make_model(row.model_type, {"vocab_size": VOCABULARY, **row.settings, **row.dropout})
    with no_bars():
        model.save_pretrained(target)


def make_model(model_type: str, settings: dict[str, Any], seed: int = 0) -> Any:
    """A causal language model of any family with fixed random weights, in evaluation mode.

    Weights are drawn by name order from a generator of their own, so that they depend on the
    seed and the shapes alone: matrices around 0, norm weights around 1, biases around 0.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(model_type, **settings)
    with torch.random.fork_rng(devices=[]):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator) * SPREAD
            is_scale = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(noise + 1 if is_scale else noise)
    return model.eval()


def _tokenizer(row: Tiny) -> Any:
    """A byte-level BPE tokenizer trained on the corpus, with the family's special tokens."""
    from transformers import PreTrainedTokenizerFast

    named = {"eos_token": row.special[-1], "bos_token": row.start or row.special[0]}
    if row.pad:
        named["pad_token"] = row.pad
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=_train(row.special), model_max_length=CONTEXT, **named
    )
    if row.start:
        tokenizer.add_bos_token = True
    return tokenizer


def _train(special: tuple[str, ...]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=list(special),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus().splitlines(), trainer)
    return tokenizer
