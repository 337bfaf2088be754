"""A model with its tokenizer as a folder that plain transformers opens: written, and read back."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from slimcls.backbones.families import SCORE, block_pattern, family_of
from slimcls.backbones.fused import Fused
from slimcls.backbones.layout import weight_files
from slimcls.backbones.left_rows import left_rows_of, widen
from slimcls.backbones.truncate import (
    Head,
    config_in,
    depth_of,
    filled,
    head_config,
    model_class_of,
    stored_names,
)
from slimcls.backbones.vocabulary import rows_of
from slimcls.backbones.weights import Weights, check_finite_weights
from slimcls.errors import UserError

#: What transformers calls another form of the weights: without its name nothing opens them.
NEEDS_PROMPT = "needs-prompt"
#: Bytes of a file of weights at most; more weights go into several, with an index.
SHARD = 5 * 10**9


def save(
    model: Any,
    tokenizer: Any,
    folder: Path,
    *,
    needs_prompt: bool = False,
    dtype: torch.dtype | None = None,
) -> None:
    """Write weights, configuration and tokenizer into ``folder``, which is there already.

    Weights are written in ``dtype``, their own if not given; the model stays as it is.

    What ``needs_prompt`` to be right is written so that nothing opens it unless it is asked for by
    ``from_pretrained(folder, variant=NEEDS_PROMPT)``.
    """
    from slimcls.backbones.quiet import no_bars

    variant = NEEDS_PROMPT if needs_prompt else None
    with no_bars(), _kept_in(model, dtype):
        model.save_pretrained(folder, variant=variant, max_shard_size=SHARD)
    widen(model, folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def _kept_in(model: PreTrainedModel, dtype: torch.dtype | None) -> Iterator[None]:
    """Parameters as numbers of another type for a while; buffers stay.

    What was rounded by :func:`round_weights` comes back as it was, to the last bit.
    """
    before = next(model.parameters()).dtype
    _convert(model, dtype or before)
    yield
    _convert(model, before)


def _convert(model: PreTrainedModel, dtype: torch.dtype) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def round_weights(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Round parameters to the numbers that ``dtype`` has; they stay of their own type.

    Raises UserError where one is beyond its range.
    """
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(dtype).to(parameter.dtype)
        if not parameter.data.isfinite().all():
            kind = str(dtype).removeprefix("torch.")
            raise UserError(
                f"--save-dtype {kind}: {name} holds numbers beyond its range; use bfloat16"
            )


def as_classifier(model: Any, token_ids: Sequence[int], labels: Sequence[str]) -> PreTrainedModel:
    """A language model as an ordinary classifier, whose head is its rows of these tokens.

    Its logits are the language model's own for the tokens, a head's bias left out; weights but
    those of the head are shared.
    """
    config = head_config(copy.deepcopy(model.config), "classification", labels)
    places = rows_of(model, torch.tensor(list(token_ids)))
    rows = model.get_output_embeddings().weight.detach()[places].clone()
    head = f"{family_of(config).lm_head}."
    tensors = {
        name: value for name, value in model.state_dict().items() if not name.startswith(head)
    }
    return filled(
        model_class_of(config, "classification"),
        config,
        tensors | {SCORE: rows},
        rows.dtype,
        left_rows_of(model),
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
    model_class = model_class_of(config, head)
    with saved_weights(folder, family_of(config).fused) as weights:
        _check_depth(folder, config, weights)
        skeleton = _skeleton(folder, config, model_class)
        wanted = _match_names(folder, skeleton, weights)
        tensors = {ours: weights.read(theirs, torch.float32) for ours, theirs in wanted.items()}
    check_finite_weights(tensors, str(folder))
    return filled(model_class, config, tensors, torch.float32)


def saved_weights(folder: Path, fused: Iterable[Fused] = ()) -> Weights:
    """The tensors of a folder that :func:`save` wrote, as Weights have those that are ``fused``.

    Raises UserError where there are none.
    """
    names = [path.name for path in folder.iterdir() if path.suffix != ".bin"]
    if not any(".safetensors" in name for name in names):
        raise UserError(f"{folder}: no weights there (model.safetensors)")
    files = sorted(name for name in names if _needing_prompt(name))
    if not files:
        files = weight_files(names, str(folder), lambda name: folder / name)
    return Weights((folder / name for name in files), fused=fused)


def _needing_prompt(name: str) -> bool:
    """Whether a file's name is that of weights, or a part of them, that need the prompt."""
    return name.startswith(f"model.{NEEDS_PROMPT}") and name.endswith(".safetensors")


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
