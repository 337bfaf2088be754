"""What is trained: everything, a low-rank update, the head, or the last blocks."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, cast

import torch
from transformers import PreTrainedModel

from slimcls.backbones import quiet
from slimcls.backbones.families import blocks_of, family_of, final_norm_of
from slimcls.backbones.family import OR
from slimcls.config import RunConfig

if TYPE_CHECKING:
    from peft import PeftModel

    Adapted = PreTrainedModel | PeftModel


def choose_trained(model: PreTrainedModel, config: RunConfig) -> Adapted:
    """Mark what ``--tune`` trains with ``requires_grad``; return what :func:`merge` takes.

    ``model`` is changed in place: with LoRA its projections get their update matrices (peft).
    """
    if config.tune == "full":
        return model
    if config.tune == "lora":
        rank, alpha = config.lora_rank, config.lora_alpha
        adapted = add_lora(model, rank=rank, alpha=alpha, seed=config.seed)
        _train_head(model)
        return adapted
    model.requires_grad_(False)
    if config.tune.startswith("last-"):
        trained = list(blocks_of(model))[-int(config.tune.removeprefix("last-")) :]
        norm = final_norm_of(model)
        for module in [*trained, *([norm] if norm is not None else [])]:
            module.requires_grad_(True)
    _train_head(model)
    return model


def merge(model: Adapted) -> PreTrainedModel:
    """The plain transformers model with low-rank updates added to its weights."""
    unloaded = getattr(model, "merge_and_unload", lambda: model)()
    return cast("PreTrainedModel", unloaded)


def add_lora(model: PreTrainedModel, *, rank: int, alpha: int, seed: int) -> PeftModel:
    """The model with low-rank updates beside its projections, which alone are trained (peft)."""
    quiet.bitsandbytes()
    from peft import LoraConfig, get_peft_model

    family = family_of(model.config)
    # peft draws the update matrices from the global generator.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft asks transformers for something by its old name.
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        return get_peft_model(
            model,
            LoraConfig(
                r=rank,
                lora_alpha=alpha,
                target_modules=[one for target in family.lora_targets for one in target.split(OR)],
                fan_in_fan_out=family.fan_in_fan_out,
            ),
        )


def _train_head(model: PreTrainedModel) -> None:
    """A classification head is always trained; a language model's tied head never alone."""
    if hasattr(model, "score"):
        model.score.requires_grad_(True)
