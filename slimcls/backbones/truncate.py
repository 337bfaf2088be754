"""Open a language model with some of its layers: only kept tensors are ever in memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from transformers import AutoModel, PretrainedConfig, PreTrainedModel

from slimcls.backbones.families import (
    COMPUTED,
    SCORE,
    block_pattern,
    check_architecture,
    family_of,
)
from slimcls.backbones.family import Family
from slimcls.backbones.layout import read_json
from slimcls.backbones.left_rows import LeftRows, fill_with_rows, read_held, token_places
from slimcls.backbones.quiet import no_bars
from slimcls.backbones.redraw import drawn_blocks
from slimcls.backbones.selectors import named_layers
from slimcls.backbones.sources import Source
from slimcls.backbones.weights import Weights, check_finite_weights
from slimcls.errors import UserError

Head = Literal["lm", "classification"]

#: Config entries that hold one value a layer.
PER_LAYER = ("layer_types", "no_rope_layers")


def read_config(source: Source) -> PretrainedConfig:
    """The model's configuration, full depth. Code that a model brings along is never run.

    Raises:
        UserError: config.json cannot be read, or its architecture has no row in FAMILIES.
    """
    return config_in(source.folder, source.name)


def config_in(folder: Path, name: str) -> PretrainedConfig:
    """As :func:`read_config`, of a folder that may hold no weights yet; ``name`` is for errors."""
    path = folder / "config.json"
    content = read_json(path)
    check_architecture(content, name)
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds, all about this file
        reason = (str(error).strip().splitlines() or [""])[-1]
        raise UserError(f"{path}: not a valid configuration ({reason})") from error
    return cast("PretrainedConfig", config)


def depth_of(config: PretrainedConfig) -> int:
    """Number of layers that a configuration stands for."""
    return int(getattr(config, family_of(config).depth_key))


def cut_config(config: PretrainedConfig, layers: Sequence[int]) -> PretrainedConfig:
    """A copy of ``config`` for the kept ``layers``: depth and per-layer entries follow.

    Raises:
        UserError: the model scales attention by layer number, so that only the first layers
            keep their meaning when they are numbered anew.
    """
    depth = depth_of(config)
    moved = list(layers) != list(range(len(layers)))
    if moved and getattr(config, "scale_attn_by_inverse_layer_idx", False):
        raise UserError(
            "this model scales attention by layer number: only its first layers can stay"
        )
    cut = copy.deepcopy(config)
    for name in PER_LAYER:
        values = getattr(config, name, None)
        if isinstance(values, list | tuple) and len(values) == depth:
            setattr(cut, name, [values[i] for i in layers])
    family = family_of(config)
    if family.follow is not None:
        family.follow(cut, layers)
    setattr(cut, family.depth_key, len(layers))
    return cut


def open_cut(
    source: Source,
    layers: Sequence[int],
    *,
    head: Head,
    labels: Sequence[str] = (),
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    pad_token_id: int | None = None,
    random_blocks: bool = False,
    rows: Sequence[int] | None = None,
) -> PreTrainedModel:
    """The model of ``source`` with blocks ``layers``, in evaluation mode.

    Args:
        source: Where config and weights are.
        layers: Ids of the kept blocks, ascending; they become blocks 0..len(layers)-1.
        head: ``lm`` keeps the language-model head; ``classification`` puts a new linear one
            without bias on the last token: (classes, hidden), normal with the model's own
            ``initializer_range``, drawn from a generator of its own.
        labels: Names of the classes, for ``classification``.
        dtype: Of the parameters, whatever the file holds.
        seed: Of the new head, and of random blocks.
        pad_token_id: Goes into the config; the classifier pools the last token that is not it.
        random_blocks: Draw the blocks anew, as the model's class initialises them, in place of
            the stored ones, which are not read; everything else stays.
        rows: Ids of all tokens that the model will read or score, ascending. Then it holds no
            other rows of its token matrices; :func:`slimcls.backbones.saved.save` writes them all.

    Raises:
        UserError: weights damaged, or other than this configuration's: apart from the blocks
            that were cut, every tensor must be used, and apart from the head none may lack.
    """
    full = read_config(source)
    layers = named_layers(depth_of(full), layers)
    config = cut_config(full, layers)
    # A local path says nothing to whoever gets the saved model.
    config._name_or_path = ""
    config.dtype = dtype
    if pad_token_id is not None:
        config.pad_token_id = pad_token_id
    config = head_config(config, head, labels)
    model_class = model_class_of(config, head)
    with torch.device("meta"):
        skeleton = model_class(copy.deepcopy(config))
    stored = source.stored(full, layers, lm_head=head == "lm")
    with Weights(stored.files, stored.elsewhere, family_of(full).fused) as weights:
        wanted = _match(skeleton, weights, layers, full, source)
        drawn = _drawn(skeleton, dtype, seed) if random_blocks else {}
        token_names = {} if rows is None else token_places(skeleton)

        def read(ours: str, theirs: str) -> torch.Tensor:
            if ours in drawn:
                return drawn[ours]
            if rows is not None and ours in token_names.values():
                return read_held(weights, theirs, rows, dtype, source.name)
            return weights.read(theirs, dtype)

        tensors = {ours: read(ours, theirs) for ours, theirs in wanted.items()}
    check_finite_weights(tensors, source.name)
    if head == "classification":
        tensors[SCORE] = _new_head(skeleton, dtype, seed)
    if rows is None:
        return filled(model_class, config, tensors, dtype)
    names = {place: wanted[name] for place, name in token_names.items() if name in wanted}
    left = LeftRows(torch.tensor(rows), names, stored.files, source.name)
    return filled(model_class, config, tensors, dtype, left)


def head_config(config: PretrainedConfig, head: Head, labels: Sequence[str]) -> PretrainedConfig:
    """``config`` itself, with what a head of this kind needs. Raises UserError for one label."""
    if head == "classification":
        if len(labels) < 2:
            raise UserError(f"a classifier needs at least two labels, not {len(labels)}")
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    return config


def model_class_of(config: PretrainedConfig, head: Head) -> Any:
    """The class of a model with this configuration and head.

    Raises UserError where transformers has no class with a head for classes.
    """
    family = family_of(config)
    if head == "classification" and not family.classifies:
        raise UserError(
            f"{family.name} ({config.model_type}): {family.why_not_classes}, so cls and p-cls "
            "cannot be saved; use --mode lm"
        )
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    auto: Any = AutoModelForCausalLM if head == "lm" else AutoModelForSequenceClassification
    return auto._model_mapping[type(config)]


def _match(
    skeleton: Any,
    weights: Weights,
    layers: Sequence[int],
    full: PretrainedConfig,
    source: Source,
) -> dict[str, str]:
    """Parameter names of the cut model -> names in the checkpoint; checks that they fit."""
    family = family_of(skeleton.config)
    prefix = f"{skeleton.base_model_prefix}."
    stored = stored_names(skeleton, weights)
    wanted: dict[str, str] = {}
    used: set[str] = set()
    missing: list[str] = []
    for name, value in _own_tensors(skeleton, family).items():
        place = _place_in_source(name.removeprefix(prefix), family, layers)
        used.add(place)
        if place not in stored:
            missing.append(name)
            continue
        wanted[name] = stored[place]
        _check_shape(source, stored[place], weights.shapes[stored[place]], tuple(value.shape))
    if missing:
        raise _misfit(source, f"{missing[0]} is missing", len(missing))
    cut = _cut_names(used, full, layers)
    _check_rest(set(stored) - used, cut, family, source)
    return wanted


def _own_tensors(skeleton: Any, family: Family) -> dict[str, torch.Tensor]:
    """What a checkpoint must hold: everything but the new head and a head tied to the embedding."""
    tensors: dict[str, torch.Tensor] = skeleton.state_dict()
    tensors.pop(SCORE, None)
    if skeleton.config.tie_word_embeddings:
        tensors.pop(f"{family.lm_head}.weight", None)
    return tensors


def stored_names(skeleton: PreTrainedModel, weights: Weights) -> dict[str, str]:
    """What the model calls its tensors, without base prefix -> what the files call them."""
    family, prefix = family_of(skeleton.config), f"{skeleton.base_model_prefix}."
    stored = {name.removeprefix(prefix): name for name in weights.names}
    for alias in family.lm_head_aliases:
        if f"{alias}.weight" in stored:
            stored[f"{family.lm_head}.weight"] = stored.pop(f"{alias}.weight")
    return stored


def _place_in_source(name: str, family: Family, layers: Sequence[int]) -> str:
    """Name in the full model of what the cut model calls ``name``, both without base prefix."""
    match = block_pattern(family).match(name)
    if not match:
        return name
    return f"{family.blocks}.{layers[int(match[1])]}.{match[2]}"


def _check_shape(
    source: Source, name: str, found: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    if found != expected:
        raise _misfit(source, f"{name} has shape {list(found)}, not {list(expected)}", 1)


def _cut_names(used: set[str], full: PretrainedConfig, layers: Sequence[int]) -> set[str]:
    """What the blocks that were cut must have in the checkpoint: what kept ones have.

    Blocks that are not alike are asked for by building the full model, without numbers in it.
    """
    family = family_of(full)
    pattern, cut = block_pattern(family), set(range(depth_of(full))) - set(layers)
    if family.alike:
        parts = {match[2] for name in used if (match := pattern.match(name))}
        return {f"{family.blocks}.{layer}.{part}" for layer in cut for part in parts}
    with torch.device("meta"):
        whole = AutoModel.from_config(copy.deepcopy(full)).state_dict()
    return {name for name in whole if (match := pattern.match(name)) and int(match[1]) in cut}


def _check_rest(rest: set[str], cut: set[str], family: Family, source: Source) -> None:
    """What was not used must be exactly the cut blocks, heads, and buffers nobody needs."""
    other_heads = {f"{family.lm_head}.weight", f"{family.lm_head}.bias", SCORE}
    left = {name for name in rest - other_heads if not COMPUTED.search(name)}
    for odd, what in ((left - cut, "unknown"), (cut - left, "missing")):
        if odd:
            raise _misfit(source, f"{min(odd)} is {what}", len(odd))


def _misfit(source: Source, what: str, count: int) -> UserError:
    more = f" and {count - 1} more" if count > 1 else ""
    return UserError(
        f"{source.name}: weights do not fit config.json: {what}{more}; "
        "take both from the same model"
    )


def _drawn(skeleton: Any, dtype: torch.dtype, seed: int) -> dict[str, torch.Tensor]:
    prefix = f"{skeleton.base_model_prefix}."
    blocks = drawn_blocks(skeleton.config, seed, dtype)
    return {prefix + name: value for name, value in blocks.items()}


def _new_head(skeleton: Any, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """A classification head of shape (classes, hidden), the same whatever was drawn before."""
    config = skeleton.config
    spread = float(getattr(config, "initializer_range", None) or config.init_std)
    shape = skeleton.get_submodule(SCORE.removesuffix(".weight")).weight.shape
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * spread).to(dtype)


def filled(
    model_class: Any,
    config: PretrainedConfig,
    tensors: dict[str, torch.Tensor],
    dtype: torch.dtype,
    left: LeftRows | None = None,
) -> PreTrainedModel:
    """A model over ``tensors`` themselves: from_pretrained takes them as they are.

    With ``left``, those with a row a token hold the rows of ``left.ids`` only.
    """

    def build(state: dict[str, torch.Tensor]) -> Any:
        with no_bars():
            model, report = model_class.from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=dtype,
                attn_implementation=family_of(config).attention,
                output_loading_info=True,
            )
        faults = {kind: names for kind, names in report.items() if names}
        if faults:
            raise RuntimeError(f"transformers did not take every tensor: {faults}")
        return model.eval()

    model = build(tensors) if left is None else fill_with_rows(build, tensors, left, config)
    return cast("PreTrainedModel", model)
