"""The answer of a fit in words: what to take, how sure that is, what would help most."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from slimcls.data.splits import Example
from slimcls.kinds import CHEAP, in_a_sentence
from slimcls.log import duration
from slimcls.runs.schema import PREDICTIONS, RunResult
from slimcls.search.answer import Answer, Candidate, ClassScore, Mistake
from slimcls.search.choosing import Choice
from slimcls.search.confirming import Confirmation
from slimcls.search.handover import PAGE, SMALL
from slimcls.search.page_words import number
from slimcls.search.plan import CHEAPEST, CONFIRMING, READING, TRAINING, Plan
from slimcls.search.settings import FitConfig
from slimcls.statistics import Estimate

_EMBEDDINGS = in_a_sentence(CHEAP["embeddings"])
_WORTHLESS = "Nothing has been learnt here that is worth using."
#: Mistakes that are shown.
WORST = 10
#: F1 under which a class is named as weak, and classes that are named.
WEAK, NAMED = 0.7, 3
#: Test texts from which on more of them would not help first.
ENOUGH_ITEMS = 500


def sentence(
    choice: Choice, found: Confirmation, fit: FitConfig, measured: Sequence[Candidate]
) -> str:
    """The answer in two or three sentences.

    ``measured`` is what frozen layers came to of which nothing can be handed over.
    """
    called = _called(choice.chosen.candidate, fit)
    return " ".join(
        [
            *_worth(called, found),
            *_beside(choice, found, fit, measured),
            *_obstacle(choice),
        ]
    )


def _worth(called: str, found: Confirmation) -> list[str]:
    """What to take and how good it is; where one answer for all texts is as good, that first."""
    mine = found.confirmed[0]
    right = (
        f"it is right on {mine.accuracy:.1%} of {len(found.test):,} test texts "
        f"({mine.low:.1%} to {mine.high:.1%})"
    )
    if found.over_guess is None:
        # Where another is shown to be better, there is something to be learnt.
        beaten = found.difference is not None and found.difference.interval()[1] < 0
        return [*([] if beaten else [_WORTHLESS]), f"Take {called}: {right}."]
    if found.over_guess.interval()[0] > 0:
        return [f"Take {called}: {right}."]
    most = max(Counter(item.label for item in found.test).values()) / len(found.test)
    return [
        f"Nothing here is shown to be right more often than one answer for all texts ({most:.1%}). "
        f"If any, take {called}: {right}, {_apart(found.over_guess)} that one answer"
        f"{_rare_classes(found)}."
    ]


def _rare_classes(found: Confirmation) -> str:
    """What the choice is worth where each class counts alike, beside one answer for all texts."""
    one = next((side for side in found.confirmed if side.name == CHEAP["majority"]), None)
    if one is None:
        return ""
    mine = found.confirmed[0].macro_f1
    return (
        f"; its macro-F1, in which each class counts alike, is {mine:.2f}, where one answer has "
        f"{one.macro_f1:.2f}"
    )


def _called(candidate: Candidate, fit: FitConfig) -> str:
    if candidate.method == "majority":
        return "the majority class, one answer for all texts"
    if candidate.method == "embeddings":
        return (
            f"{_EMBEDDINGS} of {fit.model} with logistic regression, which needs none of its layers"
        )
    if candidate.kind == "frozen":
        return (
            f"{fit.model}, {candidate.name} as they were pretrained, with logistic regression on "
            "the mean over a text's tokens"
        )
    if candidate.layers is None:
        return "TF-IDF with logistic regression, which needs no language model"
    if candidate.name.startswith("all"):
        return f"{fit.model} uncut, {candidate.name}"
    return f"{fit.model} cut to {candidate.name}"


def _beside(
    choice: Choice, found: Confirmation, fit: FitConfig, measured: Sequence[Candidate]
) -> list[str]:
    """How it stands to what it has to match, and that nothing was trained where it was not."""
    untrained = [] if choice.deepest else [_untrained(choice, measured)]
    return [*_held(found, fit), *untrained]


def _untrained(choice: Choice, measured: Sequence[Candidate]) -> str:
    chosen = choice.chosen.candidate
    if chosen.kind == "frozen":
        return "No layer was trained beside it, so nothing says what training would add."
    said = "No layer of the model was trained beside it, so nothing says what a model adds"
    frozen = [one.candidate for one in choice.tried if one.candidate.kind == "frozen"]
    if not (all_frozen := [*frozen, *measured]):
        return f"{said}."
    best = max(all_frozen, key=lambda one: one.accuracy)
    return (
        f"{said}; frozen, as it was pretrained, it is right on {best.accuracy:.1%} of the "
        f"validation texts ({best.name}), the choice on {chosen.accuracy:.1%}."
    )


def _held(found: Confirmation, fit: FitConfig) -> list[str]:
    """How it stands to the candidate that it is held against, where there is one."""
    if found.difference is None:
        return []
    held = f"{_apart(found.difference)} {in_a_sentence(found.other)}"
    if found.verdict == "good enough":
        return [f"That is good enough: {held}, and {fit.max_loss:g} may be lost{_once(found)}."]
    if found.verdict == "worse":
        return [f"That is worse than was asked: {held}, and {fit.max_loss:g} may be lost."]
    said = f"Whether that is within {fit.max_loss:g} points cannot be told: {held}"
    shown = found.detectable
    also = f"; the smallest loss these data can show is {shown:.1f} points" if shown else ""
    return [f"{said}{also}."]


def _once(found: Confirmation) -> str:
    """That the interval holds for two trainings as they are, where each was trained once."""
    trained = found.handed_over.outcome.method == "fine-tuned"
    if trained and found.difference and found.difference.fewest_seeds == 1:
        return " (of one training each; another may come out otherwise)"
    return ""


def _apart(difference: Estimate) -> str:
    """``1.2 points (0.3 to 2.1) above``: a difference with its 95 % interval, seen from above."""
    below = difference.mean < 0
    ends = [100 * end for end in (difference.mean, *difference.interval())]
    mean, low, high = (-ends[0], -ends[2], -ends[1]) if below else ends
    return f"{mean:.1f} points ({low:.1f} to {high:.1f}) {'below' if below else 'above'}"


def _obstacle(choice: Choice) -> list[str]:
    if not choice.obstacle:
        return []
    said = choice.obstacle[0].upper() + choice.obstacle[1:]
    return [f"{said}; this is the nearest."]


def class_scores(result: RunResult) -> tuple[ClassScore, ...]:
    """Each class in the test part."""
    return tuple(ClassScore(**figures) for figures in json.loads(result.outcome.per_class))


def worst_mistakes(result: RunResult, test: Sequence[Example]) -> tuple[Mistake, ...]:
    """The test texts that a run was most surely wrong about."""
    texts = {item.id: item.text for item in test}
    rows = pq.read_table(result.folder / PREDICTIONS).to_pylist()
    wrong = [row for row in rows if row["label"] != row["prediction"]]
    wrong.sort(key=lambda row: -max(row["probabilities"]))
    return tuple(
        Mistake(
            id=row["id"],
            text=texts[row["id"]],
            label=row["label"],
            prediction=row["prediction"],
            probability=max(row["probabilities"]),
        )
        for row in wrong[:WORST]
    )


def advice(
    choice: Choice,
    found: Confirmation,
    plan: Plan,
    fit: FitConfig,
    scores: Sequence[ClassScore],
    measured: Sequence[Candidate],
) -> tuple[str, ...]:
    """What would help most, the most helpful first."""
    said = []
    if plan.next_seconds is not None:
        what = "a deeper model would be tried" if plan.depths else "layers would be trained too"
        said.append(f"More time: with --budget {_budget(plan.next_seconds)} {what}.")
    if late := [one.candidate.name for one in choice.tried if one.candidate.converged is False]:
        said.append(f"More time: {', '.join(late)} had not stopped improving.")
    frozen = max((one.accuracy for one in measured), default=0.0)
    if frozen > choice.chosen.candidate.accuracy:
        said.append(
            f"More time: the frozen model is right on {frozen:.1%} of the validation texts, the "
            f"choice on {choice.chosen.candidate.accuracy:.1%}."
        )
    weak = sorted((one for one in scores if one.items and one.f1 < WEAK), key=lambda one: one.f1)
    if weak:
        named = ", ".join(f"{one.label} (F1 {one.f1:.2f})" for one in weak[:NAMED])
        more = f" and {len(weak) - NAMED} more" if weak[NAMED:] else ""
        said.append(f"More labels of the weak classes: {named}{more}.")
    items = len(found.test)
    if found.verdict == "cannot tell" or items < ENOUGH_ITEMS:
        said.append(
            f"More labels: {items:,} test texts tell apart what differs by several points alone."
        )
    if fit.unlabelled is None and plan.depths[1:]:
        said.append(
            "Texts without labels: cuts learn from the deepest model what --unlabelled FILE holds."
        )
    return tuple(said)


def _budget(seconds: float) -> str:
    hours, minutes = divmod(-(-round(seconds) // 60), 60)
    if hours < 3:
        return f"{60 * hours + minutes}m"
    return f"{hours}h{minutes}m" if minutes else f"{hours}h"


def plan_lines(plan: Plan, parts: dict[str, int], classes: int) -> list[str]:
    """What will be tried and how long that takes, a line each."""
    seeds = f"{plan.seeds} seeds" if plan.seeds > 1 else "one seed"
    what = {
        CHEAPEST: ", ".join(CHEAP.values()),
        READING: f"{_layers(plan.frozen)}, frozen",
        TRAINING: f"{_layers(plan.depths)}, as many of them as it takes",
        CONFIRMING: f"the choice, what it is held against and the cheap rivals, {seeds}",
    }
    rows = ", ".join(f"{count:,} {part}" for part, count in parts.items())
    lines = [f"plan: {rows} texts of {classes} classes"]
    lines += [
        f"  {what[name]}: at most {duration(seconds)}" for name, seconds in plan.seconds.items()
    ]
    lines.append(f"  in all at most {duration(plan.total)}")
    return [*lines, *(f"note: {note}" for note in plan.notes)]


def _layers(depths: Sequence[int]) -> str:
    """``8, 4 and 2 layers``."""
    named = ", ".join(map(str, depths[:-1]))
    listed = " and ".join([*([named] if named else []), *map(str, depths[-1:])])
    return f"{listed} layer{'s' * (depths not in ((1,), [1]))}"


def commands(fit: FitConfig, chosen: Candidate, run: RunResult, *, small: bool) -> dict[str, str]:
    """What to type next, by what it does; ``small``: the choice was exported too."""
    folder = shlex.quote(str(fit.folder))
    texts = shlex.join(["--text-column", fit.text_column]) if fit.text_column else ""
    file = f"new.csv {texts}".strip()
    found = {
        "classify a file": f"slimcls predict {folder} {file}",
        "answer over HTTP": f"slimcls serve {folder}",
    }
    if small:
        without = shlex.quote(str(fit.folder / SMALL))
        found["classify without torch"] = f"slimcls predict {without} {file}"
    elif chosen.layers is not None:
        run_folder = shlex.quote(str(run.folder))
        found["make it small, without torch"] = f"slimcls export {run_folder} small --bits 8"
    found["do it again"] = shlex.join(["slimcls", "fit", fit.dataset, *_given(fit), "--overwrite"])
    return found


def _given(fit: FitConfig) -> list[str]:
    """The settings that were given, as flags."""
    words = []
    for field in dataclasses.fields(fit):
        value = getattr(fit, field.name)
        if field.name not in ("dataset", "overwrite") and value != field.default:
            words += [
                f"--{field.name.replace('_', '-')}",
                repr(value).removesuffix(".0") if isinstance(value, float) else str(value),
            ]
    return words


def _lost(one: Candidate) -> tuple[str, str]:
    """What a candidate loses against the best, and at most, in points."""
    if one.reference:
        return "best", ""
    if one.loss is None or one.loss_high is None:
        return "", ""
    return f"{100 * one.loss:.1f}", f"{100 * one.loss_high:.1f}"


def summary(answer: Answer, folder: Path) -> str:
    """What the command ends with: candidates, the answer, what to type next."""
    head = ("candidate", "validation", "loses", "at most", "MB", "ms")
    rows = [
        (
            ("> " if one.chosen else "  ") + one.name,
            f"{one.accuracy:.3f}",
            *_lost(one),
            number(one.megabytes) if one.megabytes else "",
            number(one.milliseconds) if one.milliseconds else "",
        )
        for one in sorted(answer.candidates, key=lambda one: -one.accuracy)
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in (head, *rows)
    ]
    advice = [f"  {one}" for one in answer.advice]
    typed = [f"  {what}: {command}" for what, command in answer.commands.items()]
    page = f"  read: {folder / PAGE}"
    help_most = ["what would help most:", *advice, ""] if advice else []
    return "\n".join([*lines, "", answer.sentence, "", *help_most, "next:", page, *typed])
