"""What a fit has found, as ``fit.json`` and ``report.html`` have it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from slimcls.kinds import CHEAP

#: What is said of the choice against the reference, both on the test part.
Verdict = Literal["good enough", "worse", "cannot tell", "no reference"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that the look at the data has found."""

    kind: str
    """Such as ``empty text``, ``repeat``, ``two labels``, ``look-alike labels``, ``leak``."""
    sentence: str
    """What was found and what it means, for a person."""
    count: int
    """How many rows, or labels, it is about."""
    places: tuple[str, ...] = ()
    """The first few of them, as ``tickets.csv, line 12``."""
    done: str = ""
    """What was done about it; empty where nothing was."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A classifier that was tried; accuracies are shares from 0 to 1, on the validation part."""

    name: str
    """In words: ``TF-IDF``, ``15 of 30 layers, frozen``, ``8 of 30 layers``."""
    kind: Literal["rival", "frozen", "cut"]
    layers: int | None
    """How many layers of the model it needs; None where it needs none."""
    accuracy: float
    low: float
    """Lower end of its 95 % interval over items."""
    high: float
    loss: float | None = None
    """The reference's accuracy minus its own, on the same items."""
    loss_high: float | None = None
    """Upper one-sided 95 % bound of ``loss``, paired by items."""
    megabytes: float = 0.0
    """Its files on disk, in 10^6 bytes."""
    milliseconds: float = 0.0
    """One text on this machine, median."""
    seconds: float = 0.0
    """What trying it took."""
    run: str = ""
    """Its run directory, relative to the fit's folder; empty where it has none."""
    reference: bool = False
    chosen: bool = False
    converged: bool | None = None
    """Whether training ended because validation no longer improved; None where nothing is trained
    in epochs."""
    excluded: str = ""
    """Which limit it does not meet, in words; empty where it meets all."""

    @property
    def method(self) -> str | None:
        """Which of :data:`slimcls.kinds.CHEAP` it is; None for what is none of them."""
        return next((method for method, name in CHEAP.items() if name == self.name), None)


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """One classifier on the test part, over the seeds that the search did not use."""

    name: str
    seeds: tuple[int, ...]
    accuracy: float
    low: float
    high: float
    macro_f1: float


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class in the test part, of the classifier that is handed over."""

    label: str
    items: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A test item that the chosen classifier is most surely wrong about."""

    id: int
    """Its row in the data that were trained on."""
    text: str
    label: str
    prediction: str
    probability: float
    place: str = ""
    """Where it stands in what the user gave, such as ``tickets.csv, line 12``."""


@dataclass(frozen=True, kw_only=True)
class DepthOpinion:
    """What the frozen states of one depth say of it; for the page, nothing is decided by it."""

    layers: int
    probe_accuracy: float
    """On validation, of frozen layers of this depth."""
    variability: float | None = None
    """Hidden-state variability (Xie et al. 2022): within classes over between them; lower is better
    separated."""
    logme: float | None = None
    """Log evidence an item (You et al. 2021, arXiv 2102.11005); higher is better."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All that a fit says."""

    name: str
    sentence: str
    """The answer in a sentence or two."""
    verdict: Verdict
    max_loss: float
    """Points against the best that were allowed."""
    dataset: str
    model: str
    rows: dict[str, int]
    """Rows by part: train, validation, test."""
    classes: dict[str, int]
    """Rows of each class in all parts together."""
    findings: tuple[Finding, ...]
    candidates: tuple[Candidate, ...]
    """Smallest first among equals; in the order in which they were tried."""
    confirmed: tuple[Confirmed, ...] = ()
    """The choice first, then the reference, then the cheap rivals beside them."""
    other: str = ""
    """What the choice was held against on test: the best candidate, or the deepest model where the
    best one was chosen."""
    loss: float | None = None
    """On test: its accuracy minus the choice's, a share, mean over seeds."""
    loss_low: float | None = None
    loss_high: float | None = None
    """Its 95 % interval."""
    detectable: float | None = None
    """Smallest loss, in points, that these data could have shown with 80 % power."""
    per_class: tuple[ClassScore, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    opinions: tuple[DepthOpinion, ...] = ()
    advice: tuple[str, ...] = ()
    """What would help most, most helpful first."""
    commands: dict[str, str] = field(default_factory=dict)
    """To predict, to serve, to repeat: what to type, by what it does."""
    notes: tuple[str, ...] = ()
    """What was not done for want of time or memory, and other reservations."""
    seconds: float = 0.0
    """The whole fit."""


#: Fields of an answer that hold parts of their own.
_PARTS: dict[str, type] = {
    "findings": Finding,
    "candidates": Candidate,
    "confirmed": Confirmed,
    "per_class": ClassScore,
    "mistakes": Mistake,
    "opinions": DepthOpinion,
}


def as_json(answer: Answer) -> dict[str, Any]:
    """As ``fit.json`` has it; :func:`answer_of` reads it back."""
    return asdict(answer)


def answer_of(held: dict[str, Any]) -> Answer:
    """What :func:`as_json` has written. Raises TypeError or AttributeError where it is not that."""
    found = dict(held)
    for name, value in found.items():
        if kind := _PARTS.get(name):
            found[name] = tuple(kind(**_tuples(part)) for part in value)
    return Answer(**_tuples(found))


def _tuples(held: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in held.items()}
