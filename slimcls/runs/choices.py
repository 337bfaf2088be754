"""Settings chosen on validation data: a pure function of finished runs, kept beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

from slimcls.errors import UserError
from slimcls.storage.json_files import parse_json

#: Folder beside the run directories: a file a grid.
FOLDER = "choices"


@dataclass(frozen=True)
class Candidate:
    """A finished run with one of the searched settings."""

    run: str
    """Name of its run directory."""
    settings: dict[str, object]
    """The searched settings, by name."""
    score: float | None
    """On validation data, the mean over the seeds that choose; None where training led to no
    numbers."""
    others: tuple[str, ...] = ()
    """Its run directories with further seeds that choose."""


@dataclass(frozen=True)
class Choice:
    """What was chosen for one group of runs, out of what."""

    run: str
    """The chosen candidate's run directory; other seeds have its settings."""
    settings: dict[str, object]
    by: str
    edge: tuple[str, ...]
    """Numbers chosen at an end of what was searched: the best value may lie beyond."""
    candidates: tuple[Candidate, ...]
    seeds: tuple[int, ...] = ()
    """Seeds that chose; of an earlier slimcls, which did not note them, none: one did."""
    apart: bool = False
    """Whether they served the choice alone: their runs are reported nowhere."""

    @property
    def rejected(self) -> frozenset[str]:
        """Run directories that served the search alone and belong in no mean over seeds."""
        tried = frozenset(run for one in self.candidates for run in (one.run, *one.others))
        return tried if self.apart else tried - {self.run}


def choose_best(
    candidates: Sequence[Candidate], by: str, seeds: tuple[int, ...] = (), *, apart: bool = False
) -> Choice | None:
    """The candidate of the highest score, the one of the smallest settings where several have it.

    ``seeds`` chose, for the choice alone if ``apart``. None where no candidate has a score.
    """
    scored = [one for one in candidates if one.score is not None]
    if not scored:
        return None
    best = min(scored, key=lambda one: (-(one.score or 0.0), _order(one.settings)))
    edge = _edge(best, candidates)
    return Choice(best.run, best.settings, by, edge, tuple(candidates), seeds, apart)


def _order(settings: dict[str, object]) -> list[tuple[bool, float, str]]:
    """A sort key that takes numbers as numbers and anything else by its name."""
    return [
        (False, float(value), "") if _is_number(value) else (True, 0.0, str(value))
        for value in settings.values()
    ]


def _edge(best: Candidate, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    edge = []
    for name, value in best.settings.items():
        values = [one.settings[name] for one in candidates]
        searched = {value for value in values if _is_number(value)}
        if len(searched) > 1 and value in (min(searched), max(searched)):
            edge.append(name)
    return tuple(edge)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def write_choices(out: Path, grid: str, choices: Sequence[Choice]) -> None:
    """Write what a grid has chosen so far as ``choices/GRID.json`` beside its runs."""
    from slimcls.storage.files import write_text

    text = json.dumps([asdict(choice) for choice in choices], indent=1)
    path = out / FOLDER / f"{grid}.json"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def read_choices(out: Path) -> list[Choice]:
    """What all grids of an output folder have chosen; empty where none has.

    Raises UserError for a file that is damaged.
    """
    found = []
    for path in sorted((out / FOLDER).glob("*.json")):
        try:
            found += [_choice(**one) for one in parse_json(path.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path}: cannot be read ({error}); start its grid again") from None
    return found


def _choice(
    candidates: list[dict[str, Any]], edge: list[str], seeds: Sequence[int] = (), **rest: Any
) -> Choice:
    return Choice(
        edge=tuple(edge),
        candidates=tuple(_candidate(**one) for one in candidates),
        seeds=tuple(seeds),
        **rest,
    )


def _candidate(others: Sequence[str] = (), **rest: Any) -> Candidate:
    return Candidate(others=tuple(others), **rest)
