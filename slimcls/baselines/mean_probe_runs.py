"""The work of a mean probe: the first layers, frozen, as a classifier that can be handed over."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel

from slimcls.backbones.averaging import Linear, check_average
from slimcls.backbones.selectors import named_layers
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import depth_of, open_cut, read_config
from slimcls.baselines.probe_runs import footprint
from slimcls.baselines.rival_runs import begun, validated
from slimcls.classifier.classifier import Classifier
from slimcls.config import RunConfig
from slimcls.devices import torch_device
from slimcls.errors import UserError
from slimcls.log import Log
from slimcls.rivals.probe import PartStates, Probe, linear_of
from slimcls.runs.schema import RunResult
from slimcls.session import handover
from slimcls.session.inputs import Inputs
from slimcls.session.outcome import Measured, complete
from slimcls.session.shared import Shared
from slimcls.training.averaged import make_plain
from slimcls.training.depths import DepthStates


def check_mean_probe(config: RunConfig, source: Source, classes: int) -> list[int]:
    """The layers that a mean probe of these settings reads. Raises UserError where none can be."""
    if config.mode != "cls":
        raise UserError(
            f"--method mean-probe: reads the mean over a bare text, not --mode {config.mode}; "
            "use --mode cls"
        )
    if config.layers or config.select != "first":
        raise UserError("--method mean-probe: reads the first --keep layers; name no others")
    full = read_config(source)
    check_average(full, classes)
    keep = depth_of(full) if config.keep == "all" else config.keep
    assert keep
    return list(named_layers(depth_of(full), range(keep)))


def measure_mean_probe(
    config: RunConfig, method: str, shared: Shared, source: Source | None, folder: Path
) -> RunResult:
    """Measure a mean probe, as it is handed over, in the locked run ``folder``.

    Only the last step makes the run a finished one. Raises UserError where texts and model do not
    go together, or would take more room than there is.
    """
    assert source
    assert config.layers
    started = time.perf_counter()
    log = begun(config, method, folder, aloud=shared.aloud)
    data = shared.tables(config)
    inputs = shared.inputs(config, source, data, log)
    device = torch_device(config.accelerator)
    keep, names = len(config.layers), data.spec.labels
    depths = DepthStates(source, device, log, deepest=keep)
    depths.check(len(inputs.train) + len(inputs.validation))
    states = _states(inputs, depths, log)
    fitting = time.perf_counter()
    log.say(f"fitting: logistic regression on the mean over tokens after {keep} layers")
    probe = Probe(states, inputs.splits, len(names), ["mean"])
    seconds = time.perf_counter() - fitting
    model = _as_model(probe, inputs, source, keep, names)
    classifier = Classifier(model, inputs.mode, inputs.encoder, inputs.task.labels)
    classifier.model.to(device)
    validation = classifier.logits(inputs.validation, config.eval_batch_size)
    agree = validation.argmax(1) == probe.logits(states.validation).argmax(1)
    log.say(
        f"the model says what the regression says of {int(agree.sum())} of {len(agree)} "
        "validation texts"
    )
    splits = inputs.splits
    # The layer that averages is of the size of the last that is read.
    left = [*config.layers, config.layers[-1]]
    chosen = replace(probe.chosen, layers=keep)
    found = Measured(
        config=config,
        method=method,
        data=data,
        source=source,
        splits=splits,
        footprint=footprint(probe, left, inputs, source, shared.usual_tokens(source, data)),
        fitted=validated(validation, splits, names, seconds),
        logits=classifier.logits(inputs.test, config.eval_batch_size),
        validation=validation,
        tokens=inputs.test,
        device=device,
        latency_ms=classifier.latency([one.text for one in splits.test or splits.validation]),
        seconds=time.perf_counter() - started,
        chosen=chosen.words,
        tried=[asdict(chosen)],
        read_layers=keep,
    )
    classifier.confidence = found.confidence
    return complete(found, folder, lambda result: _keep(classifier, inputs, data.spec.name, result))


def _states(inputs: Inputs, depths: DepthStates, log: Log) -> PartStates:
    """States of the deepest depth alone."""
    log.say("reading the states of all texts, one pass over the layers")
    train, validation = (depths.of(part, [])[:, -1:] for part in (inputs.train, inputs.validation))
    return PartStates(train, validation, validation[:0])


def _as_model(
    probe: Probe, inputs: Inputs, source: Source, keep: int, labels: tuple[str, ...]
) -> PreTrainedModel:
    """The layers that are read, one that averages, and a head that says what the probe says."""
    model = open_cut(
        source,
        range(keep),
        head="classification",
        labels=labels,
        dtype=torch.float32,
        pad_token_id=inputs.pad_id,
    )
    linear = Linear(*linear_of(probe.classifier, len(labels)))
    make_plain(model, linear, inputs.train, inputs.pad_id)
    return model


def _keep(classifier: Classifier, inputs: Inputs, dataset: str, result: RunResult) -> float:
    """Write the artefact if it is wanted, and give its size in 10^6 bytes."""
    if result.config.save_model == "none":
        return 0.0
    handover.save_artefact(classifier, inputs.task, result, dataset)
    return handover.megabytes(result.folder / "model")
