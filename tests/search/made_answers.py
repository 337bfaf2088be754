"""Answers of fits that never were, for the page: plain ones and hostile ones."""

from __future__ import annotations

from dataclasses import replace

from slimcls.search.answer import (
    Answer,
    Candidate,
    ClassScore,
    Confirmed,
    DepthOpinion,
    Finding,
    Mistake,
)

HOSTILE = "<script>alert(1)</script> $x$ &amp; \"q\" 'a' \u202eب\n😀\x00\x1b[31m {{ 7*7 }}"


def candidates() -> tuple[Candidate, ...]:
    made = [
        Candidate(
            name="majority class",
            kind="rival",
            layers=None,
            accuracy=0.213,
            low=0.164,
            high=0.271,
            loss=0.737,
            loss_high=0.78,
            megabytes=0.0007,
            milliseconds=0.02,
            seconds=0.4,
        ),
        Candidate(
            name="TF-IDF",
            kind="rival",
            layers=None,
            accuracy=0.887,
            low=0.845,
            high=0.919,
            loss=0.063,
            loss_high=0.101,
            megabytes=4.31,
            milliseconds=0.44,
            seconds=3.1,
        ),
        Candidate(
            name="mean of the embeddings",
            kind="rival",
            layers=None,
            accuracy=0.871,
            low=0.828,
            high=0.905,
            loss=0.079,
            loss_high=0.12,
            megabytes=57.1,
            milliseconds=0.61,
            seconds=6.7,
        ),
    ]
    for layers, accuracy in (
        (1, 0.83),
        (2, 0.862),
        (4, 0.899),
        (8, 0.924),
        (15, 0.931),
        (30, 0.922),
    ):
        made.append(
            Candidate(
                name=f"{layers} of 30 layers, frozen",
                kind="frozen",
                layers=layers,
                accuracy=accuracy,
                low=accuracy - 0.036,
                high=accuracy + 0.027,
                loss=0.95 - accuracy,
                loss_high=0.98 - accuracy,
                megabytes=114 + 14.2 * layers,
                milliseconds=1.4 + 1.35 * layers,
                seconds=2.2,
                run=f"runs/frozen-{layers}",
            )
        )
    for layers, accuracy in ((30, 0.95), (15, 0.947), (8, 0.945), (4, 0.916), (2, 0.885)):
        made.append(
            Candidate(
                name=f"{layers} of 30 layers",
                kind="cut",
                layers=layers,
                accuracy=accuracy,
                low=accuracy - 0.031,
                high=accuracy + 0.022,
                loss=0.95 - accuracy,
                loss_high=0.964 - accuracy,
                megabytes=114 + 14.2 * layers,
                milliseconds=1.5 + 1.35 * layers,
                seconds=35.5 * layers,
                run=f"runs/cut-{layers}",
                reference=layers == 30,
                chosen=layers == 8,
                converged=layers != 4,
                excluded="takes 42 ms, and --max-ms is 30" if layers == 30 else "",
            )
        )
    return tuple(made)


