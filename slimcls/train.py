"""One fine-tuning run: ``python -m slimcls.train --mode p-cls --keep 2 --dataset sst2``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slimcls import cli, roles
from slimcls.config import RunConfig
from slimcls.runs.folder import check_runs_folder
from slimcls.session.place import chooses_later, find_place
from slimcls.session.shared import Shared

if TYPE_CHECKING:
    from slimcls.runs.schema import RunResult


@dataclass(kw_only=True)
class TrainConfig(RunConfig):
    """One fine-tuning run: a decoder language model, cut, trained and tested on a dataset."""

    dry_run: bool = False
    """Say what the run will take, and how many bytes of weights it will fetch, and start none."""


def train(config: RunConfig, shared: Shared | None = None) -> RunResult:
    """Cut, fine-tune, test and save one classifier.

    A finished run with the same settings, data and weights is answered from its directory; a run
    that was stopped goes on from its last checkpoint. Several runs of one process may have data
    and model files in common by ``shared``. Raises :class:`slimcls.errors.UserError` for what the
    caller got wrong and :class:`slimcls.errors.Interrupted` after Ctrl-C or SIGTERM.
    """
    check_runs_folder(Path(config.out))
    shared = shared or Shared()
    place = find_place(config, shared)
    from slimcls import runs
    from slimcls.session import more_metrics, work

    config, folder = place.config, place.folder
    if finished := (None if config.overwrite else runs.read_result(folder)):
        if shared.aloud:
            _say_finished(finished)
        return more_metrics.with_metrics(finished, config)
    more_metrics.check(config, len(place.data.spec.labels))
    session = work.Session(place, shared)
    session.fetch()
    if runs.is_helper_process(config):
        return session.run()
    with runs.locked(folder):
        if config.overwrite:
            runs.clear(folder)
        finished = runs.read_result(folder)
        return more_metrics.with_metrics(finished, config) if finished else session.run()


def _say_finished(result: RunResult) -> None:
    gone = "" if result.has_model else ", but its model/ lacks the weights"
    print(f"finished before{gone}; --overwrite starts again: {result.folder}", file=sys.stderr)


def dry_run(config: RunConfig) -> str:
    """Plan a run, which is said on stderr; what it would fetch, in a line. Fetches no weight.

    Raises UserError as :func:`train` does.
    """
    shared = Shared()
    later = chooses_later(config, shared)
    # Where texts choose layers, all of them are needed first; as many of the first take as much.
    if later:
        print(
            f"note: --select {config.select} chooses the layers when the run starts, on the whole "
            "model; what follows is of as many of the first ones, and the run directory will be "
            "called otherwise",
            file=sys.stderr,
        )
    place = find_place(replace(config, select="first") if later else config, shared)
    from slimcls.backbones.parts import amount
    from slimcls.session import work

    session = work.Session(place, shared)
    layers = range(session.plan.depth) if later else place.config.layers or ()
    size = session.missing(layers)
    return f"weights to fetch: {amount(size)}" if size else "weights to fetch: none"


def main(argv: list[str] | None = None) -> int:
    """The command: print what came out as a table. Returns the exit code."""
    given = cli.parse(
        TrainConfig,
        sys.argv[1:] if argv is None else argv,
        prog="slimcls train",
        positional=("dataset",),
        example="slimcls train reviews.csv --shots all --model smollm2-135m --mode cls --keep 8",
        groups=roles.headings() | {"dry_run": roles.STARTING},
    )
    config = RunConfig(**{f.name: getattr(given, f.name) for f in fields(RunConfig)})
    if given.dry_run:
        cli.say(dry_run(config))
        return 0
    result = train(config)
    from slimcls.runs.summary import run_summary

    cli.say(run_summary(result))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
