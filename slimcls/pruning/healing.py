"""Healing: low-rank updates trained on plain text after layers were removed."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from tqdm import tqdm

from slimcls.data.batches import Batch, TrainingBatches, collate
from slimcls.errors import Interrupted
from slimcls.layers.losses import text_losses
from slimcls.layers.samples import Sample
from slimcls.storage.files import replacing
from slimcls.training import tuning
from slimcls.training.learner import schedule, trained_state

#: LoRA's shape, texts a step, peak learning rate, share of warm-up, largest gradient norm.
RANK, ALPHA, BATCH, RATE, WARM, CLIP = 8, 16, 8, 1e-3, 0.1, 1.0

#: The parts of a checkpoint.
_STATE = ("about", "done", "trained", "optimizer", "schedule")

#: Least seconds between two checkpoints.
EVERY = 30.0


@dataclass(frozen=True)
class Healing:
    """What is healed on, for how long, and where a stopped healing goes on from."""

    sample: Sample
    steps: int
    seed: int
    about: str
    """Names model, layers, texts and settings: a checkpoint of another healing is not used."""
    checkpoint: Path


def heal(model: Any, work: Healing) -> Any:
    """Train a causal language model on the texts; return it with the updates added to its weights.

    The loss is the mean cross-entropy of a token given those before it in its text. What is done at
    a step hangs on nothing but texts, seed and step, so that a stopped healing goes on to the same
    weights. Raises Interrupted after Ctrl-C or SIGTERM, with a checkpoint written.
    """
    adapted = tuning.add_lora(model, rank=RANK, alpha=ALPHA, seed=work.seed)
    adapted.eval()  # without dropout: the texts are few passes only, and steps repeat exactly
    trained = list(trained_state(adapted).values())
    parameters = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, fused=True)
    warm = round(WARM * work.steps)
    rate = schedule("linear", optimizer, warm=warm, steps=work.steps)
    done = _load(work, trained, optimizer, rate)
    saved = time.monotonic()
    bar = tqdm(total=work.steps, initial=done, disable=not sys.stderr.isatty(), leave=False)
    with bar, _signals() as asked:
        for step in range(done, work.steps):
            _step(model, _batch(work, step).to(model.device), parameters, optimizer)
            rate.step()
            bar.update()
            if asked or time.monotonic() - saved > EVERY:
                _save(work, step + 1, trained, optimizer, rate)
                saved = time.monotonic()
            if asked:
                where = f"stopped; saved in {work.checkpoint}; the same command goes on"
                raise Interrupted(asked[0], where)
    return tuning.merge(adapted)


def _step(model: Any, batch: Batch, parameters: Sequence[Any], optimizer: Any) -> None:
    losses, tokens = text_losses(model, batch)
    (losses.sum() / tokens.sum()).backward()
    torch.nn.utils.clip_grad_norm_(parameters, CLIP)
    optimizer.step()
    optimizer.zero_grad()


def _batch(work: Healing, step: int) -> Batch:
    """The texts of a step: every text once a pass, each pass in another order."""
    ids = work.sample.ids
    order = TrainingBatches([len(one) for one in ids], BATCH, work.seed)
    epoch, place = divmod(step, len(order))
    places = order.order(epoch)[place]
    return collate([(one, list(ids[one]), 0) for one in places], 0)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The number of a signal that asked to stop, once there is one; twice stops at once."""
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _save(work: Healing, done: int, trained: list[Any], optimizer: Any, schedule: Any) -> None:
    state = {
        "about": work.about,
        "done": done,
        "trained": trained,
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    with replacing(work.checkpoint) as temporary:
        torch.save(state, temporary)


def _read_state(checkpoint: Path) -> dict[str, Any] | None:
    """What a checkpoint holds; None where there is none, or, with a line, a damaged one."""
    if not checkpoint.is_file():
        return None
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return {name: state[name] for name in _STATE}
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, UnpicklingError):
        print(f"note: {checkpoint} is damaged; healing starts again", file=sys.stderr)
        return None


def _load(work: Healing, trained: list[Any], optimizer: Any, schedule: Any) -> int:
    """Steps that an earlier process has done, its state put back; 0 where there is none."""
    state = _read_state(work.checkpoint)
    if state is None or state["about"] != work.about:
        return 0
    for mine, kept in zip(trained, state["trained"], strict=True):
        mine.copy_(kept)
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return int(state["done"])
