"""What a pruning command works on, opened from its settings: model, texts, scores, items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slimcls.devices import exact_device
from slimcls.layers import criteria
from slimcls.pruning.settings import PruneConfig

if TYPE_CHECKING:
    from slimcls.backbones.sources import Source
    from slimcls.layers.layer_scores import Scores
    from slimcls.layers.samples import Sample, Texts
    from slimcls.pruning.evaluation import Labelled
    from slimcls.pruning.parts import Parts


def text_parts(config: PruneConfig) -> Parts | None:
    """The texts, dealt to their three uses; None where the cut needs none."""
    if config.text is None:
        return None
    from slimcls.layers import samples
    from slimcls.pruning.parts import split

    folder = Path(config.data_dir) if config.data_dir else None
    found = samples.read(config.text, data_dir=folder, text_column=config.text_column)
    return split(found, config.seed)


def source_of(config: PruneConfig) -> Source:
    """The model, refused before its weights are fetched where it lacks a layer that shall stay."""
    from slimcls.backbones import sources

    assert config.model is not None
    sources.check_name(config.model, config.revision)
    return sources.find(config.model, config.revision, lambda folder: _check(folder, config))


def _check(folder: Path, config: PruneConfig) -> None:
    """Whether the model has the layers that shall stay; before its weights are fetched."""
    from slimcls.backbones.selectors import check_keep, named_layers
    from slimcls.backbones.truncate import config_in, depth_of

    depth = depth_of(config_in(folder, str(config.model)))
    if config.layers:
        named_layers(depth, config.layers)
    elif config.keep is not None:
        check_keep(depth, config.keep, config.rule)


def scores_of(config: PruneConfig, source: Source, parts: Parts | None) -> Scores | None:
    """What chooses the layers that stay; None where they are named."""
    from slimcls.layers import layer_scores, scoring

    assert config.model is not None
    if config.layers:
        return None
    assert config.keep is not None
    row = criteria.find(config.rule)
    if config.scores is not None:
        scores = layer_scores.read(Path(config.scores))
        scores.check(config.rule, source.fingerprint, config.model, f"--scores {config.scores}")
        return scores
    sample = None
    if row.needs_text:
        assert parts is not None
        sample = scoring_sample(config, parts.scoring, source, [config.rule])
    return scoring.measure(
        row,
        source,
        sample,
        keep=config.keep,
        seed=config.seed,
        device=exact_device(config.accelerator),
        force=config.force,
    )


def scoring_sample(config: PruneConfig, texts: Texts, source: Source, names: list[str]) -> Sample:
    """Texts for criteria to look at: as many as the one that asks for fewest takes."""
    wanted = min(criteria.find(name).samples for name in names)
    return sample_of(config, texts.drawn(config.samples or wanted, config.seed), source)


def sample_of(config: PruneConfig, texts: Texts, source: Source) -> Sample:
    """Texts as the model's tokens."""
    from slimcls.backbones.tokenizers import open_tokenizer
    from slimcls.layers.samples import encode

    return encode(texts, open_tokenizer(source), max_text_tokens=config.max_text_tokens)


def labelled_items(config: PruneConfig, source: Source) -> Labelled:
    """The items of ``--dataset``, as an untrained run in mode lm would test on them."""
    from slimcls.backbones.tokenizers import open_tokenizer
    from slimcls.config import RunConfig
    from slimcls.data import catalog, tables
    from slimcls.log import Log
    from slimcls.pruning.evaluation import Labelled
    from slimcls.session.inputs import make_inputs

    assert config.dataset is not None
    assert config.model is not None
    run = RunConfig(
        dataset=config.dataset,
        model=config.model,
        mode="lm",
        shots=1,
        demos=config.demos,
        seed=config.seed,
        test_size=config.test_size,
        validation_size=1,
        max_text_tokens=config.max_text_tokens,
    )
    folder = Path(config.data_dir) if config.data_dir else None
    data = tables.load(catalog.find(config.dataset), folder)
    tokenizer = open_tokenizer(source, never_empty=False)
    inputs = make_inputs(run, data, tokenizer, Log(quiet=True))
    return Labelled(inputs, tokenizer, list(data.spec.labels), data.fingerprint)
