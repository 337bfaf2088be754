"""What a fit will try, decided before it begins: by the time there is, and this machine's speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from slimcls.kinds import CHEAP
from slimcls.search.costs import Costs, Texts
from slimcls.search.speed import Speed

#: Steps of a plan.
CHEAPEST, READING, TRAINING, CONFIRMING = (
    "cheap rivals", "frozen layers", "training to compare", "confirming the choice",
)  # fmt: skip
#: Share of the time that the mean of the embeddings may take, over all its seeds.
EMBEDDED_SHARE = 0.1
#: Share of the time that trying frozen layers may take.
FROZEN_SHARE = 0.3
#: Seeds that confirm the choice: as many as a verdict wants, or one.
SEEDS = (3, 1)
#: Share of the layers that the deepest model should have, before less is taken of the texts.
DEEP_ENOUGH = 1 / 4
#: Texts a class that it should learn from, before fewer are taken: a fit of TREC whose eight layers
#: learnt from 50 lost 13 points, one whose four learnt from 200 lost 6.
TEXTS_ENOUGH = 200
#: Share below which a deepest model says nothing of what the model is worth.
LEAST = 1 / 15
#: Budgets looked through for one with a deeper model: each so much longer, up to a year.
LONGER, LONGEST = 1.25, 365 * 86400
#: What is taken of the texts, the most first: tokens a text, texts a class. None: all there is.
LESS: tuple[tuple[int | None, int | None], ...] = (
    (None, None), (None, 1000), (256, 1000), (128, 1000), (128, 500), (128, 200), (64, 200),
    (64, 100), (32, 100), (32, 50),
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What will be tried."""

    shots: int | None
    """Most training texts a class; None: all."""
    max_text_tokens: int | None
    """Tokens of a text; None: the usual ones."""
    depths: tuple[int, ...]
    """Depths that may be trained, the reference first; none where there is no time."""
    frozen: tuple[int, ...]
    """Depths at which frozen layers are tried; none where there is no time."""
    epochs: int
    """Most epochs of a training."""
    seeds: int
    """Seeds that confirm the choice."""
    seconds: dict[str, float] = field(default_factory=dict)
    """At most, by step."""
    frozen_shots: int | None = None
    """Most training texts a class that frozen layers learn from; None: all."""
    frozen_tokens: int | None = None
    """Tokens of a text that they read; None: the usual ones."""
    embedded: int | None = None
    """Most training texts a class that the mean of the embeddings learns from; None: all."""
    next_seconds: float | None = None
    """A budget, in whole minutes, whose plan has a deeper model; None where the whole one is in
    this plan, or none that is to be told has."""
    notes: tuple[str, ...] = ()
    """What was left out for want of time or memory."""

    @property
    def total(self) -> float:
        """Seconds of all steps, at most."""
        return sum(self.seconds.values())


