"""Texts of like lengths together, so that little is padded."""

from __future__ import annotations

from collections.abc import Sequence


def batches_by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Places sorted by length (longest first) and cut into batches; for evaluation."""
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
