"""Texts that leave early: ``python -m slimcls.cascade RUN --risk 1``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from slimcls import cli
from slimcls.cascading.settings import CascadeConfig

if TYPE_CHECKING:
    from slimcls.cascading.making import Made


def cascade(config: CascadeConfig) -> Made:
    """Let a run with exits leave early: ``model/`` gets the exits and a threshold.

    Raises UserError for what the caller got wrong, and where validation does not show the risk.
    """
    from slimcls.cascading.family import exits_of_run
    from slimcls.runs import locked

    exits = exits_of_run(Path(config.run))
    from slimcls.cascading.making import make
    from slimcls.classifier.confidence import share_of

    with locked(exits.runs[-1].folder):
        return make(exits, share_of(config.risk, "--risk"))


def main(argv: list[str] | None = None) -> int:
    """The command: write, and print what leaving early does. Returns the exit code."""
    config = cli.parse(
        CascadeConfig,
        sys.argv[1:] if argv is None else argv,
        prog="slimcls cascade",
        positional=("run",),
        example="slimcls cascade RUN --risk 1",
    )
    made = cascade(config)
    from slimcls.cascading.telling import summary

    cli.say(f"{made.folder}: leaves early")
    cli.say(summary(made.rule, made.scores, made.validation, made.test))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
