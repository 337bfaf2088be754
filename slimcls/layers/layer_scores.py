"""Layer scores as a file: what was measured, on which model and texts, and what stays."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from slimcls.errors import UserError
from slimcls.layers import criteria
from slimcls.storage.files import write_text
from slimcls.storage.json_files import parse_json

SCORES_FILE = "scores.json"

#: Raised whenever a field changes its name or meaning.
SCORES_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Findings of one criterion on one model and one set of texts."""

    format: int = SCORES_FORMAT
    slimcls_version: str
    criterion: str
    model: str
    """As it was named when it was measured."""
    source: str
    """Fingerprint of the model: commit on the hub, or content hash of a local one."""
    depth: int
    """Layers of the model."""
    text: str = ""
    """What the texts' source is called; empty for a rule that looks at none."""
    text_fingerprint: str = ""
    """Hash of the token ids."""
    samples: int = 0
    """Texts."""
    tokens: int = 0
    """Tokens of all texts."""
    seed: int = 0
    """Of the draw of the texts and the bootstrap; of the layers themselves with ``random``."""
    scores: list[float] | None = None
    """A score a layer, the least removed first; null where the criterion has none."""
    intervals: list[list[float]] | None = None
    """95 % bootstrap interval of each score over texts; null for a single text."""
    removal_order: list[int] | None = None
    """Layers, the first to go first; null where what goes at one depth may stay at the next."""
    kept: dict[int, list[int]]
    """Ids of the layers that stay, by how many stay."""
    tau: float | None = None
    """Kendall's tau between the scores of two halves of the texts."""
    notes: list[str] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """``sha256:`` of what was measured on what, and of every choice that follows.

        The digits of the scores are left out: another number of threads changes the last of them,
        and a run must not be another one for that unless a layer is.
        """
        digits = ("scores", "intervals", "tau", "notes", "model", "text", "slimcls_version")
        content = {name: value for name, value in asdict(self).items() if name not in digits}
        return f"sha256:{hashlib.sha256(json.dumps(content).encode()).hexdigest()}"

    def kept_layers(self, keep: int) -> tuple[int, ...]:
        """The layers that stay when ``keep`` do. Raises UserError where that was not measured."""
        if keep not in self.kept:
            measured = f"{min(self.kept)} to {max(self.kept)}" if self.kept else "none"
            raise UserError(
                f"--keep {keep}: these {self.criterion} scores say what stays of {self.depth} "
                f"layers for {measured}; measure again with --keep {keep}"
            )
        return tuple(self.kept[keep])

    def check(self, criterion: str, source: str, model: str, where: str) -> None:
        """Whether these are scores of that criterion and model; ``where`` is for the error.

        Raises:
            UserError: another criterion, or other weights, be it another revision.
        """
        if self.criterion != criterion:
            raise UserError(
                f"{where}: holds {self.criterion} scores; --select {criterion} needs its own"
            )
        if self.source != source:
            raise UserError(
                f"{where}: measured on {self.model} ({_short(self.source)}), not on this {model} "
                f"({_short(source)}): another model or revision; measure again"
            )


def _short(fingerprint: str) -> str:
    kind, _, digits = fingerprint.partition(":")
    return f"{kind}:{digits[:12]}"


def write_scores(scores: Scores, path: Path) -> None:
    """Write the file whole or not at all. Raises UserError where that cannot be done."""
    write_text(path, json.dumps(asdict(scores), indent=1, allow_nan=False) + "\n")


def read_scores(path: Path) -> Scores:
    """The scores in a file.

    Raises:
        UserError: no such file, or not one that ``slimcls score`` of this version wrote.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        found = content.get("format")
        if found != SCORES_FORMAT:
            raise ValueError(f"format {found}, this slimcls reads {SCORES_FORMAT}")
        content["kept"] = {int(keep): layers for keep, layers in content["kept"].items()}
        scores = Scores(**content)
        _check_choices(scores)
    except FileNotFoundError:
        raise UserError(f"--scores {path}: no such file; slimcls score writes one") from None
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(f"--scores {path}: not a file of slimcls score ({error})") from None
    return scores


def _check_choices(scores: Scores) -> None:
    """ValueError where what stays cannot be: a cut by it would be another than it says."""
    if scores.criterion not in criteria.CRITERIA:
        raise ValueError(f"unknown criterion {scores.criterion}")
    order = scores.removal_order
    for keep, layers in scores.kept.items():
        if layers != sorted(set(layers)) or len(layers) != keep:
            raise ValueError(f"kept {keep}: not {keep} layers, ascending")
        if not layers or not set(layers) <= set(range(scores.depth)):
            raise ValueError(f"kept {keep}: not layers of {scores.depth}")
        if order is not None and set(layers) & set(order[: scores.depth - keep]):
            raise ValueError(f"kept {keep}: not what removal_order leaves")
