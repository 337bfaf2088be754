"""Removal and quantisation together: alone, and one after the other in both orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from slimcls.backbones.families import blocks_of
from slimcls.pruning.evaluation import Figures
from slimcls.pruning.quantising import BITS, held_bytes, quantise, stored_bytes
from slimcls.pruning.views import only_layers


@dataclass(frozen=True)
class Subject:
    """What is quantised and cut."""

    open: Callable[[], Any]
    """Gives the model anew, as it was."""
    choose: Callable[[Any], tuple[int, ...]]
    """Which layers of a model stay, looking at it as it stands."""
    measure: Callable[[Any], Figures]


@dataclass(frozen=True)
class Step:
    """What is done to the model before it is measured."""

    bits: int | None = None
    removal: bool = False
    bits_first: bool = False
    """Whether the layers are chosen on the quantised model."""

    @property
    def name(self) -> str:
        """In words, in the order in which it is done."""
        if not self.removal:
            return f"{self.bits} bits" if self.bits else "as it is"
        if not self.bits:
            return "removal"
        order = [f"{self.bits} bits", "removal"]
        return ", then ".join(order if self.bits_first else order[::-1])


def steps() -> Iterator[Step]:
    """Every combination, the plain model first."""
    yield from (Step(), *(Step(bits) for bits in BITS), Step(removal=True))
    for bits in BITS:
        yield Step(bits, removal=True, bits_first=True)
        yield Step(bits, removal=True)


def compare(
    subject: Subject, known: dict[str, dict[str, Any]], found: Callable[[], object]
) -> pd.DataFrame:
    """A row a step: what stays, figures, matrices quantised, bytes in memory and on disk.

    ``known`` holds rows of an earlier start by their step; ``found`` is called after each new one.
    Weights are quantised one by one, so that the order matters through the choice of layers alone.
    """
    for step in steps():
        if step.name not in known:
            known[step.name] = _row(subject, step)
            found()
    return pd.DataFrame([{"step": step.name} | known[step.name] for step in steps()])


def _row(subject: Subject, step: Step) -> dict[str, Any]:
    model = subject.open()
    kept = tuple(range(len(blocks_of(model))))
    done = quantise(model, step.bits) if step.bits and step.bits_first else None
    if step.removal:
        kept = subject.choose(model)
    with only_layers(model, kept) if step.removal else nullcontext():
        if step.bits and done is None:
            done = quantise(model, step.bits)
        figures = subject.measure(model)
        return {
            "layers": len(kept),
            "kept": ",".join(map(str, kept)),
            **asdict(figures),
            "matrices": done.modules if done else 0,
            "memory_mb": held_bytes(model) / 1e6,
            "disk_mb": stored_bytes(model) / 1e6,
        }
