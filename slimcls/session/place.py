"""Where a run will work: what is found, what is chosen, what is settled, what it is called."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from slimcls.backbones import sources
from slimcls.backbones.sources import Source
from slimcls.config import RunConfig
from slimcls.data.encoding import DEFAULT_TOKENS
from slimcls.data.lengths import about_tokens, are_long
from slimcls.data.tables import Tables
from slimcls.layers.layer_scores import Scores
from slimcls.session import teaching
from slimcls.session.selection import selection_of
from slimcls.session.shared import Shared


@dataclass(frozen=True)
class Place:
    """A run before its work begins."""

    config: RunConfig
    """Settings without open ends."""
    source: Source
    data: Tables
    folder: Path
    """The run directory, which need not exist yet."""
    scores: Scores | None = None
    """What chose the kept layers, where scores did."""
    exits: tuple[Place, ...] = ()
    """Places of the shallower runs that come of the same training, the shallowest first."""


def find_place(
    config: RunConfig, shared: Shared, *, fetch: bool = True, wait: bool = True
) -> Place:
    """Where a run will work, with every setting resolved.

    Weights are read where layers are chosen by scores that were never measured before: not
    without ``fetch``, then (see :func:`chooses_later`).

    Raises UserError for what the settings, the data or the model do not allow, and without
    ``wait`` Busy where another process is measuring those scores.
    """
    selection = selection_of(config, quiet=not shared.aloud)
    sources.check_name(config.model, config.revision)  # before data is read
    selection.check()
    data, source = shared.tables(config), shared.source(config, fetch=fetch)
    # Found once: another run of its folder may be finished, and deeper, by the time it teaches.
    config = teaching.with_teacher_found(config, data, source.fingerprint)
    # From here on torch and transformers are needed.
    from slimcls import runs
    from slimcls.backbones.truncate import depth_of, read_config
    from slimcls.session.settle import settle

    scores = selection.scores(source, lambda: shared.sample(config, source, data), wait=wait)
    layers = selection.layers(source, scores)
    tokens = about_tokens(data.train.texts, config.max_text_tokens)
    settled = settle(config, layers, depth_of(read_config(source)), tokens)
    fingerprints = fingerprints_of(config, shared, data, source)
    if scores:
        fingerprints["scores"] = scores.fingerprint

    def place(config: RunConfig, exits: tuple[Place, ...] = ()) -> Place:
        folder = Path(config.out) / runs.run_name(config, fingerprints)
        return Place(config, source, data, folder, scores, exits)

    return place(settled, tuple(place(one) for one in _at_exits(settled)))


def _at_exits(config: RunConfig) -> list[RunConfig]:
    """The shallower runs of a training of several depths, as settled as it is."""
    assert config.layers is not None
    *shallower, deepest = config.exits or [len(config.layers)]
    if config.keep != deepest:
        return []
    return [replace(config, keep=depth, layers=config.layers[:depth]) for depth in shallower]


def fingerprints_of(
    config: RunConfig, shared: Shared, data: Tables, source: Source | None = None
) -> dict[str, str]:
    """What the names in a run's settings stand for, to be hashed with them.

    How much of a text goes in where nobody says is told where it is more than it always was, so
    that runs keep their names.
    """
    found = {"data": data.fingerprint}
    if source is None:
        return found
    found |= teaching.fingerprints(config, data)
    found["source"] = source.fingerprint
    if config.max_text_tokens is None:
        usual = shared.usual_tokens(source, data)
        found |= {"usual_tokens": str(usual)} if usual != DEFAULT_TOKENS else {}
    return found


def measures_later(config: RunConfig, shared: Shared) -> bool:
    """Whether it takes a tokenizer that is not here yet to say how much of a text goes in.

    Raises UserError as :func:`find_place` does.
    """
    source = shared.source(config, fetch=False)
    if config.max_text_tokens is not None or not source.only_config:
        return False
    return are_long(shared.tables(config).train.texts)


def chooses_later(config: RunConfig, shared: Shared) -> bool:
    """Whether a run measures which layers it keeps when it starts: nobody has done it yet.

    No weight is read. Raises UserError as :func:`find_place` does.
    """
    selection = selection_of(config)
    if not selection.measures:
        return False
    source = shared.source(config, fetch=False)
    if source.only_config:
        return True
    sample = shared.sample(config, source, shared.tables(config))
    return not selection.measured_in(source, sample).is_dir()