def ladder(depth: int) -> tuple[int, ...]:
    """Depths that are tried of a model: all of it, half of it, and so on down to one layer."""
    found = [depth]
    while found[-1] > 1:
        found.append(-(-found[-1] // 2))
    return tuple(found)


def make_plan(
    texts: Texts, depth: int, speed: Speed, budget: float, fits: Callable[[int], bool]
) -> Plan:
    """The most that can be tried in ``budget`` seconds.

    Frozen layers come first, on as much of the texts as a share of the time suffices for: they
    cost little and are often good. Of the rest cuts are trained. The texts are taken whole where a
    quarter of the layers can then be trained to convergence and be confirmed. Else less of them is
    taken, down to ``TEXTS_ENOUGH`` a class; then fewer layers; and at the end fewer texts still.

    Args:
        texts: What there is to read.
        depth: Layers of the model.
        speed: Of this machine.
        budget: Seconds.
        fits: Whether training so many layers fits into memory.
    """
    fits = cache(fits)
    found = _plan(texts, depth, speed, budget, fits)
    return replace(found, next_seconds=_deeper(texts, depth, speed, budget, fits, found))


def _deeper(
    texts: Texts,
    depth: int,
    speed: Speed,
    budget: float,
    fits: Callable[[int], bool],
    found: Plan,
) -> float | None:
    """The first of ever longer budgets whose plan has a deeper model than ``found``."""
    deepest = next((rung for rung in ladder(depth) if fits(rung)), 0)
    now = found.depths[0] if found.depths else 0
    while deepest > now and budget <= LONGEST:
        budget = 60 * math.ceil(max(LONGER * budget, budget + 60) / 60)
        depths = _plan(texts, depth, speed, budget, fits).depths
        if depths and depths[0] > now:
            return float(budget)
    return None


def _plan(
    texts: Texts, depth: int, speed: Speed, budget: float, fits: Callable[[int], bool]
) -> Plan:
    rungs = [rung for rung in ladder(depth) if fits(rung)]
    embedded = _embedded(texts, budget)
    notes = _too_large(rungs, depth) + _few_embedded(embedded)
    whole = Costs(texts, speed, *LESS[0], embedded)
    frozen = _frozen(whole, ladder(depth)[1:], FROZEN_SHARE * budget)
    left = budget - frozen.seconds
    rungs = [rung for rung in rungs if rung >= LEAST * depth] or rungs
    wanted = [rung for rung in rungs if rung >= DEEP_ENOUGH * depth]
    enough = [less for less in LESS if less[1] is None or less[1] >= TEXTS_ENOUGH]
    few = LESS[len(enough) :]
    tried: list[tuple[tuple[int | None, int | None], Sequence[int], Sequence[int]]] = [
        *((less, wanted, [seeds]) for less in enough for seeds in SEEDS),
        *((less, rungs, SEEDS) for less in (enough[-1], *few)),
    ]
    for (most, shots), deep, seeds in tried:
        costs = replace(whole, most=most, shots=shots)
        if found := _deepest(costs, deep, seeds, left, frozen):
            return _written(costs, depth, budget, rungs, found, notes, frozen)
    return _written(costs, depth, budget, rungs, None, notes, frozen)


def _embedded(texts: Texts, budget: float) -> int | None:
    """Texts a class of the mean of the embeddings, as many as take little of the time."""
    largest = max(texts.classes)
    counts = list(dict.fromkeys(shots for _, shots in LESS if shots))
    # As many as the largest class has are all: a run refuses to be asked for more than there are.
    for shots in (None, *(count for count in counts if count < largest)):
        if (1 + SEEDS[0]) * texts.embedded(shots) <= EMBEDDED_SHARE * budget:
            return shots
    return counts[-1] if counts[-1] < largest else None


def _few_embedded(shots: int | None) -> list[str]:
    if shots is None:
        return []
    return [
        f"for want of time the {CHEAP['embeddings']} learns from {shots} texts of a class at most"
    ]


def _too_large(rungs: Sequence[int], depth: int) -> list[str]:
    if rungs and rungs[0] == depth:
        return []
    deepest = f"{rungs[0]} of its {depth} layers are" if rungs else "not even one layer is"
    return [f"the whole model does not fit into this machine's memory: {deepest} trained"]


@dataclass(frozen=True)
class _Frozen:
    """Which frozen layers are tried, and on how much of the texts."""

    costs: Costs
    depths: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """Of all of them once."""
        return self.costs.all_frozen(self.depths)

    def confirming(self, seeds: int) -> float:
        """Two of them, the choice and what it is held against."""
        return seeds * sum(map(self.costs.frozen, sorted(self.depths)[-2:]))


def _frozen(costs: Costs, rungs: Sequence[int], budget: float) -> _Frozen:
    """All depths, on as much of the texts as time suffices for; else as many as it does for."""
    for most, shots in LESS:
        found = _Frozen(replace(costs, most=most, shots=shots), tuple(rungs))
        if found.seconds + found.confirming(SEEDS[-1]) <= budget:
            return found
    for place, _ in enumerate(rungs):
        found = replace(found, depths=tuple(rungs[place:]))
        if found.seconds + found.confirming(SEEDS[-1]) <= budget:
            return found
    return replace(found, depths=())


def _deepest(
    costs: Costs, rungs: Sequence[int], seeds: Sequence[int], budget: float, frozen: _Frozen
) -> tuple[int, int] | None:
    """The deepest reference that the time suffices for, confirmed by the most of ``seeds``."""
    for rung in rungs:
        below = ladder(rung)
        for each in seeds:
            if _beside_frozen(costs, below, each, frozen) <= budget:
                return rung, each
    return None


def _beside_frozen(costs: Costs, depths: Sequence[int], seeds: int, frozen: _Frozen) -> float:
    """Seconds of cheap rivals and trained cuts, and of confirming whatever is chosen."""
    confirming = max(costs.confirming(depths, seeds), frozen.confirming(seeds))
    return (1 + seeds) * costs.cheap + costs.search(depths) + confirming


def _written(
    costs: Costs,
    depth: int,
    budget: float,
    rungs: Sequence[int],
    found: tuple[int, int] | None,
    notes: list[str],
    frozen: _Frozen,
) -> Plan:
    seconds = {CHEAPEST: costs.cheap}
    if frozen.depths:
        seconds[READING] = frozen.seconds
    left = budget - frozen.seconds
    depths: tuple[int, ...] = ()
    fits = [each for each in SEEDS if _beside_frozen(costs, (), each, frozen) <= left]
    seeds = fits[0] if fits else SEEDS[-1]
    if found:
        depths, seeds = ladder(found[0]), found[1]
        seconds[TRAINING] = costs.search(depths)
    beside = _beside_frozen(costs, depths, seeds, frozen)
    seconds[CONFIRMING] = beside - costs.cheap - costs.search(depths)
    read = costs if depths else frozen.costs if frozen.depths else None
    if rungs and not depths:
        notes.append("the budget is too short to train any layer of the model to convergence")
    notes += _taken(read, depths, depth)
    return Plan(
        shots=_fewer(costs),
        max_text_tokens=costs.most,
        depths=depths,
        frozen=frozen.depths,
        epochs=costs.epochs,
        seeds=seeds,
        seconds=seconds,
        frozen_shots=_fewer(frozen.costs),
        frozen_tokens=frozen.costs.most,
        embedded=costs.embedded,
        notes=tuple(notes),
    )


def _fewer(costs: Costs) -> int | None:
    """Texts a class, where those are not all: a run refuses to be asked for more than there are."""
    return costs.shots if costs.shots and costs.shots < max(costs.texts.classes) else None


def _taken(costs: Costs | None, depths: Sequence[int], depth: int) -> list[str]:
    """What was left out for want of time, a sentence each; ``costs`` are of what is read."""
    said = []
    if costs and costs.most and costs.most < max(costs.texts.train):
        said.append(f"for want of time the model reads the first {costs.most} tokens of a text")
    if costs and costs.shots and costs.shots < max(costs.texts.classes):
        said.append(
            f"for want of time the model learns from {costs.shots} texts of a class at most"
        )
    if depths and depths[0] < depth:
        said.append(
            f"for want of time the reference is {depths[0]} of the {depth} layers, not all of them"
        )
    return said
