"""From a model's files and texts to layer scores: the whole model is opened and measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import slimcls
from slimcls.backbones import sizes
from slimcls.backbones.selectors import check_keep
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import depth_of, open_cut, read_config
from slimcls.errors import UserError
from slimcls.layers.criteria import Criterion
from slimcls.layers.layer_scores import Scores
from slimcls.layers.profiles import Findings, after_removals
from slimcls.layers.samples import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def measure_layers(
    criterion: Criterion,
    source: Source,
    sample: Sample | None,
    *,
    keep: int = 1,
    seed: int = 0,
    device: str = "cpu",
    force: bool = False,
) -> Scores:
    """Scores of a model by one criterion.

    Args:
        criterion: A row of CRITERIA; a rule opens no weights.
        source: The model's files.
        sample: Token ids of texts; None for a rule.
        keep: Smallest depth that will be asked about.
        seed: Draws the bootstrap, or the layers themselves (random).
        device: Where the model runs: cpu or cuda.
        force: Open the model although it seems too big for the memory there is.

    Raises:
        UserError: nothing to choose, a model that does not fit, activations that are no numbers.
    """
    depth = depth_of(read_config(source))
    check_keep(depth, keep, criterion.name)
    if criterion.pick is not None:
        findings = _of_rule(criterion, depth, keep, seed)
    else:
        assert sample is not None
        model = open_whole(source, device, force)
        findings = criterion.measure(model, sample, keep, seed)
    return _scores(criterion, source, depth, sample, seed, findings)


def _of_rule(criterion: Criterion, depth: int, keep: int, seed: int) -> Findings:
    assert criterion.pick is not None
    kept = {left: criterion.pick(depth, left, seed) for left in range(depth - 1, keep - 1, -1)}
    gone: list[int] = []
    for left in kept.values():
        gone += sorted(set(range(depth)) - set(left) - set(gone))
    nested = after_removals(depth, gone) == kept
    order = (*gone, *(kept[1] if keep == 1 else ()))
    return Findings(kept, removal_order=order if nested else None)


def open_whole(source: Source, device: str = "cpu", force: bool = False) -> PreTrainedModel:
    """The causal language model with all its layers, in float32.

    Raises UserError where it does not fit into the memory there is, unless ``force``.
    """
    layers = range(depth_of(read_config(source)))
    check_memory(source, layers, device, force)
    model = open_cut(source, layers, head="lm", dtype=torch.float32)
    # Not its own ``to``, whose decorator hides the signature.
    torch.nn.Module.to(model, device)
    return model


def check_memory(source: Source, layers: Sequence[int], device: str, force: bool) -> None:
    """Raise UserError where a language model with these layers does not fit, unless ``force``."""
    config = read_config(source)
    count = sizes.count(config, tuple(layers)).params_kept + sizes.lm_head_params(config)
    needed, free = count * sizes.WEIGHT, sizes.available_memory(device)
    if needed > free and not force:
        what = "all its" if len(layers) == depth_of(config) else str(len(layers))
        raise UserError(
            f"{source.name}: {what} layers take {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free; --force tries all the same"
        )


def _scores(
    criterion: Criterion,
    source: Source,
    depth: int,
    sample: Sample | None,
    seed: int,
    found: Findings,
) -> Scores:
    return Scores(
        slimcls_version=slimcls.__version__,
        criterion=criterion.name,
        model=_plain_name(source.name),
        source=source.fingerprint,
        depth=depth,
        text=sample.name if sample else "",
        text_fingerprint=sample.fingerprint if sample else "",
        samples=len(sample) if sample else 0,
        tokens=sample.tokens if sample else 0,
        seed=seed,
        scores=None if found.scores is None else list(found.scores),
        intervals=None if found.intervals is None else [list(ends) for ends in found.intervals],
        removal_order=None if found.removal_order is None else list(found.removal_order),
        kept={keep: list(layers) for keep, layers in sorted(found.kept.items(), reverse=True)},
        tau=found.tau,
        notes=[*(sample.notes if sample else ()), *found.notes],
    )


def _plain_name(name: str) -> str:
    """A local path says nothing elsewhere: its last folder does."""
    return Path(name).name if Path(name).is_dir() else name
