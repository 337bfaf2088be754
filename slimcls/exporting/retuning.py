"""A classifier trained again for a short while, on the items of the run that it is of."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slimcls.classifier.classifier import Classifier
from slimcls.classifier.modes import class_weights
from slimcls.config import RunConfig
from slimcls.data.batches import Items
from slimcls.data.splits import Example
from slimcls.errors import Interrupted
from slimcls.log import Log
from slimcls.session.again import Drawn
from slimcls.session.settle import settle
from slimcls.training import tuning
from slimcls.training.loop import Work, fit


def retuned(classifier: Classifier, drawn: Drawn, epochs: int, scratch: Path) -> Classifier:
    """Train a classifier as its run was, for so many epochs, with a rate that falls to nothing.

    It learns labels, whatever taught the run. The epoch with the best validation score is kept.
    The classifier's own model is changed; what is given back has no memory of it as it was. The
    folder ``scratch`` is there while it lasts.

    Raises UserError where the loss is no number any more, and Interrupted after Ctrl-C or SIGTERM.
    """
    config, mode, model = _shorter(drawn.config, epochs), classifier.mode, classifier.model
    adapted = tuning.choose_trained(model, config)
    train, validation = drawn.splits.train, drawn.splits.validation
    labels = [item.label for item in train]
    if config.class_weights:
        mode.class_weights = class_weights(labels, len(classifier.labels))
    prefix = classifier.prefix_ids if config.share_prefix and mode.shares_prefix else []

    def encoded(items: Sequence[Example]) -> list[list[int]]:
        return classifier.encoder.encode([item.text for item in items]).ids

    learnt = [
        mode.training_ids(ids, label)[len(prefix) :]
        for ids, label in zip(encoded(train), labels, strict=True)
    ]
    seen = [ids[len(prefix) :] for ids in encoded(validation)]
    judged = Items(seen, [item.label for item in validation])
    scratch.mkdir()
    try:
        fit(Work(model, mode, config, Items(learnt, labels), judged, prefix, scratch, Log()))
    except Interrupted as error:
        # What was saved goes with the folder that was to be exported.
        raise Interrupted(error.exit_code - 128, "stopped; nothing was exported") from None
    finally:
        shutil.rmtree(scratch)
    merged = tuning.merge(adapted)
    return Classifier(merged, mode, classifier.encoder, classifier.labels, classifier.confidence)


def _shorter(config: RunConfig, epochs: int) -> RunConfig:
    """A run's settings for training a while longer, on this machine."""
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
        accelerator="auto",
        devices=1,
        num_nodes=1,
        strategy="auto",
        precision="auto",
        compile=False,
        logger="csv",
        recompute_features=True,
    )
    return settle(shorter, config.layers, len(config.layers))
