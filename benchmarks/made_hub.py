"""GPT-2 XL, OPT-1.3B and their small rivals without their weights, on a hub on loopback.

Checkpoints have the shapes, names, types and kinds of files of the real ones, and few distinct
values: vectors are full, of matrices every 64th page, the rest are holes that take no disk.
Tokenizers are those of the tiny models. What a model is worth is not to be seen here; what travels,
what it takes, and whether all of it fits together is.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).parents[1]
#: A page of memory and of most disks, and which of them have numbers.
PAGE, EVERY = 4096, 64
#: Tensors up to so many bytes are full.
FULL = 1 << 18


@dataclass(frozen=True)
class Shape:
    """A model as its config.json and its weight file have it."""

    repo: str
    model_type: str
    config: Mapping[str, Any]
    file: str
    half: bool = False
    """Whether its numbers have two bytes."""
    buffers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """What old checkpoints hold in each block besides its parameters."""

    @property
    def depth_key(self) -> str:
        """What its config calls the number of layers."""
        return "n_layer" if self.model_type == "gpt2" else "num_hidden_layers"


def _gpt2(name: str, width: int, depth: int, heads: int) -> Shape:
    config = {"n_embd": width, "n_layer": depth, "n_head": heads}
    masks = {"attn.bias": (1, 1, 1024, 1024)}
    return Shape(f"openai-community/{name}", "gpt2", config, "model.safetensors", buffers=masks)


def _opt(name: str, width: int, depth: int, heads: int) -> Shape:
    config = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads,
              "ffn_dim": 4 * width, "word_embed_proj_dim": width}  # fmt: skip
    return Shape(f"facebook/{name}", "opt", config, "pytorch_model.bin", half=True)


SHAPES = {
    "gpt2-xl": _gpt2("gpt2-xl", 1600, 48, 25),
    "gpt2": _gpt2("gpt2", 768, 12, 12),
    "opt-1.3b": _opt("opt-1.3b", 2048, 24, 32),
    "opt-125m": _opt("opt-125m", 768, 12, 12),
}


def make(hub: Path, name: str) -> Path:
    """Write a model into a hub's folder; returns its own."""
    import torch
    from transformers import AutoConfig, AutoModel

    from slimcls.backbones import tiny
    from slimcls.backbones.layout import TOKENIZER_FILES

    shape = SHAPES[name]
    folder = hub / "models" / shape.repo / "main"
    folder.mkdir(parents=True)
    config = AutoConfig.for_model(shape.model_type, **shape.config)
    config.save_pretrained(folder)
    known = tiny.build(f"tiny-{shape.model_type}")
    for file in TOKENIZER_FILES:
        if (known / file).exists():
            shutil.copy(known / file, folder / file)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for layer in range(shape.config[shape.depth_key]):
        shapes |= {f"h.{layer}.{name}": size for name, size in shape.buffers.items()}
    dtype = torch.float16 if shape.half else torch.float32
    with Holes(folder / shape.file) as file:
        if shape.file.endswith(".bin"):
            torch.save({name: values(name, size, dtype) for name, size in shapes.items()}, file)
        else:
            _write_safetensors(file, shapes, dtype)
    return folder


def values(name: str, shape: tuple[int, ...], dtype: Any) -> Tensor:
    """Few distinct numbers; ones where a norm multiplies, which would lose its input else."""
    import torch

    made = torch.zeros(shape, dtype=dtype)
    flat = made.view(-1)
    page = PAGE // made.element_size()
    if name.endswith(".bias") and len(shape) > 1:
        return made
    if "norm" in name or "ln_" in name:
        return made.fill_(1.0) if name.endswith("weight") else made
    chance = torch.Generator().manual_seed(len(name) + flat.numel())
    few = torch.tensor([-0.04, -0.02, 0.02, 0.04], dtype=dtype)
    pages = few[torch.randint(4, (61, page), generator=chance)]
    step = page if made.nbytes <= FULL else EVERY * page
    for place, start in enumerate(range(0, flat.numel(), step)):
        part = flat[start : start + page]
        part.copy_(pages[place % len(pages)][: len(part)])
    return made


class Holes(io.RawIOBase):
    """A file that leaves out pages of zeros; they take no disk."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._at = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Bytes so far, holes included."""
        return self._at

    def write(self, chunk: Any) -> int:
        """Write the runs of pages that hold something."""
        import numpy as np

        view = memoryview(chunk).cast("B")
        first = min(-self._at % PAGE, len(view))
        last = first + (len(view) - first) // PAGE * PAGE
        self._put(view[:first], self._at)
        pages = np.frombuffer(view[first:last], np.int64).reshape(-1, PAGE // 8)
        full = np.flatnonzero(pages.any(axis=1))
        for run in np.split(full, np.flatnonzero(np.diff(full) > 1) + 1) if len(full) else ():
            start, stop = first + int(run[0]) * PAGE, first + (int(run[-1]) + 1) * PAGE
            self._put(view[start:stop], self._at + start)
        self._put(view[last:], self._at + last)
        self._at += len(view)
        return len(view)

    def _put(self, part: memoryview, at: int) -> None:
        if len(part):
            os.pwrite(self._file.fileno(), part, at)

    def close(self) -> None:
        """Give the file its length, which a hole at its end has not."""
        if not self.closed:
            self._file.truncate(self._at)
            self._file.close()
        super().close()


def _write_safetensors(file: Holes, shapes: Mapping[str, tuple[int, ...]], dtype: Any) -> None:
    """A safetensors file: the length of the header, the header, the numbers."""
    import math

    item, header, end = dtype.itemsize, {}, 0
    for name, shape in sorted(shapes.items()):
        start, end = end, end + math.prod(shape) * item
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps({"__metadata__": {"format": "pt"}} | header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name, shape in sorted(shapes.items()):
        file.write(values(name, shape, dtype).numpy())


@contextmanager
def serving(hub: Path, home: Path) -> Iterator[Any]:
    """The hub of the tests, running; gives it and the environment of who shall ask it."""
    # It is no package, and what it is made of lies beside it.
    if (tests := str(ROOT / "tests")) not in sys.path:
        sys.path.append(tests)
    server = importlib.import_module("hub_server")
    with server.serve_hub(hub) as running:
        yield (
            running,
            {
                "HF_ENDPOINT": running.url,
                "HF_HOME": str(home / "hf"),
                "SLIMCLS_CACHE": str(home / "slimcls"),
                "HF_HUB_OFFLINE": "0",
                "TRANSFORMERS_OFFLINE": "0",
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DOWNLOAD_TIMEOUT": "30",
                "HF_HUB_ETAG_TIMEOUT": "30",
                "no_proxy": "127.0.0.1,localhost",
                "NO_PROXY": "127.0.0.1,localhost",
            },
        )


def weights_sent(hub: Any) -> int:
    """Bytes of weight files that a hub has sent so far, headers and directories included."""
    return sum(hub.sent[shape.file] for shape in {s.file: s for s in SHAPES.values()}.values())
