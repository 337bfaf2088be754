"""Which cuts are good enough: non-inferiority at a margin, over several depths, tasks and modes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from slimcls import kinds
from slimcls.kinds import in_a_sentence
from slimcls.statistics import ENOUGH_SEEDS, Estimate

FamilyKey = TypeVar("FamilyKey", bound=Hashable)

#: Baselines that need no fine-tuned language model, in people's words: what a cut has to beat to be
#: worth its name.
CHEAP = {method: in_a_sentence(name) for method, name in kinds.CHEAP.items()}

#: Baselines that a cut has to beat where they were measured, and that no claim waits for. A probe
#: counts against cuts that keep as many layers as it reads, or more.
FURTHER = {"probe": "a probe of the frozen model"}

#: Baselines that train no layer.
UNTUNED = CHEAP | FURTHER

#: What a verdict's word begins with where a cheap baseline was not beaten; its name follows.
NOT_SHOWN = "not shown to beat"


@dataclass(frozen=True)
class ComparedCut:
    """One depth of a family, compared on the same seeds and items."""

    keep: int
    loss: Estimate
    """The cut's accuracy minus that of full depth."""
    baselines: Mapping[str, Estimate] = field(default_factory=dict)
    """The cut's accuracy minus that of each baseline of ``UNTUNED``, by its name."""


@dataclass(frozen=True)
class CutFamily:
    """The cuts of one model that share a full depth: one task and mode."""

    cuts: Sequence[ComparedCut]
    baselines: Mapping[str, Estimate] = field(default_factory=dict)
    """Full depth's accuracy minus that of each cheap baseline, by its name."""


@dataclass(frozen=True)
class TestedCut:
    """A hypothesis after the procedure over all families."""

    adjusted: float
    """The least family-wise level at which it would have been rejected; 1 at most."""
    level: float
    """The level that its family had when it was reached, or when the family came to its end."""
    rejected: bool


@dataclass(frozen=True)
class Verdict:
    """What can be said of a cut, and why."""

    keep: int
    word: str
    """``good enough``, ``worse``, ``cannot tell``, ``no reference``, or ``not shown to beat`` and
    the baseline's name."""
    reason: str
    """One sentence for the reader of a report; points are percentage points of accuracy."""
    p: float
    """p-value of "good enough", baselines included, adjusted over depths and families."""
    level: float
    """The one-sided level that the family was left with."""
    smallest_margin: float
    """Least margin, as a share, that this cut alone would pass at that level."""
    smallest_detectable: float
    """Least margin that a harmless cut with these variances would pass with 80 % power there."""
    limit: Literal["seeds", "items"]
    """What keeps that margin from being smaller."""


def sequences(
    families: Mapping[FamilyKey, Sequence[float]], level: float = 0.05
) -> dict[FamilyKey, list[TestedCut]]:
    """Fixed sequences within families, Holm across them; p-values are one-sided, in test order.

    Each family begins with an equal share of ``level``. A rejected hypothesis hands its family's
    share to the next one; a family that is through hands it to those that are not, in equal parts.
    It is a procedure of Bretz et al. (2009), who prove that errors over all families together keep
    the level. With one hypothesis a family it is Holm's, with one family a fixed sequence.
    """
    steps: dict[FamilyKey, list[TestedCut]] = {key: [] for key in families}
    filled = [key for key in families if families[key]]
    shares = {key: 1 / len(filled) for key in filled}
    levels: dict[FamilyKey, float] = {}
    reached = 0.0
    while waiting := [key for key in filled if len(steps[key]) < len(families[key])]:
        if reached <= level:
            levels |= {key: shares[key] * level for key in waiting}
        costs = {key: families[key][len(steps[key])] / shares[key] for key in waiting}
        key = min(waiting, key=costs.__getitem__)
        reached = max(reached, min(1.0, costs[key]))
        steps[key].append(TestedCut(reached, levels[key], reached <= level))
        others = [name for name in waiting if name != key]
        if len(steps[key]) == len(families[key]):
            for name in others:
                shares[name] += shares[key] / len(others)
    return steps


def judge(
    families: Mapping[FamilyKey, CutFamily], margin: float = 0.02, level: float = 0.05
) -> dict[FamilyKey, list[Verdict]]:
    """A verdict for each cut of each family, from deep to shallow.

    "Good enough" says that less than the margin is lost, and that full depth and the cut each beat
    every baseline, with those of ``CHEAP`` among them, on ``ENOUGH_SEEDS`` seeds. "Worse" says that
    more is lost, at half of ``level`` for each cut, whatever the baselines do.

    Args:
        families: by any key, such as (task, mode). What counts as one set of claims, over which
            ``level`` holds, is what is given together.
        margin: the loss, as a share, that does not matter.
        level: one-sided.

    Raises:
        ValueError: for two cuts of one depth in a family.
    """
    cuts = {key: _ordered(family.cuts) for key, family in families.items()}
    p_values = {
        key: [_p_value(families[key], cut, margin) for cut in ordered]
        for key, ordered in cuts.items()
    }
    steps = sequences(p_values, level)
    verdicts: dict[FamilyKey, list[Verdict]] = {}
    for key, ordered in cuts.items():
        tested = list(zip(ordered, steps[key], strict=True))
        stop = max((cut.keep for cut, step in tested if not step.rejected), default=0)
        verdicts[key] = [
            _verdict(cut, step, *_word(families[key], cut, step, margin, level, stop))
            for cut, step in tested
        ]
    return verdicts


