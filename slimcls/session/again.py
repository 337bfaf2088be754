"""The data and the items of a finished run, read and drawn anew."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from slimcls.config import RunConfig
from slimcls.data.dataset import read_dataset
from slimcls.data.hub_named import pinned
from slimcls.data.splits import VERSIONS, Splits
from slimcls.data.tables import Tables
from slimcls.errors import UserError
from slimcls.runs.results import read_result
from slimcls.session.inputs import draw_items


@dataclass(frozen=True)
class Drawn:
    """What a finished run was trained, validated and tested on."""

    config: RunConfig
    """The run's settings, without open ends."""
    data: Tables
    splits: Splits


def drawn_again(run: Path, data_dir: str | None) -> Drawn:
    """The data and the items of a finished run, which may be named by the model folder in it.

    Raises UserError where the run is not finished or the data have changed since.
    """
    result = read_result(run)
    if result is None and run.resolve().name == "model":
        result = read_result(run.resolve().parent)
    if result is None:
        raise UserError(f"{run}: no finished run there")
    config = result.config
    if result.draw_version != VERSIONS[config.split]:
        raise UserError(
            f"{run}: an older slimcls drew its items, with --split {config.split}; train it again"
        )
    data = read_dataset(
        _as_it_was(config.dataset, result.data_source),
        data_dir=data_dir or config.data_dir,
        text_column=config.text_column,
        label_column=config.label_column,
        skip_bad_rows=config.skip_bad_rows,
    )
    if data.fingerprint != result.data_fingerprint:
        raise UserError(
            f"{run}: its data are not those found here; "
            "give the --data-dir it was trained with, or train it again"
        )
    return Drawn(config, data, draw_items(config, data))


def _as_it_was(dataset: str, source: str) -> str:
    """The dataset's name; of one that was named by its hub id the commit that the run has read."""
    held = json.loads(source) if source else {}
    return dataset if Path(dataset).exists() else pinned(dataset, held.get("revision", ""))
