"""Which tensors a weight file on the hub holds, and where; of safetensors, from its header."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from slimcls.backbones.ranges import NotInParts, RemoteFile

#: Bytes that are asked for at first: most headers, and most directories of archives, are shorter.
GUESS = 1 << 18
#: The longest header that safetensors' own library takes.
LONGEST = 100_000_000

#: Bytes of an element, by what safetensors calls its type.
ITEM_SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Record:
    """What lies in an archive under one name: its data can be checked alone."""

    size: int
    crc: int
    """CRC-32 of the data."""


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file: what has to be fetched, and what it means."""

    dtype: str
    """As safetensors calls it."""
    shape: tuple[int, ...]
    start: int
    """Where begins what has to be fetched: the tensor, or the record that holds it."""
    stop: int
    record: Record | None = None
    offset: int = 0
    """Where in the record's data the tensor begins, in bytes."""

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * ITEM_SIZES[self.dtype]


@dataclass(frozen=True)
class Directory:
    """The tensors of one file on the hub, which its hash and length tell from any other."""

    hash: str
    size: int
    tensors: dict[str, Tensor]

    def to_json(self) -> str:
        """As it is kept in the cache."""
        rows = {
            name: [t.dtype, t.shape, t.start, t.stop, t.offset, *_numbers(t.record)]
            for name, t in self.tensors.items()
        }
        return json.dumps({"hash": self.hash, "size": self.size, "tensors": rows})

    @classmethod
    def from_json(cls, text: str) -> Directory:
        """What :meth:`to_json` wrote. Raises ValueError, TypeError or KeyError for any other."""
        content = json.loads(text)
        tensors = {
            name: Tensor(dtype, tuple(shape), start, stop, Record(*of) if of else None, offset)
            for name, (dtype, shape, start, stop, offset, *of) in content["tensors"].items()
        }
        return cls(str(content["hash"]), int(content["size"]), tensors)


def _numbers(record: Record | None) -> list[int]:
    return [] if record is None else [record.size, record.crc]


def tensors_in_safetensors(remote: RemoteFile) -> dict[str, Tensor]:
    """The tensors of a .safetensors file. Raises NotInParts where it is none."""
    head = remote.read(0, min(GUESS, remote.size))
    base = 8 + int.from_bytes(head[:8], "little")
    if base > min(LONGEST, remote.size):
        raise NotInParts("its header is not one of safetensors")
    if base > len(head):
        head += remote.read(len(head), base)
    try:
        header = json.loads(head[8:base])
        header.pop("__metadata__", None)
        tensors = {name: _placed(entry, base) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotInParts("its header cannot be read") from error
    _check_places(tensors, base, remote.size)
    return tensors


def _placed(entry: dict[str, Any], base: int) -> Tensor:
    start, stop = (base + int(offset) for offset in entry["data_offsets"])
    shape = tuple(int(length) for length in entry["shape"])
    return Tensor(str(entry["dtype"]), shape, start, stop)


def _check_places(tensors: dict[str, Tensor], base: int, size: int) -> None:
    """Whether the tensors fill the file from header to end, each as long as its shape says."""
    end = base
    for name, tensor in sorted(tensors.items(), key=lambda named: named[1].start):
        if tensor.dtype not in ITEM_SIZES:
            raise NotInParts(f"{name} has numbers of type {tensor.dtype[:20]}")
        if tensor.start != end or tensor.stop - tensor.start != tensor.nbytes:
            raise NotInParts(f"{name} does not lie where its header says")
        end = tensor.stop
    if end != size:
        raise NotInParts("it is not as long as its header says")
