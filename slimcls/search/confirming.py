"""The choice on the test part, over seeds that the search did not use, beside its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimcls.data.splits import Example
from slimcls.kinds import CHEAP
from slimcls.runs.schema import PREDICTIONS, RunResult
from slimcls.search.answer import Confirmed, Verdict
from slimcls.search.candidates import Bench, Tried, lost_and_won
from slimcls.search.choosing import Choice
from slimcls.session.inputs import draw_items
from slimcls.statistics import ENOUGH_SEEDS, Estimate, SeedItems, mean_accuracy, paired_difference
from slimcls.statistics.paired_loss import loss_p

#: One-sided level of the verdict.
LEVEL = 0.05


@dataclass(frozen=True)
class Confirmation:
    """What the test part says."""

    sides: dict[str, list[RunResult]]
    """Runs by the candidate's name, a seed each: the choice first."""
    confirmed: tuple[Confirmed, ...]
    difference: Estimate | None
    """The choice's accuracy minus that of the other; None where there is no other."""
    verdict: Verdict
    test: tuple[Example, ...]
    """The test items of what is handed over."""
    other: str = ""
    """What the choice was held against."""
    over_guess: Estimate | None = None
    """The choice's accuracy minus that of one answer for all texts; None where it is that."""

    @property
    def handed_over(self) -> RunResult:
        """The run that is handed over: of the first seed, whatever came out at others."""
        return next(iter(self.sides.values()))[0]

    @property
    def detectable(self) -> float | None:
        """The smallest loss in points that these data show with 80 % power; None if unknown."""
        if self.difference is None or self.difference.fewest_seeds < ENOUGH_SEEDS:
            return None
        found = self.difference.smallest_detectable()
        return 100 * found if np.isfinite(found) else None


def sides_of(choice: Choice) -> list[Tried]:
    """The choice, what it is held against, and the cheap rivals, which take seconds."""
    found = [choice.chosen]
    if choice.best.candidate.name != choice.chosen.candidate.name:
        found.append(choice.best)
    elif choice.deepest and choice.deepest.candidate.name != choice.chosen.candidate.name:
        found.append(choice.deepest)
    names = [one.candidate.name for one in found]
    rivals = [one for one in choice.tried if one.candidate.kind == "rival"]
    return [*found, *(one for one in rivals if one.candidate.name not in names)]


def confirm(bench: Bench, choice: Choice) -> Confirmation:
    """Run all sides on the seeds behind that of the search, and judge."""
    seeds = range(bench.fit.seed + 1, bench.fit.seed + 1 + bench.plan.seeds)
    sides: dict[str, list[RunResult]] = {}
    for one in sides_of(choice):
        name = one.candidate.name
        for seed in seeds:
            save = one.candidate.chosen and seed == seeds[0]
            sides.setdefault(name, []).append(bench.again(one, seed, save=save))
    chosen, *others = sides
    answers = {name: _answers(bench, results) for name, results in sides.items()}
    difference, guess = None, CHEAP["majority"]
    verdict: Verdict = "no reference"
    if others and _is_reference(choice, others[0]):
        held = answers[chosen], answers[others[0]]
        difference = paired_difference(*held)
        verdict = _verdict(*held, difference, bench.fit.max_loss / 100)
    over_guess = None
    if chosen != guess and guess in answers:
        over_guess = paired_difference(answers[chosen], answers[guess])
    return Confirmation(
        sides,
        tuple(_confirmed(name, sides[name], answers[name]) for name in sides),
        difference,
        verdict,
        draw_items(sides[chosen][0].config, bench.data).test,
        others[0] if difference else "",
        over_guess,
    )


def _is_reference(choice: Choice, name: str) -> bool:
    """Whether a side is what the choice has to match, and not just a rival beside it."""
    against = [choice.best, *([choice.deepest] if choice.deepest else [])]
    return name in [one.candidate.name for one in against]


def _answers(bench: Bench, results: Sequence[RunResult]) -> list[SeedItems]:
    return [bench.answers(result, PREDICTIONS) for result in results]


def _confirmed(name: str, results: Sequence[RunResult], answers: Sequence[SeedItems]) -> Confirmed:
    found = mean_accuracy(answers)
    low, high = found.interval()
    return Confirmed(
        name=name,
        seeds=tuple(result.config.seed for result in results),
        accuracy=found.mean,
        low=low,
        high=high,
        macro_f1=float(np.mean([result.outcome.test_macro_f1 for result in results])),
    )


def _verdict(
    mine: Sequence[SeedItems], theirs: Sequence[SeedItems], difference: Estimate, margin: float
) -> Verdict:
    """Of seeds alike; one training a side is judged as it is, by its items alone."""
    if difference.fewest_seeds == 1:
        lost, won = lost_and_won(mine[0], theirs[0])
        enough = loss_p(lost, won, difference.fewest, margin) <= LEVEL
    else:
        enough = difference.se > 0 and difference.p_noninferior(margin) <= LEVEL
        # No item tells the two apart: the chance of that, were more than the margin lost.
        enough |= difference.se == 0 and (1 - margin) ** difference.fewest <= LEVEL
    if enough:
        return "good enough"
    # Half of the level, so that the interval beside it has no loss that is smaller.
    worse = difference.se > 0 and difference.p_below(-margin) <= LEVEL / 2
    return "worse" if worse else "cannot tell"
