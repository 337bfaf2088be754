"""Which layers stay: rules by name, or ids named outright. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from slimcls.errors import UserError

#: How ``--select`` picks ``keep`` of ``depth`` layers.
SELECTORS: dict[str, Callable[[int, int], tuple[int, ...]]] = {
    "first": lambda depth, keep: tuple(range(keep)),
}


def chosen_layers(
    depth: int, keep: int | Literal["all"], layers: list[int] | None, select: str
) -> tuple[int, ...]:
    """Ids of the kept layers, ascending from 0, of a model with ``depth`` layers.

    Raises:
        UserError: more layers than there are, ids out of range, repeated or not ascending, or
            an unknown ``select``.
    """
    if layers is not None:
        return named_layers(depth, layers)
    check_select(select)
    if keep == "all":
        return tuple(range(depth))
    if keep < 1:
        raise UserError(f"--keep {keep}: at least one layer must stay, or all")
    if keep > depth:
        raise UserError(f"--keep {keep}: the model has {depth} layers; at most that many can stay")
    return SELECTORS[select](depth, keep)


def check_select(select: str) -> None:
    """Raise UserError where ``select`` names no rule; needs no model."""
    if select not in SELECTORS:
        raise UserError.unknown("--select", select, SELECTORS)


def named_layers(depth: int, layers: Sequence[int]) -> tuple[int, ...]:
    """The ids themselves. Raises UserError as :func:`chosen_layers`."""
    given = ",".join(map(str, layers))
    if not layers or list(layers) != sorted(set(layers)):
        raise UserError(f"--layers {given}: must be ascending, each layer once, at least one")
    if layers[0] < 0 or layers[-1] >= depth:
        raise UserError(
            f"--layers {given}: the model has {depth} layers, numbered from 0 to {depth - 1}"
        )
    return tuple(layers)