def _ordered(cuts: Sequence[ComparedCut]) -> list[ComparedCut]:
    depths = [cut.keep for cut in cuts]
    if len(set(depths)) < len(depths):
        raise ValueError(f"a depth occurs twice among {sorted(depths)}: their order decides")
    return sorted(cuts, key=lambda cut: -cut.keep)


def unbeaten(over: Mapping[str, Estimate], level: float = 0.05) -> str | None:
    """The baseline with most against being beaten, at a one-sided ``level``; None if all are."""
    left = {name: p for name, one in over.items() if (p := one.p_above(0.0)) > level}
    return max(left, key=left.__getitem__) if left else None


def _p_value(family: CutFamily, cut: ComparedCut, margin: float) -> float:
    """What enters the procedure: that of a claim whose parts must all hold, its largest p-value.

    The parts are that less than the margin is lost, and that full depth and the cut each beat every
    cheap baseline. 1 where a part rests on nothing, or on too few seeds.
    """
    gates = (family.baselines, cut.baselines)
    if cut.loss.fewest_seeds < ENOUGH_SEEDS or any(_absent(gate) or _thin(gate) for gate in gates):
        return 1.0
    beaten = [one.p_above(0.0) for gate in gates for one in gate.values()]
    return max(cut.loss.p_noninferior(margin), *beaten)


def _absent(over: Mapping[str, Estimate]) -> list[str]:
    return [named for name, named in CHEAP.items() if name not in over]


def _thin(over: Mapping[str, Estimate]) -> list[str]:
    return [
        UNTUNED.get(name, name) for name, one in over.items() if one.fewest_seeds < ENOUGH_SEEDS
    ]


def _word(
    family: CutFamily, cut: ComparedCut, step: TestedCut, margin: float, level: float, stop: int
) -> tuple[str, str]:
    """``stop``: the deepest cut of the family that was not shown to be good enough; 0: none."""
    loss, points = cut.loss, f"{100 * margin:g} points"
    if step.rejected:
        shown = f"a loss of {points} is ruled out and every baseline beaten"
        entered = _p_value(family, cut, margin)
        return "good enough", f"{shown} (p = {entered:.2g}, {step.adjusted:.2g} adjusted)"
    unmet = _unmet(family, cut, step.level, level, stop)
    # Half of the level, so that the interval beside it has no loss that is smaller.
    if loss.fewest_seeds >= ENOUGH_SEEDS and (p := loss.p_below(-margin)) <= level / 2:
        shown = f"a loss of more than {points} is shown (p = {p:.2g})"
        other = next((f"; {reason}" for word, reason in unmet if word != "cannot tell"), "")
        return "worse", shown + other
    return next(unmet, None) or ("cannot tell", _undecided(loss, step.level))


def _unmet(
    family: CutFamily, cut: ComparedCut, share: float, level: float, stop: int
) -> Iterator[tuple[str, str]]:
    """What a claim of "good enough" lacks besides a small loss, the most telling first.

    Baselines are held to ``level``, and later to the family's ``share`` of it.
    """
    gates = [("full depth", family.baselines, True), (f"keep {cut.keep}", cut.baselines, False)]
    for what, over, reference in gates:
        if absent := _absent(over):
            yield "no reference", f"{what} was not compared with {', '.join(absent)}"
        yield from _not_beaten(what, over, level, reference=reference)
    if (seeds := cut.loss.fewest_seeds) < ENOUGH_SEEDS:
        yield "cannot tell", f"a verdict needs {ENOUGH_SEEDS} seeds, and has {seeds}"
    for what, over, _ in gates:
        if thin := ", ".join(_thin(over)):
            reason = f"{what} was compared with {thin} on fewer than {ENOUGH_SEEDS} seeds"
            yield "no reference", reason
    yield from _not_beaten("full depth", family.baselines, share, reference=True)
    if cut.keep < stop:
        reason = f"not tested: the deeper keep {stop} was not shown to be good enough"
        yield "cannot tell", f"{reason}; {_could_show(cut.loss, share)}"
    yield from _not_beaten(f"keep {cut.keep}", cut.baselines, share, reference=False)


def _not_beaten(
    what: str, over: Mapping[str, Estimate], level: float, *, reference: bool
) -> Iterator[tuple[str, str]]:
    """The word and the reason where a baseline was not beaten; ``reference``: by full depth."""
    if name := unbeaten(over, level):
        one, named = over[name], UNTUNED.get(name, name)
        word = "no reference" if reference else f"{NOT_SHOWN} {named}"
        p = f"p = {one.p_above(0.0):.2g}, level {level:.2g}"
        yield word, f"{what} against {named}: {in_points(one)} points, not shown to be better ({p})"


def _undecided(loss: Estimate, level: float) -> str:
    least = 100 * loss.smallest_margin(level)
    help_most = f"more {loss.limit(level)} would help most"
    return (
        f"only a loss of {least:.1f} points is ruled out; {_could_show(loss, level)}; {help_most}"
    )


def _could_show(loss: Estimate, level: float) -> str:
    detectable = 100 * loss.smallest_detectable(level)
    return f"smallest loss that these seeds and items show with 80 % power: {detectable:.1f} points"


def in_points(one: Estimate) -> str:
    """``-1.2 (-2.9 to +0.5)``: a difference with its 95 % interval, in percentage points."""
    return f"{100 * one.mean:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def _verdict(cut: ComparedCut, step: TestedCut, word: str, reason: str) -> Verdict:
    return Verdict(
        keep=cut.keep,
        word=word,
        reason=reason,
        p=step.adjusted,
        level=step.level,
        smallest_margin=cut.loss.smallest_margin(step.level),
        smallest_detectable=cut.loss.smallest_detectable(step.level),
        limit=cut.loss.limit(step.level),
    )
