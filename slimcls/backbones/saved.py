"""A model with its tokenizer as a folder that plain transformers opens: written, and read back."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from slimcls.backbones.families import SCORE, block_pattern, family_of
from slimcls.backbones.layout import weight_files
from slimcls.backbones.truncate import (
    Head,
    config_in,
    depth_of,
    filled,
    head_config,
    model_class_of,
    stored_names,
)
from slimcls.backbones.weights import Weights, check_finite_weights
from slimcls.errors import UserError

#: What transformers calls another form of the weights: without its name nothing opens them.
NEEDS_PROMPT = "needs-prompt"


def save(model: Any, tokenizer: Any, folder: Path, *, needs_prompt: bool = False) -> None:
    """Write weights, configuration and tokenizer into ``folder``, which is there already.

    What ``needs_prompt`` to be right is written so that nothing opens it unless it is asked for by
    ``from_pretrained(folder, variant=NEEDS_PROMPT)``.
    """
    from slimcls.backbones.quiet import no_bars

    with no_bars():
        if needs_prompt:
            model.save_pretrained(folder, variant=NEEDS_PROMPT, max_shard_size=sys.maxsize)
        else:
            model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def as_classifier(model: Any, token_ids: Sequence[int], labels: Sequence[str]) -> PreTrainedModel:
    """A language model as an ordinary classifier, whose head is its rows of these tokens.

    Its logits are the language model's own for the tokens, a head's bias left out; weights but
    those of the head are shared.
    """
    config = head_config(copy.deepcopy(model.config), "classification", labels)
    rows = model.get_output_embeddings().weight.detach()[list(token_ids)].clone()
    head = f"{family_of(config).lm_head}."
    tensors = {
        name: value for name, value in model.state_dict().items() if not name.startswith(head)
    }
    return filled(
        model_class_of(config, "classification"), config, tensors | {SCORE: rows}, rows.dtype
    )


def open_saved(folder: Path, head: Head) -> PreTrainedModel:
    """The whole model of a folder that :func:`save` wrote, in float32 and evaluation mode.

    Weights are read from safetensors alone: a pickle beside them is not opened. Code that the
    folder brings along is never run. Nothing is built before names and shapes are known to fit.

    Raises:
        UserError: files that cannot be read, that are not of one model, or that hold what is no
            finite number.
    """
    config = config_in(folder, str(folder))
    config._name_or_path = ""
    config.dtype = torch.float32
    names = [path.name for path in folder.iterdir() if path.suffix != ".bin"]
    if not any(".safetensors" in name for name in names):
        raise UserError(f"{folder}: no weights there (model.safetensors)")
    if (single := f"model.{NEEDS_PROMPT}.safetensors") in names:
        files = [single]
    else:
        files = weight_files(names, str(folder), lambda name: folder / name)
    model_class = model_class_of(config, head)
    with Weights(folder / name for name in files) as weights:
        _check_depth(folder, config, weights)
        skeleton = _skeleton(folder, config, model_class)
        wanted = _match_names(folder, skeleton, weights)
        tensors = {ours: weights.read(theirs, torch.float32) for ours, theirs in wanted.items()}
    check_finite_weights(tensors, str(folder))
    return filled(model_class, config, tensors, torch.float32)


def _skeleton(
    folder: Path, config: PretrainedConfig, model_class: type[PreTrainedModel]
) -> PreTrainedModel:
    """The model without numbers in it."""
    try:
        with torch.device("meta"):
            return model_class(copy.deepcopy(config))
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0][:160]
        raise UserError(f"{folder}/config.json: not a valid configuration ({reason})") from error


def _check_depth(folder: Path, config: PretrainedConfig, weights: Weights) -> None:
    """A model of any depth can be asked for: before it is built, the files say how deep it is."""
    pattern = block_pattern(family_of(config))
    found = {match[1] for name in weights.shapes if (match := pattern.search(name))}
    if len(found) != depth_of(config):
        raise _misfit(folder, f"{len(found)} layers, not {depth_of(config)}")


def _match_names(folder: Path, skeleton: PreTrainedModel, weights: Weights) -> dict[str, str]:
    """Names of the model's tensors -> names in the files; checks that they are the same ones."""
    prefix = f"{skeleton.base_model_prefix}."
    stored = stored_names(skeleton, weights)
    wanted = {}
    for name, tensor in skeleton.state_dict().items():
        theirs = stored.pop(name.removeprefix(prefix), None)
        if theirs is None:
            if name in _tied(skeleton):
                continue
            raise _misfit(folder, f"{name} is missing")
        found, shape = weights.shapes[theirs], tuple(tensor.shape)
        if found != shape:
            raise _misfit(folder, f"{theirs} has shape {list(found)}, not {list(shape)}")
        wanted[name] = theirs
    for odd in stored.values():
        raise _misfit(folder, f"{odd} is unknown")
    return wanted


def _tied(skeleton: PreTrainedModel) -> set[str]:
    """The head that is the embedding once more."""
    head = f"{family_of(skeleton.config).lm_head}.weight"
    return {head} if skeleton.config.tie_word_embeddings else set()


def _misfit(folder: Path, what: str) -> UserError:
    return UserError(
        f"{folder}: weights do not fit config.json ({what}); both must be of the same run"
    )
