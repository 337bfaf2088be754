"""Evidence on which layers matter: the files that scripts/layer_evidence.sh leaves, read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from slimcls.errors import UserError
from slimcls.layers import layer_scores
from slimcls.layers.layer_scores import Scores
from slimcls.reporting import study
from slimcls.reporting.study import Study
from slimcls.storage.json_files import parse_json

#: Each table: what it is about, and the files that it is made of.
EVIDENCE_TABLES = {
    "removal": (
        "perplexity against removed layers",
        ("removal/removal.csv", "removal-greedy/removal.csv"),
    ),
    "parts": ("attention and MLP of each block apart", ("parts/parts.csv",)),
    "bits": ("8 and 4 bits of the language model", ("bits/bits.csv",)),
    "classifier_bits": ("8 and 4 bits of a classifier", ("bits-classifier/bits.csv",)),
}

#: Profiles that are compared: scores/CRITERION-TEXT.json.
CRITERIA, TEXTS = ("bi", "bi-last"), ("bbcnews", "agnews", "sst2", "trec")

#: The description of the healed model, and the folder of the fine-tuned cuts.
HEALING, GRID = "healing.json", "grid"


@dataclass(frozen=True)
class LayerEvidence:
    """What a folder has; a table whose file is not there is empty, and ``missing`` names it."""

    removal: pd.DataFrame
    """As ``slimcls prune --evaluate`` writes it, of all criteria."""
    parts: pd.DataFrame
    """As ``slimcls prune --evaluate --parts`` writes it."""
    bits: pd.DataFrame
    """As ``slimcls prune --evaluate --quantise`` writes it."""
    classifier_bits: pd.DataFrame
    scores: tuple[Scores, ...]
    """Of every criterion and text that was measured."""
    healing: pd.DataFrame
    """Columns model, select, layers, removed, text, steps, perplexity (before), healed (after)."""
    runs: Study | None
    """Fine-tuned cuts, compared; None where none is finished."""
    missing: tuple[str, ...]
    """What is not there yet, and in which file it would be."""


def read_evidence(folder: str | Path) -> LayerEvidence:
    """Read what is there. Raises UserError for scores, a healing or runs that are broken."""
    folder = Path(folder)
    measured = sorted(folder.glob("scores/*.json"))
    finished = any((folder / GRID).glob("*/result.parquet"))
    tables = {name: _table(folder, files) for name, (_, files) in EVIDENCE_TABLES.items()}
    return LayerEvidence(
        removal=tables["removal"],
        parts=tables["parts"],
        bits=tables["bits"],
        classifier_bits=tables["classifier_bits"],
        scores=tuple(layer_scores.read_scores(path) for path in measured),
        healing=_healing(folder / HEALING),
        runs=study.read_study(folder / GRID) if finished else None,
        missing=tuple(f"{what}: no {name}" for what, name in _missing(folder, finished)),
    )


def _table(folder: Path, files: Sequence[str]) -> pd.DataFrame:
    found = [pd.read_csv(folder / name) for name in files if (folder / name).is_file()]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _missing(folder: Path, finished: bool) -> Iterator[tuple[str, str]]:
    wanted = [(what, name) for what, files in EVIDENCE_TABLES.values() for name in files]
    for criterion, text in product(CRITERIA, TEXTS):
        wanted.append((f"{criterion} on {text}", f"scores/{criterion}-{text}.json"))
    wanted.append(("healing", HEALING))
    yield from ((what, name) for what, name in wanted if not (folder / name).is_file())
    if not finished:
        yield "fine-tuned cuts", f"{GRID}/*/result.parquet"


def _healing(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame()
    try:
        said = parse_json(path.read_text(encoding="utf-8"))
        row = {
            "model": said["model"],
            "select": said["select"],
            "layers": len(said["kept_layers"]),
            "removed": ",".join(map(str, said["removed_layers"])),
            "text": said["healed_on"],
            "steps": said["healed_steps"],
            "perplexity": said["perplexity"],
            "healed": said["perplexity_healed"],
        }
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{path}: not what slimcls prune wrote of a healed model ({error})"
        ) from None
    return pd.DataFrame([row])


def score_profiles(scores: Sequence[Scores]) -> pd.DataFrame:
    """A row a criterion, text and layer: score, and low and high of its 95 % interval."""
    columns = ["criterion", "text", "layer", "score", "low", "high"]
    rows = [
        (one.criterion, one.text, layer, value, *ends)
        for one in scores
        if one.scores and one.intervals
        for layer, (value, ends) in enumerate(zip(one.scores, one.intervals, strict=True))
    ]
    return pd.DataFrame(rows, columns=columns)


def agreement(scores: Sequence[Scores]) -> pd.DataFrame:
    """Kendall's tau between the ranks of any two profiles.

    A profile with itself has what two halves of its texts come to: how well it is known at all.
    """
    from scipy.stats import kendalltau

    def tau(one: Scores, other: Scores) -> float:
        if one is other:
            return np.nan if one.tau is None else one.tau
        return float(kendalltau(np.array(one.scores), np.array(other.scores)).statistic)

    names = [f"{one.criterion}, {one.text}" for one in scores]
    taus = np.array([tau(one, other) for one in scores for other in scores])
    return pd.DataFrame(taus.reshape(len(names), len(names)), names, names).round(2)


def in_common(scores: Sequence[Scores], keep: int) -> pd.DataFrame:
    """How many of the ``keep`` layers that stay by one profile stay by another too."""
    names = [f"{one.criterion}, {one.text}" for one in scores]
    kept = [set(one.kept_layers(keep)) for one in scores]
    return pd.DataFrame([[len(one & other) for other in kept] for one in kept], names, names)
