"""A changed classifier learns for a short while to say what its run says."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slimcls.backbones.families import blocks_of
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.modes import Classification, LabelWords, SoftTargets
from slimcls.config import RunConfig
from slimcls.data.batches import Items
from slimcls.data.lengths import about_tokens
from slimcls.errors import Interrupted, UserError
from slimcls.log import Log
from slimcls.session.again import Drawn
from slimcls.session.settle import settle
from slimcls.training import tuning
from slimcls.training.loop import Work, fit

#: Whose losses are over the classes, as a run's scores are.
_TAUGHT = (Classification, LabelWords)


def retuned(
    classifier: Classifier,
    run: Classifier,
    texts: Sequence[str],
    drawn: Drawn,
    *,
    epochs: int,
    scratch: Path,
) -> Classifier:
    """Train a copy of a classifier as the run was, for so many epochs, on the run's own scores.

    It learns them on any ``texts``, since no label is read, with a rate that falls to nothing. The
    epoch with the best validation accuracy is kept. The folder ``scratch`` is there while it lasts.

    Raises UserError where the loss is no number any more or the run's is over more than its
    classes, and Interrupted after Ctrl-C or SIGTERM.
    """
    tokens = about_tokens(texts, drawn.config.max_text_tokens)
    config, mode = _shorter(drawn.config, epochs, tokens), classifier.mode
    if blocks_of(classifier.model)[len(config.layers or []) :]:
        raise UserError(f"--retune {epochs}: not for a run whose last layer averages")
    if type(mode) not in _TAUGHT:
        raise UserError(f"--retune {epochs}: not for a run of --lm-loss {config.lm_loss}")
    # Its weights may be the run's too.
    model = copy.deepcopy(classifier.model)
    adapted = tuning.choose_trained(model, config)
    prefix = classifier.prefix_ids if config.share_prefix and mode.shares_prefix else []

    def items(some: Sequence[str], labels: list[int]) -> Items:
        ids = classifier.encoder.encode(some).ids
        return Items([one[len(prefix) :] for one in ids], labels)

    learnt = items(texts, [0] * len(texts))  # labels that are never read
    validation = drawn.splits.validation
    judged = items([item.text for item in validation], [item.label for item in validation])
    mode.soft_targets = SoftTargets(run.logits(run.encoder.encode(texts).ids))
    scratch.mkdir()
    try:
        fit(Work(model, mode, config, learnt, judged, prefix, scratch, Log()))
    except Interrupted as error:
        # What was saved goes with the folder that was to be exported.
        raise Interrupted(error.exit_code - 128, "stopped; nothing was exported") from None
    finally:
        shutil.rmtree(scratch)
    merged = tuning.merge(adapted)
    return Classifier(merged, mode, classifier.encoder, classifier.labels, classifier.confidence)


def _shorter(config: RunConfig, epochs: int, tokens: float) -> RunConfig:
    """A run's settings for training a while longer, on this machine, on texts of ``tokens``."""
    assert config.layers is not None
    shorter = replace(
        config,
        epochs=epochs,
        steps=None,
        schedule="linear",
        patience=0,
        exits=None,
        teacher=None,
        unlabelled=None,
        unlabelled_size=None,
        temperature=None,
        class_weights=False,
        accelerator="auto",
        devices=1,
        num_nodes=1,
        strategy="auto",
        precision="auto",
        compile=False,
        logger="csv",
        recompute_features=True,
    )
    return settle(shorter, config.layers, len(config.layers), tokens)
