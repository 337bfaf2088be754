"""What leaving early does, in words: for a terminal, and for the model card."""

from __future__ import annotations

from collections.abc import Sequence

from slimcls.cascading.choosing import Outcome, Scores
from slimcls.classifier.early import EarlyRule

#: How the section of a model card begins, by which it is found again.
_HEADING = "## Leaving early"


def summary(rule: EarlyRule, scores: Scores, validation: Outcome, test: Outcome | None) -> str:
    """What was chosen and what it does, as lines."""
    deepest = rule.depths[-1]
    lines = [
        f"at most {100 * rule.risk:g} points lost against {deepest} layers: shown by "
        f"{validation.items:,} validation texts (one-sided, 95 %)",
        f"a text leaves where its class has a probability of {rule.threshold:.4f} or more",
        "",
        *_table(rule, scores, validation, test),
        "",
        f"{'':<12}{'layers':>8}{'accuracy':>10}{f'of {deepest}':>8}{'lost':>7}{'at most':>9}",
        _line("validation", rule, validation, f"{100 * rule.bound:>9.1f}"),
    ]
    return "\n".join([*lines, *([_line("test", rule, test, "")] if test else [])])


def _table(rule: EarlyRule, scores: Scores, validation: Outcome, test: Outcome | None) -> list[str]:
    """How many leave at each depth, and how right each is of all validation texts."""
    rows = [f"{'leave at':<12}{'validation':>11}{'test':>7}{'accuracy':>10}{'temperature':>13}"]
    right = (scores.logits.argmax(2) == scores.labels).mean(1)
    for end, depth in enumerate(rule.depths):
        counts = [
            f"{(given.ends == end).mean():.0%}" if given else "" for given in (validation, test)
        ]
        rows.append(
            f"{f'{depth} layers':<12}{counts[0]:>11}{counts[1]:>7}{right[end]:>10.3f}"
            f"{rule.temperatures[end]:>13.2f}"
        )
    return rows


def _line(name: str, rule: EarlyRule, given: Outcome, bound: str) -> str:
    layers = sum(rule.depths[end] for end in given.ends.tolist()) / given.items
    deepest = given.accuracy + given.loss
    lost = f"{100 * given.loss:>7.1f}"
    return f"{name:<12}{layers:>8.1f}{given.accuracy:>10.3f}{deepest:>8.3f}{lost}{bound}".rstrip()


def with_section(card: str, rule: EarlyRule, test: Outcome | None) -> str:
    """A model card with what leaving early is; what it said of that before is replaced."""
    before = card.partition(f"\n{_HEADING}\n")[0].rstrip()
    return "\n".join([before, "", _HEADING, "", *_section(rule, test)]) + "\n"


def _section(rule: EarlyRule, test: Outcome | None) -> Sequence[str]:
    deepest = rule.depths[-1]
    above = ", ".join(map(str, rule.depths[:-1]))
    said = [
        f"`slimcls` lets a text leave behind {above} layers where the class there has a "
        f"probability of {rule.threshold:.4f} or more; everything else opens the classifier of "
        f"{deepest} layers, as described above. {sum(rule.texts):,} validation texts show that "
        f"at most {100 * rule.risk:g} points of accuracy are lost by it (a one-sided bound of "
        "95 %). They "
        f"were seen by {rule.layers:.1f} layers on average."
    ]
    if test:
        said.append(
            f"On {test.items:,} test texts accuracy is {test.accuracy:.3f}, that of {deepest} "
            f"layers {test.accuracy + test.loss:.3f}."
        )
    return [" ".join(said)]
