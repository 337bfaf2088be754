"""A run's choice of layers, and the training texts that it may be measured on."""

from __future__ import annotations

from slimcls.config import RunConfig
from slimcls.data.tables import Tables
from slimcls.layers.samples import Texts
from slimcls.layers.selection import Selection
from slimcls.runs.folder import is_helper_process


def selection_of(config: RunConfig, *, quiet: bool = False) -> Selection:
    """Which layers a run keeps.

    Where texts choose, they are bare training texts of the run, in every mode. So modes keep the
    same layers for the same seed, and another seed, which draws other texts, may keep others.
    """
    assert config.keep is not None
    return Selection(
        model=config.model,
        select=config.select,
        keep=config.keep,
        named=tuple(config.layers) if config.layers is not None else None,
        scores_file=config.scores,
        max_text_tokens=config.max_text_tokens,
        seed=config.seed,
        accelerator=config.accelerator,
        force=config.force,
        quiet=quiet or is_helper_process(config),
    )


def training_texts(config: RunConfig, data: Tables) -> Texts:
    """The texts that a run trains on."""
    from slimcls.session.inputs import draw_items

    items, name = draw_items(config, data).train, data.spec.name
    return Texts(
        name,
        tuple(item.text for item in items),
        tuple(f"training row {item.id} of {name}" for item in items),
    )
