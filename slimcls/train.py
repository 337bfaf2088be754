"""One fine-tuning run: ``python -m slimcls.train --mode p-cls --keep 2 --dataset sst2``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from slimcls import cli
from slimcls.config import RunConfig

if TYPE_CHECKING:
    from slimcls.runs import RunResult


def train(config: RunConfig) -> RunResult:
    """Cut, fine-tune, test and save one classifier.

    A finished run with the same settings, data and weights is answered from its directory; a run
    that was stopped goes on from its last checkpoint. Raises :class:`slimcls.errors.UserError` for
    what the caller got wrong and :class:`slimcls.errors.Interrupted` after Ctrl-C or SIGTERM.
    """
    from slimcls.backbones import sources
    from slimcls.data import catalog, tables

    spec = catalog.find(
        config.dataset, text_column=config.text_column, label_column=config.label_column
    )
    sources.check_name(config.model, config.revision)
    data = tables.load(spec, Path(config.data_dir) if config.data_dir else None)

    def has_the_layers(folder: Path) -> None:
        from slimcls import resolve

        resolve.check_layers(config, folder)

    source = sources.find(config.model, config.revision, has_the_layers)
    # From here on torch and transformers are needed.
    from slimcls import resolve, runs, session

    config = resolve.resolve(config, source)
    name = runs.run_name(config, {"source": source.fingerprint, "data": data.fingerprint})
    folder = Path(config.out) / name
    if finished := (None if config.overwrite else runs.read_result(folder)):
        print(f"finished before; --overwrite starts again: {folder}", file=sys.stderr)
        return finished
    work = session.Session(config, source, data, folder)
    if runs.is_helper_process(config):
        return work.run()
    with runs.locked(folder):
        if config.overwrite:
            runs.clear(folder)
        return runs.read_result(folder) or work.run()


def main(argv: list[str] | None = None) -> int:
    """The command: print what came out as a table. Returns the exit code."""
    config = cli.parse(RunConfig, sys.argv[1:] if argv is None else argv, prog="slimcls.train")
    result = train(config)
    from slimcls.summary import summary

    print(summary(result))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
