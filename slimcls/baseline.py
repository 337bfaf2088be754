"""Honest rivals on the same items: ``python -m slimcls.baseline trec --seed 0``.

``--grid GRID.yaml`` in place of all other settings: every rival of a grid's finished runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slimcls import cli, roles
from slimcls.backbones import sources
from slimcls.config import RunConfig
from slimcls.devices import accelerator_for
from slimcls.errors import UserError
from slimcls.kinds import CHEAP, MEAN_PROBE
from slimcls.roles import Role, settings_with, settings_without
from slimcls.runs.folder import check_runs_folder
from slimcls.runs.schema import WITHOUT_MODEL
from slimcls.session.place import fingerprints_of
from slimcls.session.shared import Shared
from slimcls.storage.paths import PathName
from slimcls.train import train

if TYPE_CHECKING:
    from slimcls.runs.schema import RunResult

_ALWAYS = Role.ITEMS | Role.FOLDER | Role.TOLD
_OF_ITEMS = settings_with(_ALWAYS)

#: What decides the figures of a rival that does not take all settings of a run, and its folder.
DECIDES = {
    "majority": _OF_ITEMS,
    "tfidf": _OF_ITEMS,
    "embeddings": (
        *settings_with(_ALWAYS | Role.MODEL | Role.INPUT, but=Role.KIND),
        "save_dtype",
    ),
    "probe": (
        *settings_with(_ALWAYS | Role.MODEL | Role.INPUT),
        "accelerator",
    ),
    MEAN_PROBE: (
        *settings_with(_ALWAYS | Role.MODEL | Role.INPUT),
        "keep",
        "accelerator",
    ),
    "untrained": settings_without(Role.TRAINING | Role.KIND),
}

#: What the result row of a rival that trains no layer has for what it does without.
WITHOUT: dict[str, Any] = {
    "model": "", "mode": "cls", "keep": "all", "tune": "head", "epochs": 0, "precision": "32",
    "accelerator": "cpu",
}  # fmt: skip


@dataclass(kw_only=True)
class BaselineConfig(RunConfig):
    """Rivals that a cut model has to beat, on the very items that train has with these settings.

    With --grid GRID.yaml --out OUT --data-dir DATA alone: all those of a grid's finished runs.
    """

    method: Literal[
        "all",
        "majority",
        "tfidf",
        "embeddings",
        "probe",
        "mean-probe",
        "untrained",
        "random-blocks",
    ] = "all"
    """majority: the most frequent class. tfidf: TF-IDF and logistic regression. embeddings: mean of
    the model's token embeddings and logistic regression. probe: logistic regression on the frozen
    uncut model's hidden states, at the depth that suits best; of bare texts with --mode cls, of
    prompts otherwise. mean-probe, which all leaves out: the first --keep layers, frozen, and
    logistic regression on the mean over tokens, as a model that can be handed over. untrained: the
    cut in mode lm, before any training. random-blocks: a run with these settings whose blocks'
    weights are drawn anew."""

    baseline: bool = False
    """Also fit TF-IDF beside untrained and random-blocks; here it is a method of its own."""

    save_model: Literal["best", "none"] = "none"
    """best writes the artefact model/ of what can classify: all methods but probe; none does not.
    """


@dataclass(kw_only=True)
class GridRivalsConfig:
    """Every rival of a grid's finished runs, each once.

    majority, tfidf and embeddings: every seed of a task. probe: every seed of a task, of texts and
    of prompts as the cuts have them. untrained: every seed of a cut in mode lm.
    random-blocks: the first seed of each cut and mode, with the settings that were chosen for it.
    """

    grid: PathName
    """The grid's YAML file."""

    out: PathName | None = None
    """Folder that holds the run directories; the YAML's, or runs, if not given."""

    data_dir: PathName | None = None
    """Folder with NAME/SPLIT.parquet files; the YAML's, or SLIMCLS_DATA_DIR, if not given."""

    overwrite: bool = False
    """Measure again what is finished or begun."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)


def baseline(config: BaselineConfig, shared: Shared | None = None) -> list[RunResult]:
    """Measure the rivals that ``config`` names, each in a run directory of its own.

    What was finished before is answered from there. ``shared`` is what other runs of this process
    have read already. Raises as :func:`slimcls.train.train` does.
    """
    rivals = [name for name in METHODS if name != MEAN_PROBE]
    names = rivals if config.method == "all" else [config.method]
    shared = shared or Shared()
    if not set(WITHOUT_MODEL).issuperset(names):
        # A model that cannot be had shows before any work is done.
        sources.check_name(config.model, config.revision)
        shared.source(config)
    return [METHODS[name](config, name, shared) for name in names]


def main(argv: list[str] | None = None) -> int:
    """The command: print what came out as a table. Returns 1 where rivals of a grid failed."""
    words = sys.argv[1:] if argv is None else argv
    if any(word.partition("=")[0] == "--grid" for word in words):
        return _of_grid(cli.parse(GridRivalsConfig, words, prog="slimcls baseline"))
    config = cli.parse(
        BaselineConfig,
        words,
        prog="slimcls baseline",
        positional=("dataset",),
        example="slimcls baseline reviews.csv --shots all --model smollm2-135m --mode cls --keep 8",
        groups=roles.headings(),
    )
    check_runs_folder(Path(config.out))
    results = baseline(config)
    from slimcls.runs.summary import ranking

    cli.say(ranking(results))
    return 0


def _of_grid(config: GridRivalsConfig) -> int:
    """Measure the rivals of a grid; one that fails stops no other."""
    from slimcls.baselines.of_grid import finished_cuts, rivals_of
    from slimcls.grids import definition

    grid = definition.read_grid(config.grid, out=config.out, data_dir=config.data_dir)
    shared = Shared()
    cuts = finished_cuts(grid, shared)
    if not cuts:
        out = grid.cells[0].run.out
        raise UserError(
            f"--grid {config.grid}: no cut is finished in {out}; start slimcls grid first"
        )
    results, failed = [], 0
    for method, run in rivals_of(cuts, DECIDES):
        run = replace(run, overwrite=config.overwrite)
        try:
            results.append(METHODS[method](run, method, shared))
        except UserError as error:
            failed += 1
            print(f"failed: {method}, {run.dataset}, seed {run.seed}: {error}", file=sys.stderr)
    from slimcls.runs.summary import ranking

    items: dict[object, list[RunResult]] = {}
    for result in results:
        items.setdefault((result.dataset, result.shots, result.seed), []).append(result)
    done = f"{len(cuts)} of {len(grid.groups())} cuts finished"
    tables = "\n\n".join(map(ranking, items.values()))
    cli.say(f"{tables}\n{done}: {len(results)} rivals, {failed} failed")
    return 1 if failed else 0


def _random_blocks(config: RunConfig, name: str, shared: Shared) -> RunResult:
    """A run like any other, but for what its blocks start from."""
    settings = {f.name: getattr(config, f.name) for f in fields(RunConfig)}
    return train(RunConfig(**settings | {"random_blocks": True}), shared)


def _untrained(config: RunConfig, name: str, shared: Shared) -> RunResult:
    """The cut as it is, asked for the label word; settings of training change nothing."""
    settings = {field: getattr(config, field) for field in DECIDES["untrained"]}
    if config.mode != "lm":
        settings["lm_loss"] = None
    return train(RunConfig(**settings, mode="lm", epochs=0, baseline=False), shared)


def _no_layers(config: RunConfig, name: str, shared: Shared) -> RunResult:
    """A rival of scikit-learn's, in a directory like a run's."""
    settings = WITHOUT | {field: getattr(config, field) for field in DECIDES[name]}
    settings["save_model"] = config.save_model if name in (*CHEAP, MEAN_PROBE) else "none"
    if settings["mode"] == "lm" and name == "probe":
        # A probe reads the same prompts in both modes that have them.
        settings["mode"] = "p-cls"
    settled = RunConfig(**settings)
    data = shared.tables(settled)
    source = None if name in WITHOUT_MODEL else shared.source(settled)
    # From here on scikit-learn and torch are needed.
    settled.accelerator = accelerator_for(settled.accelerator)
    from slimcls import runs
    from slimcls.baselines import mean_probe_runs, probe_runs, rival_runs
    from slimcls.session import more_metrics

    if name == MEAN_PROBE:
        assert source
        layers = mean_probe_runs.check_mean_probe(config, source, len(data.spec.labels))
        settled.keep, settled.layers = len(layers), layers
    fingerprints = fingerprints_of(settled, shared, data, source)
    folder = Path(config.out) / runs.run_name(settled, fingerprints, name)
    if finished := (None if config.overwrite else runs.read_result(folder)):
        if shared.aloud:
            print(f"finished before; --overwrite starts again: {folder}", file=sys.stderr)
        return more_metrics.with_metrics(finished, settled)
    more_metrics.check(settled, len(data.spec.labels))
    with runs.locked(folder):
        if config.overwrite:
            runs.clear(folder)
        measure = {
            "probe": probe_runs.measure_probe,
            MEAN_PROBE: mean_probe_runs.measure_mean_probe,
        }.get(name, rival_runs.measure_rival)
        finished = runs.read_result(folder)
        return finished or measure(settled, name, shared, source, folder)


#: By the name that ``--method`` takes, the cheap ones first.
METHODS: dict[str, Callable[[RunConfig, str, Shared], RunResult]] = {
    "majority": _no_layers,
    "tfidf": _no_layers,
    "embeddings": _no_layers,
    "probe": _no_layers,
    MEAN_PROBE: _no_layers,
    "untrained": _untrained,
    "random-blocks": _random_blocks,
}


if __name__ == "__main__":
    sys.exit(cli.run(main))
