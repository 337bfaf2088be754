"""GGUF files of quantised weights, converted to a plain folder of float32 safetensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from slimcls.backbones.streamed import Streamed, write_streamed

#: Numbers that are expanded at once: the largest tensor is never whole in memory.
_PIECE = 1 << 22


def convert(file: Path, target: Path, mend: Callable[[Any], Any]) -> None:
    """Write a GGUF model into ``target`` as transformers' own files.

    Args:
        file: The GGUF file, with the tokenizer in it.
        target: An empty folder.
        mend: Gives the tokenizer that is written, from the one that transformers reads.
    """
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    with _looked_up_once():
        config: Any = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
        config._name_or_path = ""
        # They are plain weights now.
        config.dtype = "float32"
        config.save_pretrained(target)
        GenerationConfig.from_model_config(config).save_pretrained(target)
        write_streamed(target / "model.safetensors", _tensors(file, config))
    # Last, since it takes more memory than a piece of a tensor, and with the file closed.
    tokenizer = mend(AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name))
    tokenizer.save_pretrained(target)


@contextmanager
def _looked_up_once() -> Iterator[None]:
    """Inside, a file is opened once, and the names of an architecture's tensors are made once.

    transformers makes the names anew for every module, and whoever opens a file reads all of its
    tokens: together half of what a conversion would take.
    """
    import gguf

    patched: Any = gguf
    reader, names = patched.GGUFReader, patched.get_tensor_name_map
    patched.GGUFReader, patched.get_tensor_name_map = cache(reader), cache(names)
    try:
        yield
    finally:
        patched.GGUFReader, patched.get_tensor_name_map = reader, names


def _tensors(file: Path, config: Any) -> dict[str, Streamed]:
    """The model's tensors by their names in transformers, in the order of these."""
    import torch
    from gguf import GGUFReader
    from tqdm import tqdm
    from transformers import AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
        read_field,
    )

    reader = GGUFReader(str(file))
    architecture = read_field(reader, "general.architecture")[0]
    process = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=config.to_dict())
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        del shapes["lm_head.weight"]
    names = get_gguf_hf_weights_map(model, process)
    stored = {names[one.name]: one for one in reader.tensors if one.name in names}
    if stored.keys() != shapes.keys():
        raise RuntimeError(f"{file}: {min(stored.keys() ^ shapes.keys())} is not in both")
    # None where stderr is no terminal.
    bar = tqdm(total=len(shapes), desc="expanding weights", disable=None, leave=False)

    def streamed(name: str) -> Streamed:
        def pieces() -> Iterator[Any]:
            yield from _expanded(stored[name], process)
            bar.update()
            if bar.n == bar.total:
                bar.close()

        shape = shapes[name]
        return Streamed("F32", shape, 4 * torch.Size(shape).numel(), pieces)

    return {name: streamed(name) for name in sorted(shapes)}


def _expanded(tensor: Any, process: Any) -> Iterator[Any]:
    """A tensor's numbers in float32, some rows at a time where it has a row a token."""
    import numpy as np
    from gguf.quants import dequantize

    data = tensor.data
    rows = len(data)
    if tensor.name.startswith(("token_embd.", "output.")):
        rows = max(1, _PIECE * len(data) // int(tensor.n_elements))
    for start in range(0, len(data), rows):
        plain = dequantize(data[start : start + rows], tensor.tensor_type)
        weights = process.process(weights=plain, name=tensor.name).weights
        yield np.ascontiguousarray(weights, dtype=np.float32).data
