"""What a pruning command works on, opened from its settings: model, texts, scores, items."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from slimcls.layers import criteria
from slimcls.pruning.settings import PruneConfig

if TYPE_CHECKING:
    from slimcls.backbones.sources import Source
    from slimcls.layers.layer_scores import Scores
    from slimcls.layers.samples import Sample, Texts
    from slimcls.layers.selection import Selection
    from slimcls.pruning.evaluation import Labelled
    from slimcls.pruning.parts import Parts


def text_parts(config: PruneConfig) -> Parts | None:
    """The texts, dealt to their three uses; None where the cut needs none."""
    if config.text is None:
        return None
    from slimcls.layers import samples
    from slimcls.pruning.parts import split

    folder = Path(config.data_dir) if config.data_dir else None
    found = samples.read_texts(
        config.text,
        data_dir=folder,
        text_column=config.text_column,
        skip_bad_rows=config.skip_bad_rows,
    )
    parts = split(found, config.seed)
    notes = list(found.notes)
    if parts.removed:
        notes.append(f"{found.name}: {parts.removed} texts nearly repeat another: left out")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return parts


def pruned_selection(config: PruneConfig) -> Selection:
    """Which layers of the model stay."""
    from slimcls.layers.selection import Selection

    assert config.model is not None
    return Selection(
        model=config.model,
        select="first" if config.layers else config.rule,
        keep=config.keep or "all",
        named=tuple(config.layers) if config.layers else None,
        scores_file=config.scores,
        samples=config.samples,
        max_text_tokens=config.max_text_tokens,
        seed=config.seed,
        accelerator=config.accelerator,
        force=config.force,
    )


def source_of(config: PruneConfig) -> Source:
    """The model, refused before its weights are fetched where it lacks a layer that shall stay."""
    from slimcls.backbones import sources

    assert config.model is not None
    sources.check_name(config.model, config.revision)
    return sources.find(config.model, config.revision, pruned_selection(config).check_model)


def scores_of(selection: Selection, source: Source, parts: Parts | None) -> Scores | None:
    """The scores that choose the layers, of a file or measured; None where none do."""
    if not selection.measures:
        return selection.given(source)
    assert parts is not None
    return selection.measure(source, selection.sample(parts.scoring, source))


def scoring_sample(config: PruneConfig, texts: Texts, source: Source, names: list[str]) -> Sample:
    """Texts for criteria to look at: as many as the one that asks for fewest takes."""
    wanted = min(criteria.find_criterion(name).samples for name in names)
    return sample_of(config, texts.drawn(config.samples or wanted, config.seed), source)


def sample_of(config: PruneConfig, texts: Texts, source: Source) -> Sample:
    """Texts as the model's tokens."""
    from slimcls.backbones.tokenizers import open_tokenizer
    from slimcls.layers.samples import encode_sample

    return encode_sample(texts, open_tokenizer(source), max_text_tokens=config.max_text_tokens)


def labelled_items(config: PruneConfig, source: Source) -> Labelled:
    """The items of ``--dataset``, as an untrained run in mode lm would test on them."""
    from slimcls.backbones.tokenizers import open_tokenizer
    from slimcls.config import RunConfig
    from slimcls.data.dataset import read_dataset
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
    data = read_dataset(
        config.dataset, data_dir=config.data_dir, skip_bad_rows=config.skip_bad_rows
    )
    tokenizer = open_tokenizer(source, never_empty=False)
    if config.skip_bad_rows:
        for note in data.notes:
            print(f"note: {note}", file=sys.stderr)
    return Labelled(make_inputs(run, data, tokenizer, Log(quiet=True)), data.fingerprint)
