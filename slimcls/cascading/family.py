"""The runs that one training with exits has left: found beside a run, with what they scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcls.cascading.choosing import Scores
from slimcls.classifier.description import read_description
from slimcls.config import hashed
from slimcls.errors import UserError
from slimcls.runs import PREDICTIONS, RunResult, load, read_result
from slimcls.runs.schema import VALIDATION

#: Settings in which the runs of one training differ.
_OWN = ("keep", "layers")
#: What a probability of nothing has for a logarithm.
_LEAST = 1e-300


@dataclass(frozen=True)
class Exits:
    """A run, and those of the exits above its end, from the shallowest on; itself last."""

    runs: tuple[RunResult, ...]

    @property
    def depths(self) -> tuple[int, ...]:
        """How many layers each has."""
        return tuple(len(run.config.layers or ()) for run in self.runs)

    def models(self) -> list[Path]:
        """The model folder of each. Raises UserError where one has none."""
        return [read_description(run.folder)[0] for run in self.runs]

    def validation(self) -> Scores:
        """What each says of the validation texts. Raises UserError where it is not known."""
        return self._scores(VALIDATION, "logits")

    def test(self) -> Scores | None:
        """What each says of the test texts; None without any. Temperatures are in it already."""
        if not self.runs[-1].outcome.test_items:
            return None
        return self._scores(PREDICTIONS, "probabilities")

    def _scores(self, name: str, column: str) -> Scores:
        tables = [_table(run.folder / name, column) for run in self.runs]
        ids, labels, _ = tables[-1]
        for run, (theirs, _, _) in zip(self.runs, tables, strict=True):
            if theirs != ids:
                raise UserError(f"{run.folder / name}: is not of the same texts; {_TRAIN}")
        numbers = np.stack([scores for _, _, scores in tables])
        if column == "probabilities":
            numbers = np.log(numbers.clip(min=_LEAST))
        names = read_description(self.runs[-1].folder)[1]["labels"]
        truth = np.array([names.index(label) for label in labels], np.int64)
        return Scores(self.depths, numbers, truth)


def exits_of_run(folder: Path) -> Exits:
    """A run with exits, and the runs of its training above it, which lie in the same folder.

    Raises UserError where the run is not finished, has no exits, or is alone.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such run directory")
    result = read_result(folder)
    if result is None:
        raise UserError(f"{folder}: no finished run there; name the directory of one")
    own, exits = len(result.config.layers or ()), result.config.exits
    if not exits:
        raise UserError(f"{folder}: was trained without exits; train with --exits, as in 4,8,15,30")
    if not (wanted := [depth for depth in exits if depth < own]):
        deeper = ", ".join(map(str, exits[1:]))
        raise UserError(
            f"{folder}: ends at the shallowest of its exits, above which no text can leave; name "
            f"the run of {deeper} layers"
        )
    found = _beside(result)
    if lacking := [depth for depth in wanted if depth not in found]:
        raise UserError(
            f"{folder}: the runs of its exits at {', '.join(map(str, lacking))} layers are not "
            "beside it; what one training leaves has to stay in one folder"
        )
    return Exits((*(found[depth] for depth in wanted), result))


def _beside(result: RunResult) -> dict[int, RunResult]:
    """Runs of the same training, by how many layers they have."""
    everything = load(result.folder.absolute().parent, warn=lambda line: None)
    found = {}
    for folder, exits in zip(everything.folder, everything.exits, strict=True):
        if exits is None or list(exits) != result.config.exits:
            continue
        one = read_result(Path(folder))
        if one is None or _training(one) != _training(result):
            continue
        layers = one.config.layers or []
        if layers == (result.config.layers or [])[: len(layers)]:
            found[len(layers)] = one
    return found


def _training(result: RunResult) -> tuple[dict[str, object], str, str]:
    """What the runs of one training have in common."""
    settings = {name: value for name, value in hashed(result.config).items() if name not in _OWN}
    return settings, result.outcome.source_fingerprint, result.outcome.data_fingerprint


def _table(path: Path, column: str) -> tuple[list[int], list[str], NDArray[np.float64]]:
    """Ids, labels, and numbers (texts, classes)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read(["id", "label", column]).to_pydict()
        numbers = np.array(table[column], np.float64)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise UserError(f"{path}: cannot be read ({reason}); {_TRAIN}") from None
    if numbers.ndim != 2 or not np.isfinite(numbers).all():
        raise UserError(f"{path}: holds no scores of each class; {_TRAIN}")
    return table["id"], table["label"], numbers


_TRAIN = "train again with --overwrite"
