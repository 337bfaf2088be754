"""Writes a pruned language model as a plain Hugging Face folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from slimcls.backbones import saved, sizes
from slimcls.backbones.packaged import write_card
from slimcls.backbones.quiet import silence
from slimcls.backbones.sources import Source
from slimcls.backbones.tokenizers import stored_tokenizer
from slimcls.backbones.truncate import depth_of, open_cut, read_config
from slimcls.escaping import in_markdown
from slimcls.pruning.settings import DESCRIPTION
from slimcls.storage.files import replacing_folder
from slimcls.version import __version__


@dataclass(frozen=True)
class Pruned:
    """What was cut, as ``pruned.json`` beside the weights says it."""

    model: str
    source: str
    """Fingerprint of the uncut model."""
    source_note: str
    depth: int
    kept_layers: list[int]
    removed_layers: list[int]
    select: str
    scores: str
    """Fingerprint of the layer scores; empty where none chose."""
    text: str
    """What the layers were scored on; empty where on none."""
    params_full: int
    params_kept: int
    healed_steps: int = 0
    healed_on: str = ""
    perplexity: float | None = None
    """On held-out texts after the removal; null where it was not measured."""
    perplexity_healed: float | None = None
    slimcls_version: str = __version__


def describe(
    source: Source, layers: Sequence[int], *, select: str, scores: str = "", text: str = ""
) -> Pruned:
    """The description of a cut, counted on the configuration alone."""
    config = read_config(source)
    depth = depth_of(config)
    counted = sizes.count(config, tuple(layers))
    name = Path(source.name).name if Path(source.name).is_dir() else source.name
    return Pruned(
        model=name,
        source=source.fingerprint,
        source_note=source.note,
        depth=depth,
        kept_layers=list(layers),
        removed_layers=sorted(set(range(depth)) - set(layers)),
        select=select,
        scores=scores,
        text=text,
        params_full=counted.params_full,
        params_kept=counted.params_kept,
    )


def open_pruned(source: Source, layers: Sequence[int]) -> Any:
    """The causal language model with these layers, in the number format of its files."""
    stored = getattr(read_config(source), "dtype", None)
    dtype = stored if isinstance(stored, torch.dtype) else torch.float32
    return open_cut(source, layers, head="lm", dtype=dtype)


def write(model: Any, source: Source, about: Pruned, out: Path) -> None:
    """Write weights, tokenizer, card and ``pruned.json``, all or nothing.

    Raises UserError where the folder cannot be written.
    """
    model.config.slimcls_kept_layers = about.kept_layers
    model.generation_config = _generation(source, model)
    with silence():
        tokenizer = stored_tokenizer(source)
    text = json.dumps(dataclasses.asdict(about), indent=1, ensure_ascii=False)
    with replacing_folder(out) as folder:
        saved.save(model, tokenizer, folder)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        write_card(folder, card(about), about.model)


def _generation(source: Source, model: Any) -> Any:
    """How the uncut model generates: its end of text above all."""
    from transformers import GenerationConfig

    if (source.folder / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(source.folder)
    return GenerationConfig.from_model_config(model.config)


_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [slimcls, layer-pruning]
---

# {model} with {kept} of {depth} layers

Layers {removed} were removed ({how}); layers {stays} stay{healed}.
{saved:.1%} of the parameters are gone: {params_kept:,} of {params_full:,} stay, head not counted.
{note}
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")  # the folder of this page
model = AutoModelForCausalLM.from_pretrained(".")
words = tokenizer("The news today", return_tensors="pt")
print(tokenizer.decode(model.generate(**words, max_new_tokens=20)[0]))
```

Source of the weights: `{source}`. Written by slimcls {version}; `pruned.json` says it to programs.
"""


def card(about: Pruned) -> str:
    """The model card."""
    from slimcls.layers.score_report import ranges

    note = in_markdown(about.source_note)
    how = "named by hand" if about.select == "layers" else f"chosen by `{about.select}`"
    if about.text:
        how += f" on texts of {in_markdown(about.text)}"
    steps = (
        f", then all were healed with {about.healed_steps} steps of LoRA on "
        f"{in_markdown(about.healed_on)} "
        f"(perplexity {about.perplexity or 0:.4g} before, {about.perplexity_healed or 0:.4g} after)"
    )
    return _CARD.format(
        model=in_markdown(about.model),
        kept=len(about.kept_layers),
        depth=about.depth,
        removed=ranges(about.removed_layers) or "none",
        stays=ranges(about.kept_layers),
        how=how,
        healed=steps if about.healed_steps else "",
        saved=1 - about.params_kept / about.params_full,
        params_kept=about.params_kept,
        params_full=about.params_full,
        note=f"\nThe weights it was made from: {note}.\n" if note else "",
        source=about.source,
        version=about.slimcls_version,
    )
