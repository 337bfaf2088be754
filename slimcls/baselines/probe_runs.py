"""The work of a probe: states of all items at every depth in one pass, fit, choose, test, write."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from slimcls.backbones import sizes
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import depth_of, open_cut, read_config
from slimcls.baselines.rival_runs import begun, validated
from slimcls.classifier.trunk import decoder_of, read_prefix
from slimcls.config import RunConfig
from slimcls.data.batches import collate
from slimcls.devices import torch_device
from slimcls.log import Log
from slimcls.rivals.methods import coefficients, latency
from slimcls.rivals.probe import POOLINGS, PartStates, Probe
from slimcls.runs.schema import RunResult
from slimcls.session.inputs import Inputs
from slimcls.session.outcome import Footprint, Measured, complete
from slimcls.session.probed import keep_answers
from slimcls.session.shared import Shared
from slimcls.training.depths import DepthStates, states_at_depths


def measure_probe(
    config: RunConfig, method: str, shared: Shared, source: Source | None, folder: Path
) -> RunResult:
    """Measure a probe of the uncut model in the locked run ``folder``.

    Only the last step makes the run a finished one. Raises UserError where texts and model do not
    go together, or would take more room than there is.
    """
    assert source
    started = time.perf_counter()
    log = begun(config, method, folder, aloud=shared.aloud)
    data = shared.tables(config)
    inputs = shared.inputs(config, source, data, log)
    splits, names = inputs.splits, data.spec.labels
    device = torch_device(config.accelerator)
    depths = DepthStates(source, device, log)
    states = _states(inputs, depths, log)
    fitting = time.perf_counter()
    log.say(f"fitting: logistic regression at {states.train.shape[1]} depths")
    probe = Probe(states, splits, len(names))
    validation = probe.logits(states.validation)
    fitted = validated(validation, splits, names, time.perf_counter() - fitting)
    log.say(f"chosen on validation: {probe.chosen.words}\n{_table(probe)}")
    answers = probe.logits(states.test)
    keep_answers(depths, inputs, answers, probe.chosen.layers)
    below = range(probe.chosen.layers)
    needs = footprint(probe, below, inputs, source, shared.usual_tokens(source, data))
    found = Measured(
        config=config,
        method=method,
        data=data,
        source=source,
        splits=splits,
        footprint=needs,
        fitted=fitted,
        logits=answers,
        validation=validation,
        calibrated=False,
        tokens=inputs.test,
        device=device,
        latency_ms=latency(
            _alone(probe, inputs, source, device), [example.text for example in splits.test]
        ),
        seconds=time.perf_counter() - started,
        chosen=probe.chosen.words,
        tried=[asdict(one) for one in probe.tried],
        read_layers=probe.chosen.layers,
    )
    takes = (4 * needs.params_kept + len(pickle.dumps(probe.classifier))) / 1e6
    return complete(found, folder, lambda result: takes)


def _states(inputs: Inputs, states: DepthStates, log: Log) -> PartStates:
    parts = (inputs.train, inputs.validation, inputs.test)
    states.check(sum(map(len, parts)))
    log.say("reading the states of all texts, one pass over the uncut model")
    return PartStates(*(states.of(part, inputs.encoder.shared_prefix_ids()) for part in parts))


def _table(probe: Probe) -> str:
    """Validation accuracy by depth and pooling."""
    lines = ["  ".join(["layers", *(f"{pooling:>5}" for pooling in POOLINGS)])]
    found = {(one.layers, one.pooling): one.accuracy for one in probe.tried}
    for layers in sorted({layers for layers, _ in found}):
        figures = (f"{found[layers, pooling]:.3f}" for pooling in POOLINGS)
        lines.append("  ".join([f"{layers:>6}", *figures]))
    return "\n".join(lines)


def footprint(
    probe: Probe, layers: Sequence[int], inputs: Inputs, source: Source, usual_tokens: int
) -> Footprint:
    """Of the model what a probe needs: layers of the size of these."""
    config = read_config(source)
    kept = sizes.count(config, layers)
    return Footprint(
        depth=depth_of(config),
        params_full=kept.params_full,
        params_kept=kept.params_kept,
        params_saved=kept.params_saved,
        params_trained=coefficients(probe.classifier),
        embedding_share=kept.embedding_share,
        text_tokens=inputs.encoder.max_text_tokens,
        usual_tokens=usual_tokens,
        texts_cut=inputs.texts_cut,
    )


def _alone(probe: Probe, inputs: Inputs, source: Source, device: str) -> Callable[[str], object]:
    """Classifies one text by the layers that the probe needs, and nothing that was kept."""
    layers = range(max(1, probe.chosen.layers))
    model = open_cut(source, layers, head="lm")
    # transformers wraps this method in a way that hides its types.
    torch.nn.Module.to(model, device)
    base = decoder_of(model)
    ids = inputs.encoder.shared_prefix_ids()
    prefix = read_prefix(base, torch.tensor(ids, device=device)) if ids else None

    def classify(text: str) -> object:
        own = inputs.encoder.encode([text]).ids[0][len(ids) :]
        batch = collate([(0, own, 0)], inputs.pad_id).to(device)
        with torch.inference_mode():
            return probe.logits(states_at_depths(base, batch, prefix).cpu())

    return classify
