"""What speaks against taking a run for a result: a table of findings, each with what to try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: With a macro-F1 no further than this above that of one answer for all, little else is answered.
NEAR = 0.05
#: A loss above this share of what it was, or of what guessing has, has not fallen.
FALLEN = 0.98


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a training came to, as far as it can be judged."""

    classes: Sequence[tuple[str, int]]
    """Each class with its test items."""
    accuracy: float
    low: float
    """Lower end of the interval of ``accuracy``."""
    macro_f1: float
    losses: Sequence[float]
    """Mean training loss of each epoch; empty where nothing was trained."""
    guessing: float
    """What the loss is where all classes are equally probable; 0 where that says nothing."""
    converged: bool
    """Whether validation had stopped improving."""
    lr: float
    """Peak learning rate."""

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return len(self.losses)

    @property
    def commonest(self) -> tuple[str, float]:
        """The class of most test items, and its share of them."""
        name, items = max(self.classes, key=lambda pair: pair[1])
        return name, items / sum(count for _, count in self.classes)

    @property
    def one_answer_f1(self) -> float:
        """Macro-F1 of giving every text the commonest class."""
        share = self.commonest[1]
        seen = sum(count > 0 for _, count in self.classes)
        return 2 * share / (1 + share) / seen


@dataclass(frozen=True)
class Finding:
    """Something that a run should not be silent about."""

    applies: Callable[[Course], bool]
    says: Callable[[Course], str]
    """What is so, and what to try."""


def _one_class(course: Course) -> bool:
    if not any(items for _, items in course.classes):  # nothing was tested
        return False
    near = course.macro_f1 <= course.one_answer_f1 + NEAR
    return near or course.low <= course.commonest[1]


def _says_one_class(course: Course) -> str:
    name, share = course.commonest
    return (
        f"not shown to be better than always answering {name} ({share:.3f} of the test texts): "
        "try more --shots, more --epochs or another --lr"
    )


def _never_fell(course: Course) -> bool:
    if not course.losses:
        return False
    least = min(course.losses)
    since_the_first = course.epochs > 1 and least > FALLEN * course.losses[0]
    return since_the_first or least > FALLEN * course.guessing > 0


def _says_never_fell(course: Course) -> str:
    if course.epochs == 1:
        return (
            f"the training loss ({course.losses[0]:.3f}) is no better than guessing "
            f"({course.guessing:.3f}) after one epoch: try more --epochs or another --lr"
        )
    return (
        f"the training loss never fell ({course.losses[0]:.3f} in the first epoch, "
        f"{course.losses[-1]:.3f} in the last): try another --lr, such as {course.lr / 3:.1g}"
    )


def _still_learning(course: Course) -> bool:
    return course.epochs > 0 and not course.converged


def _says_still_learning(course: Course) -> str:
    return (
        f"training ended after {course.epochs} epoch{'s' * (course.epochs > 1)}, too early to show "
        "that validation no longer improves: it may not have learnt all it can; try --epochs "
        f"{2 * course.epochs}"
    )


FINDINGS = (
    Finding(_one_class, _says_one_class),
    Finding(_never_fell, _says_never_fell),
    Finding(_still_learning, _says_still_learning),
)


def judge_course(course: Course) -> str:
    """All findings that apply, in one line; empty where none does."""
    return "; ".join(row.says(course) for row in FINDINGS if row.applies(course))
