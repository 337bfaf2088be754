"""Which cuts are good enough: non-inferiority at a margin, over several depths, tasks and modes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from slimcls.statistics import ENOUGH_SEEDS, Estimate

Key = TypeVar("Key", bound=Hashable)
Word = Literal[
    "good enough", "worse", "cannot tell", "no reference", "no better than a baseline"
]  # fmt: skip


#: Baselines that need no fine-tuned language model: what a cut has to beat to be worth its name.
CHEAP = ("majority", "tfidf", "embeddings")


@dataclass(frozen=True)
class Cut:
    """One depth of a family, compared on the same seeds and items."""

    keep: int
    loss: Estimate
    """The cut's accuracy minus that of full depth."""
    baselines: Mapping[str, Estimate] = field(default_factory=dict)
    """The cut's accuracy minus that of each cheap baseline, by its name."""


@dataclass(frozen=True)
class Family:
    """The cuts of one model that share a full depth: one task and mode."""

    cuts: Sequence[Cut]
    baselines: Mapping[str, Estimate] = field(default_factory=dict)
    """Full depth's accuracy minus that of each cheap baseline, by its name."""


@dataclass(frozen=True)
class Step:
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
    word: Word
    reason: str
    """One sentence for the reader of a report; points are percentage points of accuracy."""
    p: float
    """p-value of "good enough", baselines included, adjusted over depths and families."""
    level: float
    """The one-sided level that the family was left with."""
    smallest_margin: float
    """Least margin, as a share, that this cut alone would pass at that level."""
    limit: Literal["seeds", "items"]
    """What keeps that margin from being smaller."""


def sequences(
    families: Mapping[Key, Sequence[float]], level: float = 0.05
) -> dict[Key, list[Step]]:
    """Fixed sequences within families, Holm across them; p-values are one-sided, in test order.

    Each family begins with an equal share of ``level``. A rejected hypothesis hands its family's
    share to the next one; a family that is through hands it to those that are not, in equal parts.
    It is a procedure of Bretz et al. (2009), who prove that errors over all families together keep
    the level. With one hypothesis a family it is Holm's, with one family a fixed sequence.
    """
    steps: dict[Key, list[Step]] = {key: [] for key in families}
    filled = [key for key in families if families[key]]
    shares = {key: 1 / len(filled) for key in filled}
    levels: dict[Key, float] = {}
    reached = 0.0
    while waiting := [key for key in filled if len(steps[key]) < len(families[key])]:
        if reached <= level:
            levels |= {key: shares[key] * level for key in waiting}
        costs = {key: families[key][len(steps[key])] / shares[key] for key in waiting}
        key = min(waiting, key=costs.__getitem__)
        reached = max(reached, min(1.0, costs[key]))
        steps[key].append(Step(reached, levels[key], reached <= level))
        others = [name for name in waiting if name != key]
        if len(steps[key]) == len(families[key]):
            for name in others:
                shares[name] += shares[key] / len(others)
    return steps


