"""Which device computes: the settings' names and torch's."""

from __future__ import annotations

from typing import Literal

from slimcls.errors import UserError

#: A device, as Lightning names it.
Accelerator = Literal["auto", "cpu", "gpu", "mps"]


def accelerator_for(wanted: Accelerator) -> Accelerator:
    """The accelerator of this machine that a setting means, ``auto`` included.

    Raises:
        UserError: the machine has none of that kind.
    """
    import torch

    if wanted in ("auto", "gpu") and torch.cuda.is_available():
        return "gpu"
    if wanted in ("auto", "mps") and torch.backends.mps.is_available():
        return "mps"
    if wanted in ("gpu", "mps"):
        raise UserError(
            f"--accelerator {wanted}: this machine has none that torch can use; try auto"
        )
    return "cpu"


def exact_device(wanted: Accelerator) -> str:
    """Where sums in float64 are taken, as torch calls it: in place of mps, which has none, cpu.

    Raises:
        UserError: as :func:`accelerator_for`.
    """
    accelerator = accelerator_for(wanted)
    return "cpu" if accelerator == "mps" else torch_device(accelerator)


def torch_device(accelerator: Accelerator) -> str:
    """What torch calls an accelerator that is no longer ``auto``."""
    return {"gpu": "cuda"}.get(accelerator, accelerator)


def multiplies_bf16() -> bool:
    """Whether the processor has instructions that multiply bf16: AMX or AVX512-BF16."""
    import torch

    has = torch.cpu.get_capabilities()
    return bool(has.get("amx_bf16") or has.get("avx512_bf16"))
