"""Tensors in a .bin on the hub: the directory of its zip archive, and a pickle that runs nothing.

Format of the archive: PKWARE's APPNOTE 6.3; of what PyTorch puts into it: data.pkl names each
tensor's storage, data/KEY has its numbers, uncompressed.
"""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO

from slimcls.backbones.directory import GUESS, ITEM_SIZES, LONGEST, Record, Tensor
from slimcls.backbones.ranges import NotInParts, RemoteFile
from slimcls.errors import UserError

#: How the parts of an archive begin.
_ENTRY, _LISTED, _END, _END_64, _LOCATOR_64 = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7"
_LENGTH_OF_ENTRY, _LENGTH_OF_LISTED = 30, 46
_BIG = 0xFFFFFFFF
_COPIED = 1 << 24


class Damaged(Exception):
    """Bytes that came do not have the checksum that their archive has for them."""


@dataclass(frozen=True)
class _Entry:
    """A file in the archive: from its own header to where the next begins."""

    start: int
    stop: int
    record: Record
    compressed: bool


def tensors_in_archive(remote: RemoteFile) -> dict[str, Tensor]:
    """The tensors of a .bin. Raises NotInParts where it holds more, or is no such archive."""
    try:
        entries = _entries(remote)
        (root,) = (name.removesuffix("data.pkl") for name in entries if name.endswith("data.pkl"))
        order = entries.get(f"{root}byteorder")
        if order and _data(remote, order) != b"little":
            raise NotInParts("its numbers have another byte order")
        if entries[f"{root}data.pkl"].record.size > LONGEST:
            raise NotInParts("its list of tensors is too long")
        pickled = io.BytesIO(_data(remote, entries[f"{root}data.pkl"]))
        found = _Unpickler(pickled).load()
        if not isinstance(found, dict):
            raise NotInParts("it holds more than named tensors")
        return {name: _placed(name, value, root, entries) for name, value in found.items()}
    except UserError:  # of the network, or the file
        raise
    except (ValueError, KeyError, IndexError, TypeError, struct.error, Damaged) as error:
        raise NotInParts("it is not an archive as PyTorch writes them") from error
    except (pickle.UnpicklingError, EOFError, AttributeError) as error:
        raise NotInParts("it holds more than tensors") from error


def _placed(name: Any, value: Any, root: str, entries: dict[str, _Entry]) -> Tensor:
    if not isinstance(name, str) or not isinstance(value, _View):
        raise NotInParts("it holds more than named tensors")
    entry, item = entries[f"{root}data/{value.storage.key}"], ITEM_SIZES[value.storage.dtype]
    tensor = Tensor(
        value.storage.dtype, value.shape, entry.start, entry.stop, entry.record, value.offset * item
    )
    if entry.compressed or value.strides != _strides(value.shape):
        raise NotInParts(f"{name} is stored in another order")
    if value.offset < 0 or tensor.offset + tensor.nbytes > entry.record.size:
        raise NotInParts(f"{name} is longer than its storage")
    return tensor


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a tensor whose numbers lie one after the other, the last dimension first."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


def begin_in(file: BinaryIO, tensor: Tensor) -> int:
    """Where a tensor's numbers begin in a file that has what was fetched at its own place.

    The header in front of a record has a length that the directory does not tell. Raises Damaged
    where the record's checksum is another.
    """
    if tensor.record is None:
        return tensor.start
    file.seek(tensor.start)
    header = file.read(_LENGTH_OF_ENTRY)
    if header[:4] != _ENTRY:
        raise Damaged
    name, extra = struct.unpack("<HH", header[26:30])
    start = tensor.start + _LENGTH_OF_ENTRY + name + extra
    file.seek(start)
    left, crc = tensor.record.size, 0
    while chunk := file.read(min(left, _COPIED)):
        crc, left = zlib.crc32(chunk, crc), left - len(chunk)
    if left or crc != tensor.record.crc or start + tensor.record.size > tensor.stop:
        raise Damaged
    return start + tensor.offset


