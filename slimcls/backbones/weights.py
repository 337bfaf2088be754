"""Checkpoint files, read tensor by tensor: what a cut leaves out is never read."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from safetensors import SafetensorError, safe_open

from slimcls.backbones.fused import Fused, Pieces, pieces_in
from slimcls.errors import UserError

#: Numbers of a matrix that is read by rows which are in memory at once.
PIECE = 1 << 22


class _File(Protocol):
    """One open weight file."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...
    def read(self, name: str) -> torch.Tensor: ...
    def read_rows(self, name: str, start: int, stop: int) -> torch.Tensor: ...
    def close(self) -> None: ...


class Weights:
    """The tensors of a model by name, over one file or several. A context manager.

    ``bytes_read`` counts the bytes of the tensors read so far. Opening reads headers only and
    refuses damaged files, so that a fault shows before anything is built. ``elsewhere`` are names
    of tensors that the model has too, in files that are not here. Of what is ``fused`` in today's
    models, parts are read as the one tensor that they are there.
    """

    def __init__(
        self,
        files: Iterable[Path],
        elsewhere: Iterable[str] = (),
        fused: Iterable[Fused] = (),
    ) -> None:
        self.bytes_read = 0
        self._elsewhere = frozenset(elsewhere)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._pieces: dict[str, Pieces] = {}
        self._file_of: dict[str, _File] = {}
        self._open = ExitStack()
        try:
            for path in files:
                self._add(path)
        except BaseException:
            self._open.close()
            raise
        self._fuse(tuple(fused))

    @property
    def names(self) -> list[str]:
        """All that the model has, here or elsewhere."""
        return [*self.shapes, *(self._elsewhere - self.shapes.keys())]

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """One tensor in ``dtype``, in memory of its own."""
        if name in self._pieces:
            part = partial(self.read, dtype=dtype)
            return self._pieces[name].read(self.shapes[name], dtype, part)
        tensor = self._file_of[name].read(name)
        self.bytes_read += tensor.nbytes
        return tensor.to(dtype)

    def pieces(self, name: str, dtype: torch.dtype) -> Iterator[tuple[int, torch.Tensor]]:
        """One matrix in ``dtype``, some of its rows at a time, each time with the first's number.

        A piece has whole vector registers of numbers where the matrix's rows have them.
        """
        rows, width = self.shapes[name]
        step = max(1, PIECE // max(1, width))
        for start in range(0, rows, step):
            piece = self._file_of[name].read_rows(name, start, min(start + step, rows))
            self.bytes_read += piece.nbytes
            yield start, piece.to(dtype)

    def _fuse(self, fused: Sequence[Fused]) -> None:
        """Let one name stand for parts that lie here, or that all lie elsewhere."""
        for name, pieces in pieces_in(self.names, fused).items():
            parts = {part for row in pieces.names for part in row}
            if parts <= self._elsewhere - self.shapes.keys():
                self._elsewhere = self._elsewhere - parts | {name}
            elif shape := pieces.shape(self.shapes):
                for part in parts:
                    del self.shapes[part]
                self.shapes[name], self._pieces[name] = shape, pieces

    def _add(self, path: Path) -> None:
        file: _File = _Safetensors(path) if path.suffix == ".safetensors" else _Pickled(path)
        self._open.callback(file.close)
        for name, shape in file.shapes().items():
            self.shapes[name] = shape
            self._file_of[name] = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()


def not_finite(tensors: Mapping[str, torch.Tensor]) -> str:
    """The name of the first tensor that holds NaN or an infinite number; empty where none does."""
    for name, tensor in tensors.items():
        # A sum takes no memory; where it is too large for its type, the numbers are looked at.
        if not tensor.sum().isfinite() and not tensor.isfinite().all():
            return name
    return ""


def check_finite_weights(tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Raise UserError for weights that are NaN or infinite; ``where`` says whose they are."""
    if name := not_finite(tensors):
        raise UserError(
            f"{where}: {name} holds numbers that are not finite (NaN or infinite); its weights are "
            "damaged"
        )


#: How safetensors calls the types that weights come in; others are read by the library.
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}

#: Bytes a thread asks for at once, and how many ask: one alone neither keeps a disk busy nor
#: fills new memory as fast as it comes.
_PIECE = 1 << 24
_THREADS = 4


class _Safetensors:
    """A safetensors file, read by ``pread``: mapped memory would count as ours and could fault.

    The library checks the file and knows its tensors; large ones are read piece by piece by
    several threads, which it does not do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = ExitStack()
        try:
            opened = safe_open(path, framework="pt", backend="pread")
            self._file: Any = self._open.enter_context(opened)
            self._raw = self._open.enter_context(path.open("rb", buffering=0))
        except (SafetensorError, OSError, ValueError) as error:
            self._open.close()
            raise UserError(
                f"{path}: not a whole safetensors file ({_first_line(error)}); fetch it again"
            ) from error
        self._readers = self._open.enter_context(ThreadPoolExecutor(_THREADS))
        self._places = self._find_places()

    def _find_places(self) -> dict[str, int]:
        """Where each tensor's bytes begin: behind the header and the tensors before it."""
        places: dict[str, int] = {}
        end = 8 + int.from_bytes(self._raw.read(8), "little")
        for name in self._file.offset_keys():
            dtype = _DTYPES.get(self._file.get_slice(name).get_dtype())
            if dtype is None:
                break
            places[name] = end
            end += math.prod(self._file.get_slice(name).get_shape()) * dtype.itemsize
        return places

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            name: tuple(self._file.get_slice(name).get_shape())
            for name in self._file.keys()  # noqa: SIM118
        }

    def read(self, name: str) -> torch.Tensor:
        shape = self._file.get_slice(name).get_shape()
        return self._whole(name, shape, 0)

    def read_rows(self, name: str, start: int, stop: int) -> torch.Tensor:
        _, *row = self._file.get_slice(name).get_shape()
        return self._whole(name, [stop - start, *row], start)

    def _whole(self, name: str, shape: list[int], first: int) -> torch.Tensor:
        try:
            return self._read(name, shape, first)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise UserError(
                f"{self._path}: cannot read {name} ({_first_line(error)}); fetch it again"
            ) from error

    def _read(self, name: str, shape: list[int], first: int) -> torch.Tensor:
        """A tensor of this ``shape``, whole or from its row ``first`` on."""
        start = self._places.get(name)
        entry = self._file.get_slice(name)
        if start is None or not hasattr(os, "preadv"):
            whole = list(entry.get_shape()) == shape
            part: torch.Tensor
            part = self._file.get_tensor(name) if whole else entry[first : first + shape[0]]
            return part
        dtype = _DTYPES[entry.get_dtype()]
        start += first * math.prod(shape[1:]) * dtype.itemsize
        raw = torch.empty(math.prod(shape) * dtype.itemsize, dtype=torch.uint8)
        room = raw.numpy().data
        pieces = [room[i : i + _PIECE] for i in range(0, len(room), _PIECE)]
        starts = range(start, start + len(room), _PIECE)
        # Threads cost more than they save where there is but one piece.
        fill = map if len(pieces) < 2 else self._readers.map
        list(fill(partial(_fill, self._raw.fileno()), pieces, starts))
        return raw.view(dtype).view(shape)

    def close(self) -> None:
        self._open.close()


def _fill(file: int, room: memoryview, start: int) -> None:
    """Read from ``start`` until ``room`` is full; a call may give less than it was asked for."""
    while len(room):
        count = os.preadv(file, [room], start)
        if not count:
            raise OSError("the file ends too early")
        room, start = room[count:], start + count


class _Pickled:
    """A .bin checkpoint: mapped, tensors only, kept ones copied out of the mapping."""

    def __init__(self, path: Path) -> None:
        self._tensors = _load_pickled(path)
        odd = [name for name, value in self._tensors.items() if not _is_named_tensor(name, value)]
        if odd:
            raise UserError(
                f"{path}: holds more than tensors ({odd[0]!r} is {_kind(self._tensors[odd[0]])}); "
                "only plain weights are read, best as safetensors"
            )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def read(self, name: str) -> torch.Tensor:
        # A view of a larger storage must not keep all of it.
        return self._tensors[name].clone(memory_format=torch.contiguous_format)

    def read_rows(self, name: str, start: int, stop: int) -> torch.Tensor:
        return self._tensors[name][start:stop].clone(memory_format=torch.contiguous_format)

    def close(self) -> None:
        self._tensors = {}


def _load_pickled(path: Path) -> dict[str, torch.Tensor]:
    import pickle

    try:
        loaded = _torch_load(path)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: is damaged or holds more than tensors, and code from a file is never run; "
            "use the model's safetensors file"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: not a whole PyTorch weight file ({_first_line(error)}); fetch it again"
        ) from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: holds {_kind(loaded)}, not named tensors")
    return loaded


def _torch_load(path: Path) -> Any:
    """``torch.load`` that maps the file; the format from before PyTorch 1.6 cannot be mapped."""
    with path.open("rb") as opened:
        mappable = opened.read(4) == b"PK\x03\x04"
    return torch.load(path, map_location="cpu", weights_only=True, mmap=mappable)


def _is_named_tensor(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, torch.Tensor)


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
