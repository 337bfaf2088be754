"""Safetensors files written tensor by tensor, in pieces: none of them is ever whole in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Streamed:
    """One tensor that is still to be made."""

    dtype: str
    """As safetensors calls it: ``F32``."""

    shape: tuple[int, ...]
    nbytes: int

    pieces: Callable[[], Iterable[Any]]
    """Its bytes in order, as anything with a buffer: called when its turn has come."""


def header_of(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """What stands in front of these tensors in a safetensors file, its own length included.

    ``tensors`` lie behind it in this order; each has a ``dtype``, a ``shape`` and ``nbytes``.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        offsets = [end, end := end + tensor.nbytes]
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_streamed(path: Path, tensors: Mapping[str, Streamed]) -> None:
    """Write ``tensors`` to ``path``, which is not there yet, as the library writes them.

    Raises RuntimeError where the pieces of a tensor are not as long as it is, OSError where the
    file cannot be written.
    """
    with path.open("wb") as file:
        file.write(header_of(tensors, {"format": "pt"}))
        for name, tensor in tensors.items():
            written = sum(file.write(piece) for piece in tensor.pieces())
            if written != tensor.nbytes:
                raise RuntimeError(f"{name} has {written} bytes, not {tensor.nbytes}")
