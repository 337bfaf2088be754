"""What the machine does and how it is measured: matrix rate, memory, bytes read, versions."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PACKAGES = ("torch", "transformers", "lightning", "accelerate", "tokenizers", "safetensors")


def describe() -> dict[str, Any]:
    """Processor, threads, accelerator and versions, for the JSON files."""
    import torch

    found = {"system": platform.system(), "processor": processor(), "cores": os.cpu_count()}
    found |= {"threads": torch.get_num_threads(), "memory_gb": round(_memory() / 1e9, 1)}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found | {"versions": versions}


def processor() -> str:
    """The processor's model name, and whether it multiplies bf16 matrices in hardware."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    entries = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in entries.items()}
    fast = [f for f in ("avx512f", "avx512_bf16", "amx_bf16") if f in fields.get("flags", "")]
    return f"{fields.get('model name', platform.machine())} ({', '.join(fast)})"


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def best_gemm(precision: str, device: str = "cpu", sizes: tuple[int, ...] = ()) -> float:
    """The best rate, in FLOP/s, of a square matrix product in this process and precision.

    ``precision`` is ``32`` or ``bf16``. Each size is multiplied until half a second is over and
    its fastest product counts, so that one slow moment does not flatter a share of this rate.
    """
    import torch

    dtype = {"32": torch.float32, "bf16": torch.bfloat16}[precision]
    rates = []
    for n in sizes or ((4096, 8192, 16384) if device == "cuda" else (512, 1024, 2048)):
        a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
        fastest = min(_product_times(a, b, device))
        rates.append(2 * n**3 / fastest)
    return max(rates)


def _product_times(a: Any, b: Any, device: str) -> list[float]:
    import torch

    times: list[float] = []
    until = time.perf_counter() + 0.5
    torch.mm(a, b)
    while time.perf_counter() < until or len(times) < 3:
        synchronize(device)
        started = time.perf_counter()
        torch.mm(a, b)
        synchronize(device)
        times.append(time.perf_counter() - started)
    return times


def synchronize(device: str) -> None:
    """Wait until a GPU has done what was asked of it."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def matmul_parameters(model: Any) -> int:
    """Weights that every token is multiplied with: nn.Linear and Conv1D of the backbone.

    Neither embeddings, which are looked up, nor heads, which see one token an item.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    base = getattr(model, model.base_model_prefix, model)
    kinds = (nn.Linear, Conv1D)
    return sum(m.weight.numel() for m in base.modules() if isinstance(m, kinds))


def share_of_gemm(
    parameters: int, tokens: float, seconds: float, rate: float, *, training: bool = True
) -> float:
    """Share of the matrix rate that ``tokens`` real tokens in ``seconds`` come to.

    6 x matmul parameters x tokens floating-point operations in training, 2 x in evaluation.
    """
    return (6 if training else 2) * parameters * tokens / seconds / rate


@dataclass
class Meter:
    """Measures the block under it: resident memory and its peak, bytes read, seconds (Linux).

    ``resident`` and ``peak`` are growth in bytes over what was there before; ``read`` is what the
    process read through system calls (``rchar``), mapped files not included.
    """

    resident: int = 0
    peak: int = 0
    read: int = 0
    seconds: float = 0.0

    def __enter__(self) -> Self:
        # 5 sets the peak back to what is resident now.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before, self._read = _status("VmRSS"), _rchar()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds = time.perf_counter() - self._started
        self.read = _rchar() - self._read
        self.resident = _status("VmRSS") - self._before
        self.peak = _status("VmHWM") - self._before


def _status(name: str) -> int:
    """A row of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def _rchar() -> int:
    return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function(*arguments)`` returns in a new process, whose memory is its own.

    The function stands at the top of a module; arguments and result are plain values.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
