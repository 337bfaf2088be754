"""What is measured at 8 and 4 bits: a language model, or a finished classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcls.layers import criteria
from slimcls.pruning import earlier, inputs
from slimcls.pruning.settings import PruneConfig

if TYPE_CHECKING:
    from slimcls.layers.samples import Sample
    from slimcls.pruning.bits import Subject
    from slimcls.pruning.parts import Parts


def language_model(config: PruneConfig, parts: Parts) -> tuple[Subject, list[Any]]:
    """A language model, measured by perplexity and, with --dataset, label words."""
    source = inputs.source_of(config)
    from slimcls.layers.scoring import open_whole
    from slimcls.pruning import evaluation
    from slimcls.pruning.bits import Subject

    held_out = inputs.sample_of(config, parts.held_out.drawn(config.held_out, config.seed), source)
    labelled = inputs.labelled_items(config, source) if config.dataset else None
    sample = inputs.scoring_sample(config, parts.scoring, source, [config.rule])
    subject = Subject(
        lambda: open_whole(source, force=config.force),
        lambda model: _choice(config, model, sample),
        lambda model: evaluation.measure(model, held_out, labelled),
    )
    asked = earlier.what_decides(config, held_out, labelled)
    return subject, [source.fingerprint, *asked, sample.fingerprint]


def classifier(config: PruneConfig, parts: Parts) -> tuple[Subject, list[Any]]:
    """A finished run, measured on its own test items."""
    from slimcls.backbones.families import blocks_of
    from slimcls.backbones.selectors import check_keep
    from slimcls.classifier import artefact
    from slimcls.layers.samples import encode_sample
    from slimcls.pruning import trained
    from slimcls.pruning.bits import Subject
    from slimcls.storage.cache import content_hash

    assert config.classifier is not None
    folder = Path(config.classifier)
    items = trained.test_items(folder, config.data_dir)
    opened = artefact.load_run(config.classifier)
    assert config.keep is not None
    check_keep(len(blocks_of(opened.model)), config.keep, config.rule)
    wanted = config.samples or criteria.find_criterion(config.rule).samples
    texts = parts.scoring.drawn(wanted, config.seed)
    sample = encode_sample(texts, opened.tokenizer, max_text_tokens=config.max_text_tokens)
    subject = Subject(
        lambda: artefact.load_run(str(config.classifier)).model,
        lambda model: _choice(config, model, sample),
        lambda model: trained.measure(opened, model, items),
    )
    model = content_hash(path for path in (folder / "model").iterdir() if path.is_file())
    return subject, [model, items.fingerprint, sample.fingerprint]


def _choice(config: PruneConfig, model: Any, sample: Sample) -> tuple[int, ...]:
    assert config.keep is not None
    return criteria.find_criterion(config.rule).kept_layers(model, config.keep, sample, config.seed)