def judge(
    families: Mapping[Key, Family], margin: float = 0.02, level: float = 0.05
) -> dict[Key, list[Verdict]]:
    """A verdict for each cut of each family, from deep to shallow.

    "Good enough" says that less than the margin is lost, and that full depth and the cut each beat
    every baseline, with those of ``CHEAP`` among them, on ``ENOUGH_SEEDS`` seeds.

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
    verdicts: dict[Key, list[Verdict]] = {}
    for key, ordered in cuts.items():
        tested = list(zip(ordered, steps[key], strict=True))
        stop = max((cut.keep for cut, step in tested if not step.rejected), default=0)
        verdicts[key] = [
            _verdict(cut, step, *_word(families[key], cut, step, margin, level, stop))
            for cut, step in tested
        ]
    return verdicts


def _ordered(cuts: Sequence[Cut]) -> list[Cut]:
    depths = [cut.keep for cut in cuts]
    if len(set(depths)) < len(depths):
        raise ValueError(f"a depth occurs twice among {sorted(depths)}: their order decides")
    return sorted(cuts, key=lambda cut: -cut.keep)


def unbeaten(over: Mapping[str, Estimate], level: float = 0.05) -> str | None:
    """The baseline with most against being beaten, at a one-sided ``level``; None if all are."""
    left = {name: p for name, one in over.items() if (p := one.p_above(0.0)) > level}
    return max(left, key=left.__getitem__) if left else None


def _p_value(family: Family, cut: Cut, margin: float) -> float:
    """What enters the procedure: that of a claim whose parts must all hold, its largest p-value.

    The parts are that less than the margin is lost, and that full depth and the cut each beat every
    cheap baseline. 1 where a part rests on nothing, or on too few seeds.
    """
    gates = (family.baselines, cut.baselines)
    if len(cut.loss.seeds) < ENOUGH_SEEDS or any(_absent(gate) or _thin(gate) for gate in gates):
        return 1.0
    beaten = [one.p_above(0.0) for gate in gates for one in gate.values()]
    return max(cut.loss.p_noninferior(margin), *beaten)


def _absent(over: Mapping[str, Estimate]) -> list[str]:
    return [name for name in CHEAP if name not in over]


def _thin(over: Mapping[str, Estimate]) -> list[str]:
    return [name for name, one in over.items() if len(one.seeds) < ENOUGH_SEEDS]


def _word(
    family: Family, cut: Cut, step: Step, margin: float, level: float, stop: int
) -> tuple[Word, str]:
    """``stop``: the deepest cut of the family that was not shown to be good enough; 0: none."""
    if lack := _lack(family, cut, level):
        return lack
    loss, points = cut.loss, f"{100 * margin:g} points"
    if step.rejected:
        shown = f"a loss of {points} is ruled out and every baseline beaten"
        entered = _p_value(family, cut, margin)
        return "good enough", f"{shown} (p = {entered:.2g}, {step.adjusted:.2g} adjusted)"
    if (p := loss.p_below(-margin)) <= level:
        return "worse", f"a loss of more than {points} is shown (p = {p:.2g})"
    # The family's share of the level may be less than all of it, at which both were beaten above.
    if reason := _not_beaten("full depth", family.baselines, step.level):
        return "no reference", reason
    if cut.keep < stop:
        return "cannot tell", f"not tested: the deeper keep {stop} was not shown to be good enough"
    if reason := _not_beaten(f"keep {cut.keep}", cut.baselines, step.level):
        return "no better than a baseline", reason
    least = 100 * loss.smallest_margin(step.level)
    limit = loss.limit(step.level)
    return (
        "cannot tell",
        f"only a loss of {least:.1f} points is ruled out; more {limit} would help most",
    )


def _lack(family: Family, cut: Cut, level: float) -> tuple[Word, str] | None:
    """What keeps a cut from being judged at all."""
    gates: list[tuple[str, Mapping[str, Estimate], Word]] = [
        ("full depth", family.baselines, "no reference"),
        (f"keep {cut.keep}", cut.baselines, "no better than a baseline"),
    ]
    for what, over, word in gates:
        if absent := _absent(over):
            return "no reference", f"{what} was not compared with {', '.join(absent)}"
        if reason := _not_beaten(what, over, level):
            return word, reason
    if (seeds := len(cut.loss.seeds)) < ENOUGH_SEEDS:
        return "cannot tell", f"a verdict needs {ENOUGH_SEEDS} seeds, and has {seeds}"
    for what, over, _ in gates:
        if thin := ", ".join(_thin(over)):
            reason = f"{what} was compared with {thin} on fewer than {ENOUGH_SEEDS} seeds"
            return "no reference", reason
    return None


def _not_beaten(what: str, over: Mapping[str, Estimate], level: float) -> str | None:
    if not (name := unbeaten(over, level)):
        return None
    p = over[name].p_above(0.0)
    return f"{what} was not shown to beat {name} (p = {p:.2g}, level {level:.2g})"


def _verdict(cut: Cut, step: Step, word: Word, reason: str) -> Verdict:
    return Verdict(
        keep=cut.keep,
        word=word,
        reason=reason,
        p=step.adjusted,
        level=step.level,
        smallest_margin=cut.loss.smallest_margin(step.level),
        limit=cut.loss.limit(step.level),
    )
