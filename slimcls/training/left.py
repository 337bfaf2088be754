"""What a stopped run left under ``checkpoints/``: whether training can go on from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from slimcls.errors import UserError
from slimcls.log import Log
from slimcls.storage.files import replacing
from slimcls.storage.json_files import parse_json
from slimcls.training.learner import trained_state

#: The state of training, the weights of the best epoch, and, once training is over, what it came
#: to: a run that is killed while testing does not train again.
LAST, BEST, TRAINED = "last.ckpt", "best.safetensors", "trained.json"


def save_trained(model: nn.Module, path: Path) -> None:
    """Write what is trained, by name, as safetensors."""
    tensors = {name: p.contiguous() for name, p in trained_state(model).items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary)


def load_trained(model: nn.Module, path: Path) -> None:
    """Read what :func:`save_trained` wrote back into the model.

    Raises UserError where the file was damaged since.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: cannot be read ({_said(error)}); the same command trains anew"
        ) from error
    with torch.no_grad():
        parameters = dict(model.named_parameters())
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)


def drop_damaged(folder: Path, log: Log) -> None:
    """Remove what was left where a part of it cannot be read: training then begins anew.

    No part is of use without the others. A kill leaves each of them whole (or not there), a power
    failure need not.
    """
    for name, check in _CHECKS.items():
        path = folder / name
        if not path.exists():
            continue
        try:
            check(path)
        except Exception as error:  # torch, safetensors and json raise many kinds
            log.say(f"note: {path} is damaged ({_said(error)}); training begins anew")
            for other in _CHECKS:
                (folder / other).unlink(missing_ok=True)
            return


def _check_state(path: Path) -> None:
    """Mapped, so that a large one costs nothing; nothing in it is executed."""
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if state["callbacks"]["Progress"]["best_epoch"] and not path.with_name(BEST).exists():
        raise ValueError(f"{BEST} beside it is gone")
    if not state.keys() >= {"state_dict", "loops", "optimizer_states", "lr_schedulers"}:
        raise ValueError("it lacks parts")


def _check_best(path: Path) -> None:
    with safe_open(path, framework="pt"):
        pass


def _check_outcome(path: Path) -> None:
    if not isinstance(parse_json(path.read_text(encoding="utf-8")), dict):
        raise ValueError("not an object")
    if not path.with_name(BEST).exists():
        raise ValueError(f"{BEST} beside it is gone")


_CHECKS: dict[str, Callable[[Path], None]] = {
    LAST: _check_state,
    TRAINED: _check_outcome,
    BEST: _check_best,
}


def _said(error: Exception) -> str:
    """What a library says of a file, without its advice on how to run the code in it."""
    what = str(error).strip().partition("\n")[0].partition(". ")[0]
    return what[:80] if what and "weights_only" not in what else type(error).__name__