def answer(**changes: object) -> Answer:
    """Eight layers are enough; ``changes`` are fields that differ."""
    plain = Answer(
        name="tickets",
        sentence="8 of the model's 30 layers are good enough: 94.1 % of test texts right, "
        "0.4 points under the whole model, at two fifths of its size and a quarter of its time.",
        verdict="good enough",
        max_loss=2.5,
        dataset="tickets.csv",
        model="smollm2-135m",
        rows={"train": 1623, "validation": 203, "test": 204},
        classes={"bug": 611, "billing": 583, "praise": 499, "other": 337},
        findings=(
            Finding(
                kind="empty text",
                sentence="rows without a text in column 'body': 12",
                count=12,
                places=("tickets.csv, line 12", "tickets.csv, line 37"),
                done="left out",
            ),
            Finding(
                kind="two labels",
                sentence="texts with several labels: 3 (7 rows), such as 'bug', "
                "'billing' for one. Nothing can learn, or be tested on, both",
                count=7,
                places=("tickets.csv, line 66",),
                done="all of these rows are left out",
            ),
            Finding(
                kind="leak",
                sentence="looks like a leak: one word decides a class. 'inv-#' stands "
                "in 97% of the texts of class 'billing' and in 0.2% of the others",
                count=1,
            ),
        ),
        candidates=candidates(),
        confirmed=(
            Confirmed(
                name="8 of 30 layers",
                seeds=(11, 12, 13),
                accuracy=0.9412,
                low=0.912,
                high=0.963,
                macro_f1=0.933,
            ),
            Confirmed(
                name="30 of 30 layers",
                seeds=(11, 12, 13),
                accuracy=0.9453,
                low=0.917,
                high=0.966,
                macro_f1=0.939,
            ),
            Confirmed(
                name="TF-IDF",
                seeds=(11, 12, 13),
                accuracy=0.876,
                low=0.83,
                high=0.911,
                macro_f1=0.858,
            ),
        ),
        loss=0.0041,
        loss_low=-0.0087,
        loss_high=0.0163,
        detectable=1.93,
        per_class=(
            ClassScore(label="bug", items=61, precision=0.951, recall=0.967, f1=0.959),
            ClassScore(label="billing", items=59, precision=0.982, recall=0.966, f1=0.974),
            ClassScore(label="praise", items=50, precision=0.923, recall=0.96, f1=0.941),
            ClassScore(label="other", items=34, precision=0.871, recall=0.794, f1=0.831),
        ),
        mistakes=tuple(
            Mistake(
                id=900 + n,
                text="The new screen is fine but I was charged twice, again. " * (n + 1),
                label="billing",
                prediction="praise",
                probability=0.991 - n / 70,
                place=f"tickets.csv, line {931 + 7 * n}",
            )
            for n in range(10)
        ),
        opinions=tuple(
            DepthOpinion(
                layers=n,
                probe_accuracy=0.93 - 0.25 / (n + 1),
                variability=3 + 40 / (n + 1),
                logme=-0.2 - 0.3 / (n + 1),
            )
            for n in range(31)
        ),
        advice=(
            "more labels of class 'other': a sixth of the rows, two fifths of the mistakes",
            "texts without labels: --unlabelled FILE; four layers come near eight with them",
        ),
        commands={
            "to predict": "slimcls predict fits/tickets/model new.csv --text-column body",
            "to serve": "slimcls serve fits/tickets/model --port 8000",
            "to repeat": "slimcls fit tickets.csv --text-column body --label-column topic "
            "--max-loss 2.5 --budget 30m --out fits/tickets",
        },
        notes=("Times are of this machine: 2 threads, no accelerator",),
        seconds=1387.0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def _as_chosen(name: str, found: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    return tuple(replace(c, chosen=c.name == name) for c in found)


def cases() -> dict[str, Answer]:
    """By name: each is a page that somebody will get."""
    plain = answer()
    trained = [c for c in plain.candidates if c.kind == "cut"]
    frozen = tuple(c for c in plain.candidates if c.kind != "cut")
    many = tuple(
        replace(
            c,
            name=f"{c.name}, {n}",
            layers=None if c.layers is None else c.layers + n,
            megabytes=c.megabytes * (1 + n / 9),
            milliseconds=c.milliseconds * (1 + n / 7),
            chosen=c.chosen and n == 0,
            reference=c.reference and n == 0,
            accuracy=c.accuracy - n / 200,
            low=c.low - n / 200,
            high=c.high - n / 200,
        )
        for n in range(3)
        for c in plain.candidates
    )[:40]
    long = [f"{n:03} " + "a very long label name, with words " * 6 for n in range(4)]
    return {
        "plain": plain,
        "rival": answer(
            sentence="Take TF-IDF: 88.7 % right, and no cut of the model is shown to be better.",
            candidates=_as_chosen("TF-IDF", plain.candidates),
            confirmed=(plain.confirmed[2], plain.confirmed[1]),
            opinions=(),
            advice=(),
        ),
        "untrained": answer(
            sentence="The budget was too short to train anything; TF-IDF is the best there is.",
            verdict="no reference",
            candidates=_as_chosen("TF-IDF", frozen),
            confirmed=(),
            loss=None,
            loss_low=None,
            loss_high=None,
            detectable=None,
            per_class=(),
            mistakes=(),
        ),
        "one": answer(
            candidates=(replace(trained[0], chosen=True),),
            confirmed=plain.confirmed[:1],
            verdict="cannot tell",
            detectable=3.14,
            findings=(),
            opinions=plain.opinions[:1],
        ),
        "classes": answer(
            classes={f"class {n}": 7 for n in range(1000)},
            per_class=tuple(
                ClassScore(
                    label=f"class {n}", items=3, precision=n / 1000, recall=n / 1100, f1=n / 1050
                )
                for n in range(1000)
            ),
        ),
        "many": answer(candidates=many),
        "long": answer(
            per_class=tuple(
                replace(score, label=name)
                for score, name in zip(plain.per_class, long, strict=True)
            ),
            mistakes=tuple(replace(m, label=long[0], prediction=long[1]) for m in plain.mistakes),
        ),
        "hostile": answer(
            name=HOSTILE,
            sentence=HOSTILE,
            dataset=HOSTILE,
            model=HOSTILE,
            notes=(HOSTILE,),
            advice=(HOSTILE,),
            commands={HOSTILE: HOSTILE},
            verdict="worse",
            classes={HOSTILE: 3, "b": 4},
            findings=(
                Finding(kind=HOSTILE, sentence=HOSTILE, count=9, places=(HOSTILE,), done=HOSTILE),
            ),
            candidates=tuple(
                replace(c, name=HOSTILE + c.name, excluded=HOSTILE) for c in plain.candidates
            ),
            confirmed=tuple(replace(c, name=HOSTILE) for c in plain.confirmed),
            per_class=tuple(replace(s, label=HOSTILE) for s in plain.per_class),
            mistakes=tuple(
                replace(m, text=HOSTILE, label=HOSTILE, prediction=HOSTILE, place=HOSTILE)
                for m in plain.mistakes
            ),
        ),
        "nothing": answer(
            sentence="Nothing could be tried in this time.",
            verdict="no reference",
            candidates=(),
            confirmed=(),
            loss=None,
            loss_low=None,
            loss_high=None,
            detectable=None,
            per_class=(),
            mistakes=(),
            opinions=(),
            advice=(),
            commands={},
            notes=(),
            findings=(),
        ),
    }
