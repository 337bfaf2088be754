"""Which layers stay, by rules that look at no text, or by ids named outright. Nothing heavy."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from slimcls.errors import UserError


def first(depth: int, keep: int, seed: int = 0) -> tuple[int, ...]:
    """Layers 0..keep-1: removal from the top, "reverse order".

    Source: Yuan et al., arXiv 2402.11700; a baseline of Men et al., arXiv 2403.03853.
    """
    return tuple(range(keep))


def sequential(depth: int, keep: int, seed: int = 0) -> tuple[int, ...]:
    """The last layers, depth-keep..depth-1: removal from the bottom.

    Source: a baseline of Men et al., arXiv 2403.03853.
    """
    return tuple(range(depth - keep, depth))


def even(depth: int, keep: int, seed: int = 0) -> tuple[int, ...]:
    """Evenly spaced from the first layer to the last; one layer alone is the first.

    Layer i of the kept ones is round(i (depth-1) / (keep-1)), halves upwards.
    Source: the every-other-layer start of Sanh et al., arXiv 1910.01108, for any depth.
    """
    if keep == 1:
        return (0,)
    gaps = keep - 1
    return tuple((2 * place * (depth - 1) + gaps) // (2 * gaps) for place in range(keep))


def random(depth: int, keep: int, seed: int = 0) -> tuple[int, ...]:
    """Drawn without replacement from a seed; a smaller ``keep`` draws some of the same layers.

    Layers are sorted by a hash of (seed, layer), so that a draw is the same everywhere.
    """
    hashes = {i: hashlib.sha256(f"{seed} layer {i}".encode()).digest() for i in range(depth)}
    return tuple(sorted(sorted(hashes, key=hashes.__getitem__)[:keep]))


def check_keep(depth: int, keep: int | Literal["all"], select: str) -> None:
    """Whether ``keep`` of ``depth`` layers can stay and leave something to choose.

    Raises:
        UserError: more layers than there are, none, or all of them by number where ``select`` has
            to choose (with ``all`` there is no cut, whatever would choose).
    """
    if keep == "all":
        return
    if keep < 1:
        raise UserError(f"--keep {keep}: at least one layer must stay, or all")
    if keep > depth:
        raise UserError(f"--keep {keep}: the model has {depth} layers; at most that many can stay")
    if keep == depth and select != "first":
        raise UserError(
            f"--keep {keep}: the model has {depth} layers, so --select {select} has nothing to "
            "choose; keep fewer, or train with --keep all"
        )


def named_layers(depth: int, layers: Sequence[int]) -> tuple[int, ...]:
    """The ids themselves, ascending from 0.

    Raises:
        UserError: none, ids out of range, repeated or not ascending.
    """
    given = ",".join(map(str, layers))
    if not layers or list(layers) != sorted(set(layers)):
        raise UserError(f"--layers {given}: must be ascending, each layer once, at least one")
    if layers[0] < 0 or layers[-1] >= depth:
        raise UserError(
            f"--layers {given}: the model has {depth} layers, numbered from 0 to {depth - 1}"
        )
    return tuple(layers)


def named_by_hand(select: str, layers: Sequence[int] | None) -> bool:
    """Whether a run's layers were named outright: ``first`` would have kept others."""
    return select == "first" and layers is not None and list(layers) != list(range(len(layers)))
