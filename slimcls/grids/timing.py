"""What cells take, as finished ones took: those alike, or else such at other depths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import linear_regression, median
from typing import TYPE_CHECKING

from slimcls.config import RunConfig, hashed
from slimcls.roles import Role, settings_with

if TYPE_CHECKING:
    from slimcls.runs.schema import RunResult

#: Settings that change neither a run's memory nor, by much, its time.
FREE = frozenset(settings_with(Role.FREE))
#: Those and the cut: what is left is the same at every depth.
_AT_ANY_DEPTH = frozenset(settings_with(Role.FREE | Role.CUT))


def cost_key(settled: RunConfig, free: frozenset[str] = FREE) -> str:
    """Equal for runs that take about the same memory and time; of a run without open ends."""
    settings = hashed(settled).items()
    return repr(sorted((name, value) for name, value in settings if name not in free))


@dataclass(frozen=True)
class Cost:
    """What decides how long a run takes, of one without open ends."""

    key: str
    """See :func:`cost_key`."""
    elsewhere: str
    """The key of its runs at other depths."""
    layers: int


def cost_of(settled: RunConfig) -> Cost:
    """What decides how long a run without open ends takes."""
    layers = len(settled.layers or [])
    return Cost(cost_key(settled), cost_key(settled, _AT_ANY_DEPTH), layers)


@dataclass(frozen=True)
class Took:
    """How long a cell takes."""

    seconds: float
    estimated: bool
    """Whether no cell like it is finished: it follows from other depths."""


class Times:
    """What finished runs say of the time that others take."""

    def __init__(self, finished: Iterable[RunResult]) -> None:
        alike: dict[str, list[float]] = {}
        depths: dict[str, dict[int, list[float]]] = {}
        for result in finished:
            cost, seconds = cost_of(result.config), result.outcome.total_seconds
            alike.setdefault(cost.key, []).append(seconds)
            depths.setdefault(cost.elsewhere, {}).setdefault(cost.layers, []).append(seconds)
        self._alike = {key: median(values) for key, values in alike.items()}
        self._depths = {
            key: {layers: median(values) for layers, values in one.items()}
            for key, one in depths.items()
        }

    def of(self, cost: Cost | None) -> Took | None:
        """Seconds of a run, or None where nothing finished tells."""
        if cost is None:
            return None
        if cost.key in self._alike:
            return Took(self._alike[cost.key], estimated=False)
        known = self._depths.get(cost.elsewhere)
        return Took(at_depth(known, cost.layers), estimated=True) if known else None


def at_depth(known: dict[int, float], layers: int) -> float:
    """Seconds with so many layers, given those of one depth or more.

    On the line through the known depths; as much for each layer where one depth is known. Whatever
    the line says: a deeper run takes no less than the nearest, a shallower one its layers' share.
    """
    if layers in known:
        return known[layers]
    nearest = min(known, key=lambda one: (abs(one - layers), one))
    each = known[nearest] / nearest
    if len(known) == 1:
        return each * layers
    slope, start = linear_regression(list(known), list(known.values()))
    return max(start + slope * layers, each * min(layers, nearest))
