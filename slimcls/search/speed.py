"""How long this machine takes for a token and a layer, by doing it for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import nn

from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import depth_of, open_cut, read_config
from slimcls.classifier.trunk import decoder_of, hidden_states
from slimcls.data.batches import collate

#: Items of a batch, as a training step has them, or as many as have so many tokens together.
ITEMS, TOKENS = 16, 1024
#: Layers that are timed. What stands around them is small beside so many, and counts as theirs.
LAYERS = 3
#: Times that each is done, after one that is not counted.
TURNS = 3


@dataclass(frozen=True)
class Speed:
    """Seconds for a token and a layer."""

    train: float
    """Forwards and backwards."""
    read: float
    """Forwards alone."""

    def training(self, depth: int, tokens: float) -> float:
        """Seconds to train on so many tokens once, with ``depth`` layers."""
        return tokens * depth * self.train

    def reading(self, depth: int, tokens: float) -> float:
        """Seconds to read so many tokens once."""
        return tokens * depth * self.read


def measure_speed(
    source: Source, ids: Sequence[list[int]], pad_id: int, device: str, *, bf16: bool = False
) -> Speed:
    """Time steps of a shallow cut, on items of middle length.

    Args:
        source: The model.
        ids: Token ids of training items.
        pad_id: Fills a batch up.
        device: Where training will be.
        bf16: Whether training will compute in bf16. Reading alone is in 32 bits.
    """
    ordered = sorted(ids, key=len)
    middle = len(ordered) // 2
    wanted = min(ITEMS, max(1, TOKENS // len(ordered[middle])))
    first = max(0, middle - wanted // 2)
    some = ordered[first : first + wanted]
    batch = collate([(0, item, 0) for item in some], pad_id).to(device)
    layers = min(LAYERS, depth_of(read_config(source)))
    model = open_cut(source, range(layers), head="lm", dtype=torch.float32)
    # transformers wraps this method in a way that hides its types.
    nn.Module.to(model, device)
    base = decoder_of(model)
    # A run trains the rows that occur alone; a gradient of all of them would take longer than the
    # layers do.
    base.get_input_embeddings().requires_grad_(False)
    trained = [weight for weight in base.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=0.0)

    def train() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            states = hidden_states(base, batch)
        states.float().square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    def read() -> None:
        with torch.inference_mode():
            hidden_states(base, batch)

    each = layers * sum(map(len, some))
    return Speed(_median(train, device) / each, _median(read, device) / each)


def _median(step: Callable[[], None], device: str) -> float:
    times = []
    for _ in range(1 + TURNS):
        started = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return median(times[1:])