def _data(remote: RemoteFile, entry: _Entry) -> bytes:
    """A small file in the archive. Raises Damaged."""
    held = io.BytesIO(remote.read(entry.start, entry.stop))
    whole = Tensor("U8", (entry.record.size,), 0, entry.stop - entry.start, entry.record)
    held.seek(begin_in(held, whole))
    return held.read(entry.record.size)


def _entries(remote: RemoteFile) -> dict[str, _Entry]:
    """The directory at the archive's end, by name."""
    start = max(0, remote.size - GUESS)
    tail = remote.read(start, remote.size)
    end = tail.rindex(_END)
    count, size, offset = struct.unpack("<HII", tail[end + 10 : end + 20])
    if _BIG in (size, offset) or count == 0xFFFF:
        size, offset = _large(remote, tail, start)
    listed = tail[offset - start :] if offset >= start else remote.read(offset, offset + size)
    rows = list(_rows(listed[:size]))
    # Each file's header follows the one before; the directory follows the last.
    places = sorted([place for _, place, _, _ in rows] + [offset])
    following = dict(pairwise(places))
    return {
        name: _Entry(place, following[place], record, compressed)
        for name, place, record, compressed in rows
    }


def _large(remote: RemoteFile, tail: bytes, start: int) -> tuple[int, int]:
    """Length and place of the directory of an archive that is longer than 4 GB."""
    locator = tail.rindex(_LOCATOR_64)
    (end,) = struct.unpack("<Q", tail[locator + 8 : locator + 16])
    found = tail[end - start :][:56] if end >= start else remote.read(end, end + 56)
    if found[:4] != _END_64:
        raise ValueError("no end of a large archive")
    size, offset = struct.unpack("<QQ", found[40:56])
    return size, offset


def _rows(listed: bytes) -> Any:
    """Name, place, record, and whether it is compressed, of each file that a directory lists."""
    at = 0
    while listed[at : at + 4] == _LISTED:
        method, crc, packed, size, name, extra, comment = struct.unpack(
            "<H4xIIIHHH", listed[at + 10 : at + 34]
        )
        (place,) = struct.unpack("<I", listed[at + 42 : at + 46])
        names = at + _LENGTH_OF_LISTED
        more = _long_numbers(listed[names + name : names + name + extra])
        # Those that are too long for four bytes follow, in this order.
        size, packed, place = (
            more.pop(0) if number == _BIG else number for number in (size, packed, place)
        )
        yield listed[names : names + name].decode(), place, Record(size, crc), bool(method)
        at = names + name + extra + comment


def _long_numbers(extra: bytes) -> list[int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[at : at + 4])
        if kind == 1:
            return list(struct.unpack(f"<{length // 8}Q", extra[at + 4 : at + 4 + length // 8 * 8]))
        at += 4 + length
    return []


@dataclass(frozen=True)
class _Storage:
    dtype: str
    key: str


@dataclass(frozen=True)
class _View:
    """A tensor as a pickle has it; offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _view(storage: _Storage, offset: int, shape: Any, strides: Any, *rest: object) -> _View:
    return _View(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _parameter(data: _View, *rest: object) -> _View:
    return data


#: What a pickle of weights may name, and what stands for it here. No other name is looked up, so
#: that nothing of a file is ever run.
_NAMED: dict[tuple[str, str], Callable[..., Any] | str] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "DoubleStorage"): "F64",
    ("torch", "FloatStorage"): "F32",
    ("torch", "HalfStorage"): "F16",
    ("torch", "BFloat16Storage"): "BF16",
    ("torch", "LongStorage"): "I64",
    ("torch", "IntStorage"): "I32",
    ("torch", "ShortStorage"): "I16",
    ("torch", "CharStorage"): "I8",
    ("torch", "ByteStorage"): "U8",
    ("torch", "BoolStorage"): "BOOL",
}


class _Unpickler(pickle.Unpickler):
    """Names and places of tensors, without their numbers."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMED:
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return _NAMED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, _, _ = pid
        return _Storage(dtype, str(key))
