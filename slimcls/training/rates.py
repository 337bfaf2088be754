"""How fast what is trained learns: by what it is, by the depth of the cut, by where it stands."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from slimcls.backbones.families import block_pattern, family_of
from slimcls.classifier.exits import EXITS, HEAD
from slimcls.config import RunConfig

#: Default learning rates by what is trained: (share of the layers kept, at most; rate), in order.
#: The search that chose them is in docs/defaults.md.
LEARNING_RATES: dict[str, list[tuple[float, float]]] = {
    "full": [(1 / 3, 3e-4), (1, 1e-4)],
    "lora": [(1, 1e-3)],
    "head": [(1, 1e-2)],
    "last": [(1 / 3, 3e-4), (1, 1e-4)],
}
#: The most that layers themselves learn at where the head begins as a regression.
PROBED_FIRST = 1e-4


def learning_rate(tune: str, keep: int, depth: int, *, probe_first: bool = False) -> float:
    """The default learning rate for a way of tuning and ``keep`` layers of ``depth``."""
    way = tune.partition("-")[0]
    found = next(rate for most, rate in LEARNING_RATES[way] if keep / depth <= most)
    return min(found, PROBED_FIRST) if probe_first and way in ("full", "last") else found


def parameter_groups(model: PreTrainedModel, config: RunConfig) -> list[dict[str, object]]:
    """What is trained, for an optimiser: a group a peak learning rate.

    One for all, or with exits one for each rate that a cut to one of their depths would have if the
    deepest were all there is.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = rate_at(_first_exit(model, config, name), config)
            groups.setdefault(rate, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def rate_at(depth: int | None, config: RunConfig) -> float:
    """Peak learning rate of what an exit at this depth reads first; None: of all."""
    assert config.lr is not None
    if depth is None or config.exits is None:
        return config.lr
    deepest = config.exits[-1]
    at, end = (
        learning_rate(config.tune, keep, deepest, probe_first=config.probe_first)
        for keep in (depth, deepest)
    )
    return config.lr * (at / end)


def embedding_rate(config: RunConfig) -> float:
    """Peak learning rate of the token embeddings, which every exit reads."""
    return rate_at(config.exits[0] if config.exits else None, config)


def _first_exit(model: PreTrainedModel, config: RunConfig, name: str) -> int | None:
    """Depth of the first exit that reads a parameter; None without exits."""
    if config.exits is None:
        return None
    if name.startswith(f"{EXITS}."):
        return config.exits[int(name.split(".")[1])]
    family = family_of(model.config)
    if match := block_pattern(family).search(name):
        return next(depth for depth in config.exits if depth > int(match[1]))
    ends = (f"{HEAD}.", f"{model.base_model_prefix}.{family.final_norm}.")
    return config.exits[-1 if name.startswith(ends) else 0]
