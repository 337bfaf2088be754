"""The smallest classifier that is good enough: ``python -m slimcls.fit tickets.csv``.

In Python ``slimcls.fit(FRAME_OR_PATH, ...)`` does the same.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from slimcls import cli
from slimcls.cli.extras import check_extra
from slimcls.errors import UserError
from slimcls.export import EXTRA
from slimcls.search.settings import FITS, FitConfig
from slimcls.storage.files import alone, check_writable

if TYPE_CHECKING:
    import pandas as pd

    from slimcls.search.answer import Answer


@dataclass(frozen=True)
class Found:
    """What a fit came to."""

    answer: Answer
    folder: Path
    """Holds ``model/``, ``report.html``, ``fit.json``, ``candidates.csv`` and the runs."""

    def load(self) -> Any:
        """The classifier that was chosen, for ``.predict(texts)``."""
        from slimcls.classifier.artefact import load

        return load(self.folder)


def fit(data: str | Path | pd.DataFrame, **settings: Any) -> Found:
    """Find the smallest classifier that is good enough for a data set, or that none is needed.

    A fit that was stopped goes on where it was; a finished one is answered from its folder.

    Args:
        data: a file, a folder, a packaged name, or a pandas table, which is written beside the
            fit's folder first, as OUT.data.csv; for a table ``out`` has to be given.
        settings: those of :class:`~slimcls.search.settings.FitConfig`, by name.

    Raises:
        UserError: what the caller got wrong, in one line.
    """
    if not isinstance(data, str | Path):
        data = _written(data, settings.get("out"))
    return run(FitConfig(dataset=str(data), **settings))


def run(config: FitConfig) -> Found:
    """As :func:`fit`, with the settings of the command."""
    from slimcls.search import handover

    folder = config.folder
    if config.bits is not None:
        check_extra("slimcls fit --bits", EXTRA)
    check_writable(folder)
    with alone(folder, "this fit"):
        handover.check_folder(folder)
        if config.overwrite:
            handover.clear(folder)
        if answer := handover.finished(config):
            print(f"finished before; --overwrite starts again: {folder}", file=sys.stderr)
            return Found(answer, folder)
        from slimcls.log import Log
        from slimcls.search.work import Fit

        return Found(Fit(config, Log()).run(), folder)


def _written(frame: Any, out: object) -> Path:
    """A table as a file in the fit's folder. Raises UserError where it is none."""
    if not hasattr(frame, "to_csv") or not hasattr(frame, "columns"):
        raise UserError(f"data: a file's name or a table is wanted, not {type(frame).__name__}")
    if out is None:
        raise UserError(f"out: a folder is needed for a table, such as {FITS / 'tickets'}")
    from slimcls.storage.files import replacing

    folder = Path(str(out))
    path = folder.with_name(f"{folder.name}.data.csv")
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False)
    return path


def main(argv: list[str] | None = None) -> int:
    """The command: print the answer. Returns the exit code."""
    config = cli.parse(
        FitConfig,
        sys.argv[1:] if argv is None else argv,
        prog="slimcls fit",
        positional=("dataset",),
        example="slimcls fit tickets.csv --budget 30m --max-loss 2",
    )
    found = run(config)
    from slimcls.search.telling import summary

    cli.say(summary(found.answer, found.folder))
    return 0


class _Callable(ModuleType):
    """``slimcls.fit`` is this module; called, it fits."""

    def __call__(self, data: str | Path | pd.DataFrame, **settings: Any) -> Found:
        return fit(data, **settings)


sys.modules[__name__].__class__ = _Callable


if __name__ == "__main__":
    sys.exit(cli.run(main))
