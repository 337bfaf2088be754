"""Which layers of its model a run keeps: named, by a rule, or by scores of its own texts."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from slimcls.backbones.selectors import check_keep, named_layers
from slimcls.backbones.sources import Source
from slimcls.config import RunConfig
from slimcls.data.tables import Tables
from slimcls.devices import exact_device
from slimcls.errors import UserError
from slimcls.layers import criteria, layer_scores
from slimcls.layers.layer_scores import Scores
from slimcls.layers.samples import LEAST_TOKENS, Sample, Texts, encode
from slimcls.runs.folder import is_helper_process
from slimcls.storage.cache import build_once, cache_dir


def check(config: RunConfig) -> None:
    """Whether the file that --scores names can be used at all; no model is looked at yet.

    Raises:
        UserError: no such file, not one of scores, or of another criterion.
    """
    if config.scores is not None:
        scores = layer_scores.read(Path(config.scores))
        scores.check(config.select, scores.source, config.model, f"--scores {config.scores}")


def measures(config: RunConfig) -> bool:
    """Whether the layers of a run are chosen by scores that no file gives: needs its weights."""
    by_text = criteria.find(config.select).needs_text
    return by_text and config.keep != "all" and config.scores is None


def scores_for(
    config: RunConfig, source: Source, sample: Callable[[], Sample], *, wait: bool = True
) -> Scores | None:
    """The scores that choose a run's layers; None where none are needed.

    They are those of ``--scores``, or measured on the run's own training texts and kept in the
    cache: the bare texts, as mode ``cls`` reads them, in every mode. So modes keep the same layers
    for the same seed, and another seed, which draws other texts, may keep others.

    Args:
        config: Settings of the run.
        source: Its model.
        sample: Gives its :func:`training_sample` where one is needed.
        wait: For another process that is measuring the same.

    Raises:
        UserError: scores of another model, revision or criterion; what measuring can raise.
        Busy: without ``wait``, another process is measuring them.
    """
    if config.keep == "all":
        return None
    if config.scores is not None:
        scores = layer_scores.read(Path(config.scores))
        where = f"--scores {config.scores}"
        scores.check(config.select, source.fingerprint, config.model, where)
        return scores
    if not measures(config):
        return None
    texts = sample()
    folder = measured_in(config, source, texts)
    build_once(folder, lambda target: _measure(config, source, texts, target), wait=wait)
    return layer_scores.read(folder / layer_scores.NAME)


def measured_in(config: RunConfig, source: Source, sample: Sample) -> Path:
    """Where the cache has the scores of a run's training texts once they are measured."""
    return cache_dir() / "scores" / _key(config, source, sample)


def texts_wanted(config: RunConfig) -> int:
    """How many training texts a run's criterion looks at."""
    return criteria.find(config.select).samples


def training_sample(config: RunConfig, source: Source, data: Tables) -> Sample:
    """Token ids of the run's training texts, or of as many as its criterion is measured on."""
    from slimcls.backbones.tokenizers import open_tokenizer
    from slimcls.session.inputs import draw_items

    items = draw_items(config, data).train
    name = data.spec.name
    texts = Texts(
        name,
        tuple(item.text for item in items),
        tuple(f"training row {item.id} of {name}" for item in items),
    )
    chosen = texts.drawn(texts_wanted(config), config.seed)
    # A run may train on one token of each text, but there is nothing to measure on one.
    most = config.max_text_tokens and max(config.max_text_tokens, LEAST_TOKENS)
    return encode(chosen, open_tokenizer(source), max_text_tokens=most)


def _fewest(config: RunConfig) -> int:
    """The smallest depth that the scores have to answer for."""
    assert isinstance(config.keep, int)
    return config.keep if criteria.find(config.select).each_depth else 1


def _key(config: RunConfig, source: Source, sample: Sample) -> str:
    """Everything that decides the scores, in one name."""
    made_from = [
        layer_scores.FORMAT, config.select, source.fingerprint, sample.fingerprint,
        _fewest(config), config.seed,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:24]


def _measure(config: RunConfig, source: Source, sample: Sample, into: Path) -> None:
    from slimcls.layers import scoring

    if not is_helper_process(config):
        print(
            f"measuring {config.select} of {source.name} on {len(sample)} training texts "
            f"of {sample.name}, once",
            file=sys.stderr,
        )
    scores = scoring.measure(
        criteria.find(config.select),
        source,
        sample,
        keep=_fewest(config),
        seed=config.seed,
        device=exact_device(config.accelerator),
        force=config.force,
    )
    layer_scores.write(scores, into / layer_scores.NAME)


def kept_layers(config: RunConfig, depth: int, scores: Scores | None) -> tuple[int, ...]:
    """Ids of the layers that stay of ``depth``, ascending.

    Raises:
        UserError: more layers than there are, ids out of range, nothing to choose, layers named
            beside a rule that chooses others.
    """
    if config.select == "first" and config.layers is not None:
        return named_layers(depth, config.layers)
    assert config.keep is not None
    check_keep(depth, config.keep, config.select)
    if config.keep == "all":
        return tuple(range(depth))
    criterion = criteria.find(config.select)
    if criterion.pick is not None:
        chosen = criterion.pick(depth, config.keep, config.seed)
    elif scores is not None:
        chosen = scores.kept_layers(config.keep)
    else:
        raise ValueError(f"{config.select} needs scores")
    if config.layers is not None and tuple(config.layers) != chosen:
        raise UserError(
            f"--layers {','.join(map(str, config.layers))}: --select {config.select} chooses "
            f"{','.join(map(str, chosen))}; leave out one of the two"
        )
    return chosen


def check_layers(config: RunConfig, depth: int) -> None:
    """Whether the layers that stay can be had of ``depth`` at all, before anything is measured."""
    if config.layers is not None:
        named_layers(depth, config.layers)
    assert config.keep is not None
    if config.layers is None or config.select != "first":
        check_keep(depth, config.keep, config.select)
