"""Metrics of the library evaluate, opened and asked; opening them runs their code.

None fetches anything then: what the library counts and what a metric's code would load from
elsewhere is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from slimcls.backbones.quiet import hub_bars_on_terminals
from slimcls.cli.extras import check_extra, lacks
from slimcls.errors import UserError, in_short
from slimcls.metrics.named import Named, named_metrics
from slimcls.storage.cache import cache_dir
from slimcls.storage.network import out_of_reach
from slimcls.storage.paths import user_path

#: What brings the library.
EXTRA = "evaluate"


@dataclass(frozen=True)
class Metric:
    """A metric that was opened."""

    named: Named
    module: Any = field(repr=False)
    """An ``evaluate.EvaluationModule``."""

    def of(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, Any]:
        """What it says of class numbers, a value a name. Raises UserError where it fails."""
        try:
            found = self.module.compute(
                predictions=list(predictions), references=list(references), **dict(self.named.given)
            )
        except Exception as error:  # whatever its code raises
            raise UserError(f"--metrics {self.named.key}: {_line(error)}") from error
        if not isinstance(found, dict):
            found = {self.named.key: found}
        return {str(name): self._plain(value) for name, value in found.items()}

    def _plain(self, value: Any) -> Any:
        """A value as JSON has it; what is no number there is null."""
        if hasattr(value, "tolist"):  # of numpy
            value = value.tolist()
        if isinstance(value, list | tuple):
            return [self._plain(one) for one in value]
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise UserError(
            f"--metrics {self.named.key}: gives a {type(value).__name__}, which no result can hold"
        )


@lru_cache(maxsize=8)
def open_metrics(words: str | None, *, trusted: bool) -> tuple[Metric, ...]:
    """The metrics that ``--metrics`` names, opened once a process: their code is run.

    Raises UserError as :func:`named_metrics` does, and where the library is not installed, a metric
    is not there, or its code cannot be run here.
    """
    named = named_metrics(words, trusted=trusted)
    if not named:
        return ()
    check_extra("--metrics", EXTRA)
    try:
        import evaluate  # noqa: F401 - is it there?
    except ModuleNotFoundError as error:
        raise lacks("--metrics", [error.name or "evaluate"], EXTRA) from None
    return tuple(Metric(one, _opened(one)) for one in named)


def try_metrics(words: str | None, *, trusted: bool, classes: int) -> None:
    """Open metrics and ask each about made-up answers, so that no training ends in its error.

    Raises UserError as :func:`open_metrics` does, and where one fails on so many classes.
    """
    right = [number for number in range(classes) for _ in range(2)]
    wrong = [*right[1:], right[0]]
    for metric in open_metrics(words, trusted=trusted):
        for predictions in (right, wrong):
            metric.of(predictions, right)


def _opened(named: Named) -> Any:
    script = _here(named) if named.here else _of_hub(named)
    from evaluate import load
    from evaluate.loading import get_imports

    try:
        elsewhere = [one[2] for one in get_imports(str(script)) if one[0] == "external"]
        if elsewhere:
            raise UserError(
                f"--metrics {named.key}: takes code from {in_short(elsewhere[0])}, which nothing "
                "pins; it is not fetched"
            )
        with _no_network():
            return load(
                str(script),
                module_type="metric",
                cache_dir=str(cache_dir() / "metrics"),
                keep_in_memory=True,
                seed=0,
            )
    except UserError:
        raise
    except Exception as error:  # whatever its code, or the library, raises
        raise UserError(f"--metrics {named.key}: cannot be opened: {_line(error)}") from error


def _here(named: Named) -> Path:
    """The script of a metric on this machine."""
    path = user_path(named.name, "--metrics")
    script = path / f"{path.resolve().name}.py" if path.is_dir() else path
    if not script.is_file():
        lacks = f"no {script.name} in it" if path.is_dir() else "no such file or folder"
        raise UserError(f"--metrics {in_short(named.name)}: {lacks}")
    if script.suffix != ".py" or not script.stem.isidentifier():
        raise UserError(
            f"--metrics {in_short(named.name)}: must be a .py file with a module's name"
        )
    return script.absolute()


def _of_hub(named: Named) -> Path:
    """The script of a metric of the hub at its commit, in the hub's cache.

    The library's own way would take whatever version it has where the commit cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo, word = named.repo, in_short(named.written)
    why = out_of_reach()
    try:
        with hub_bars_on_terminals():
            folder = snapshot_download(
                repo,
                repo_type="space",
                revision=named.commit,
                allow_patterns=["*.py"],
                local_files_only=bool(why),
            )
    except LocalEntryNotFoundError:
        raise UserError(
            f"--metrics {word}: {why or 'the hub does not answer'} and it is not cached on this "
            "machine; connect once, or give a file"
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise UserError(f"--metrics {word}: no such metric or commit at {named.page}") from None
    except Exception as error:  # the library passes on what its own libraries raise
        raise UserError(f"--metrics {word}: cannot be fetched: {_line(error)}") from error
    script = Path(folder) / f"{repo.rpartition('/')[2]}.py"
    if not script.is_file():
        raise UserError(f"--metrics {word}: {named.page} has no {script.name} at that commit")
    return script


@contextmanager
def _no_network() -> Iterator[None]:
    """The library fetches nothing and counts no download, whatever a metric's code asks of it."""
    from evaluate import config

    before = config.HF_EVALUATE_OFFLINE, config.HF_UPDATE_DOWNLOAD_COUNTS
    config.HF_EVALUATE_OFFLINE, config.HF_UPDATE_DOWNLOAD_COUNTS = True, False
    try:
        yield
    finally:
        config.HF_EVALUATE_OFFLINE, config.HF_UPDATE_DOWNLOAD_COUNTS = before


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
