"""Tensors that a checkpoint holds in parts, or by an older name, and today's models as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Stands for an expert's number in the name of a part.
EXPERT = "{}"


@dataclass(frozen=True)
class Fused:
    """One tensor of a block, and what checkpoints hold in its place; names end with these."""

    name: str
    parts: tuple[str, ...]
    """With :data:`EXPERT` in them: matrices of experts, which are stacked by number; several parts
    of an expert lie below each other. Without: the tensor itself by another name."""


@dataclass(frozen=True)
class Pieces:
    """What one tensor is made of: names, in rows that are stacked; one row without ``stacked``."""

    names: tuple[tuple[str, ...], ...]
    stacked: bool

    def shape(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """Its shape, or () where the parts do not fit together or are not all among ``shapes``."""
        own = [[shapes.get(name) for name in row] for row in self.names]
        if not self.stacked:
            return own[0][0] or ()
        if any(one is None or len(one) != 2 for row in own for one in row):
            return ()
        if any(row != own[0] for row in own) or len({one[1] for one in own[0] if one}) != 1:
            return ()
        rows = [one for one in own[0] if one]
        return len(own), sum(one[0] for one in rows), rows[0][1]

    def read(
        self, shape: tuple[int, ...], dtype: torch.dtype, read: Callable[[str], torch.Tensor]
    ) -> torch.Tensor:
        """The tensor of this ``shape``, its parts one after the other in memory."""
        if not self.stacked:
            return read(self.names[0][0])
        import torch

        whole = torch.empty(shape, dtype=dtype)
        for number, row in enumerate(self.names):
            start = 0
            for name in row:
                part = read(name)
                whole[number, start : start + len(part)] = part
                start += len(part)
        return whole


def pieces_in(names: Iterable[str], fused: Iterable[Fused]) -> dict[str, Pieces]:
    """Which of the tensors called ``fused`` a checkpoint with these ``names`` has in parts.

    Experts of which one has not all parts, or with a gap in their numbers, stay what they are.
    """
    there = set(names)
    found: dict[str, Pieces] = {}
    for one in fused:
        for place, count in _places(there, one.parts[0]).items():
            rows = tuple(
                tuple(place + part.replace(EXPERT, str(number)) for part in one.parts)
                for number in range(count)
            )
            if all(name in there for row in rows for name in row):
                found[place + one.name] = Pieces(rows, EXPERT in one.parts[0])
    return found


def _places(names: Iterable[str], part: str) -> dict[str, int]:
    """What stands before ``part`` in the names that end with it, and how many experts it has."""
    number = r"\d+".join(re.escape(side) for side in part.split(EXPERT))
    pattern = re.compile(rf"(.*\.|){number}")
    counts: dict[str, int] = {}
    for name in names:
        if match := pattern.fullmatch(name):
            counts[match[1]] = counts.get(match[1], 0) + 1
    return counts
