"""Weights of the blocks in 8 or 4 bits (bitsandbytes), counted and measured as they are held."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slimcls.backbones import quiet
from slimcls.backbones.families import blocks_of
from slimcls.errors import UserError

#: What a weight may be held in, and what bitsandbytes calls it.
BITS = {8: "int8", 4: "nf4"}


@dataclass(frozen=True)
class Quantised:
    """What was quantised: matrices of the blocks, Linear and GPT-2's Conv1D alike."""

    bits: int
    modules: int
    weights: int
    """Numbers in those matrices."""


def quantise(model: Any, bits: int) -> Quantised:
    """Put every weight matrix of the blocks into 8 or 4 bits.

    8 bits have a scale a row, and the inputs of their products are rounded to 8 bits too; 4 bits
    (NF4) have a scale for 64 numbers.

    Embeddings, norms, biases and the head stay as they are. ``model`` is changed in place; its
    dropout, hooks and cache go on as before.

    Source: Dettmers et al., arXiv 2208.07339 (8 bits) and arXiv 2305.14314 (NF4).

    Raises:
        UserError: bitsandbytes is not installed, or nothing was there to quantise.
    """
    replace = _replacement(bits)
    modules = weights = 0
    for block in blocks_of(model):
        for name, module in list(block.named_modules()):
            if not _is_projection(module):
                continue
            owner = block.get_submodule(name.rpartition(".")[0])
            setattr(owner, name.rpartition(".")[2], replace(module))
            modules, weights = modules + 1, weights + module.weight.numel()
    if not modules:
        raise UserError(
            f"{type(model).__name__}: no weight matrix of its blocks could be quantised"
        )
    return Quantised(bits, modules, weights)


def _is_projection(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return type(module) in (nn.Linear, Conv1D)


def _replacement(bits: int) -> Any:
    quiet.bitsandbytes()
    try:
        bnb: Any = import_module("bitsandbytes")
    except ModuleNotFoundError:
        raise UserError(
            "--quantise: its package is missing; pip install 'slimcls[quant]'"
        ) from None

    def matrix(module: Any) -> Tensor:
        """(out, in), however the module stores it."""
        weight = module.weight.detach()
        return weight if isinstance(module, nn.Linear) else weight.T.contiguous()

    def int8(module: Any) -> nn.Module:
        weight, biased = matrix(module), module.bias is not None
        made = bnb.nn.Linear8bitLt(*weight.T.shape, bias=biased, has_fp16_weights=False)
        made.weight = bnb.nn.Int8Params(weight.clone(), requires_grad=False)
        return _placed(made, module)

    def nf4(module: Any) -> nn.Module:
        weight, biased = matrix(module), module.bias is not None
        made = bnb.nn.Linear4bit(
            *weight.T.shape, bias=biased, quant_type="nf4", compute_dtype=weight.dtype
        )
        made.weight = bnb.nn.Params4bit(weight.clone(), requires_grad=False, quant_type="nf4")
        # Another layout of the same numbers, which needs rows of a certain length.
        made.support_avx512bf16_for_cpu = False
        return _placed(made, module)

    return {8: int8, 4: nf4}[bits]


def _placed(made: Any, module: Any) -> nn.Module:
    """Moving to the device is what quantises."""
    if module.bias is not None:
        made.bias = nn.Parameter(module.bias.detach().clone(), requires_grad=False)
    return made.to(module.weight.device).eval()


def held_bytes(model: nn.Module) -> int:
    """Bytes of all weights as they are held, scales and code books of 8 and 4 bits included."""
    return sum(tensor.numel() * tensor.element_size() for _, tensor in _tensors(model))


def stored_bytes(model: nn.Module) -> int:
    """Bytes of one safetensors file with all weights as they are held, written and looked at."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in _tensors(model)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(tensors, path)
        return path.stat().st_size


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Everything a saved model would hold, a tied tensor once."""
    seen: set[int] = set()
    for name, value in model.state_dict().items():
        if isinstance(value, torch.Tensor) and value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            yield name, value
