"""Checkpoint files, read tensor by tensor: what a cut leaves out is never read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from safetensors import SafetensorError, safe_open

from slimcls.errors import UserError


class _File(Protocol):
    """One open weight file."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...
    def read(self, name: str) -> torch.Tensor: ...
    def close(self) -> None: ...


class Weights:
    """The tensors of a model by name, over one file or several. A context manager.

    ``bytes_read`` counts the bytes of the tensors read so far. Opening reads headers only and
    refuses damaged files, so that a fault shows before anything is built.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.bytes_read = 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._file_of: dict[str, _File] = {}
        self._open = ExitStack()
        try:
            for path in files:
                self._add(path)
        except BaseException:
            self._open.close()
            raise

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """One tensor in ``dtype``, in memory of its own."""
        tensor = self._file_of[name].read(name)
        self.bytes_read += tensor.nbytes
        return tensor.to(dtype)

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


class _Safetensors:
    """A safetensors file, read by ``pread``: mapped memory would count as ours and could fault."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: Any = safe_open(path, framework="pt", backend="pread").__enter__()
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(
                f"{path}: not a whole safetensors file ({_first_line(error)}); fetch it again"
            ) from error

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            name: tuple(self._file.get_slice(name).get_shape())
            for name in self._file.keys()  # noqa: SIM118
        }

    def read(self, name: str) -> torch.Tensor:
        try:
            tensor: torch.Tensor = self._file.get_tensor(name)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise UserError(
                f"{self._path}: cannot read {name} ({_first_line(error)}); fetch it again"
            ) from error
        return tensor

    def close(self) -> None:
        self._file.__exit__(None, None, None)


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
