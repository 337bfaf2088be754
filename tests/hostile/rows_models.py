"""Model folders and artefacts that are damaged, foreign or meant to run code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from hostile.table import Case, Make, both, content, gone, json_with, model_copy, run_copy, text

DEEP = "[" * 50_000 + "]" * 50_000
EVIL = """
from pathlib import Path
from transformers import LlamaConfig
Path("PWNED").touch()
class EvilConfig(LlamaConfig):
    model_type = "evilmodel"
"""


class Payload:
    """What no pickle may run."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("PWNED"),)  # type: ignore[return-value]


def code(folder: Path) -> None:
    """A configuration that asks for the code beside it."""
    json_with("config.json", model_type="evilmodel", auto_map={"AutoConfig": "evil.EvilConfig"})(
        folder
    )
    content("evil.py", EVIL)(folder)


def code_in_tokenizer(folder: Path) -> None:
    """The same by way of the tokenizer."""
    json_with(
        "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["evil.EvilTokenizer", None]},
        tokenizer_class="EvilTokenizer",
    )(folder)
    content("evil.py", EVIL)(folder)


def pickled(folder: Path) -> None:
    """Weights as a pickle that runs code."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))


def cut_short(folder: Path) -> None:
    """Weights without their end."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def header_bomb(folder: Path) -> None:
    """Weights whose header says that it is 2^60 bytes long."""
    (folder / "model.safetensors").write_bytes((2**60).to_bytes(8, "little") + b"{}")


def not_a_number(folder: Path) -> None:
    """Weights that are NaN."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = {name: tensor * float("nan") for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def low_context(folder: Path) -> None:
    """Ids of the tokenizer beyond the embeddings."""
    path = folder / "tokenizer.json"
    content_ = json.loads(path.read_text(encoding="utf-8"))
    vocab = content_["model"]["vocab"]
    content_["model"]["vocab"] = {word: place + 100_000 for word, place in vocab.items()}
    path.write_text(json.dumps(content_), encoding="utf-8")


def slow_pattern(folder: Path) -> None:
    """A pre-tokenizer whose pattern takes for ever."""
    path = folder / "tokenizer.json"
    content_ = json.loads(path.read_text(encoding="utf-8"))
    content_["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": "^(a+)+$"}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    path.write_text(json.dumps(content_), encoding="utf-8")


def task(**entries: Any) -> Make:
    """A run whose slimcls.json has these entries."""
    return run_copy(json_with("slimcls.json", **entries), "p-cls")


NOT_RUN = gone("PWNED", "RUN/model/PWNED", "M/PWNED")

#: A model folder for training, and what is said of it.
FOLDERS = (
    ("code beside it", code, "evilmodel"),
    ("weights that are a pickle", pickled, "pytorch_model.bin"),
    ("weights without their end", cut_short, "model.safetensors"),
    ("a header bomb", header_bomb, "model.safetensors"),
    ("quantised weights", json_with("config.json", quantization_config={
        "quant_method": "bitsandbytes", "load_in_4bit": True}), "quantised"),
    ("ten million layers", json_with("config.json", n_layer=10_000_000), "layers|weights|memory"),
    ("no layers", json_with("config.json", n_layer=0), "layer"),
    ("a vocabulary of words", json_with("config.json", vocab_size="many"), "config.json|vocab"),
    ("a context of words", json_with("tokenizer_config.json", model_max_length="x"), "tokenizer"),
    ("token ids beyond the embeddings", low_context, "token"),
    ("a configuration that is a list", content("config.json", "[1]"), "config.json"),
    ("a deep configuration", content("config.json", DEEP), "config.json"),
    ("a tokenizer that is none", content("tokenizer.json", "{"), "tokenizer"),
    ("weights that are NaN", not_a_number, "(?i)nan|finite"),
)  # fmt: skip

#: A finished run's model folder for predict, and what is said of it.
ARTEFACTS = (
    ("code beside it", code, "evilmodel"),
    ("weights that are a pickle", pickled, "safetensors|weights"),
    ("weights without their end", cut_short, "model"),
    ("a header bomb", header_bomb, "model"),
    ("weights that are NaN", not_a_number, "NaN|finite|not a number"),
    ("quantised weights", json_with("config.json", quantization_config={
        "quant_method": "bitsandbytes", "load_in_4bit": True}), "model"),
    ("ten million layers", json_with("config.json", n_layer=10_000_000), "model|layers"),
    ("token ids beyond the embeddings", low_context, "token"),
    ("a context of words", json_with("tokenizer_config.json", model_max_length="x"),
     "tokenizer|context|cannot be read"),
    ("deep slimcls.json", content("slimcls.json", DEEP), "slimcls.json"),
    ("slimcls.json that is a list", content("slimcls.json", "[]"), "slimcls.json"),
    ("no slimcls.json", lambda folder: (folder / "slimcls.json").unlink(), "slimcls"),
    ("a newer format", json_with("slimcls.json", format=99), "newer|format"),
)  # fmt: skip

#: Entries of slimcls.json, and what is said of them.
ENTRIES = (
    ("a template without text", {"template": "Answer:{label}"}),
    ("a template without label", {"template": "Text: {text}"}),
    ("a template the wrong way round", {"template": "{label} {text}"}),
    ("a template of nothing", {"template": ""}),
    ("a format without end", {"format": float("inf")}),
    ("half a surrogate", {"label_words": ["\ud800", "b", "c"]}),
    ("labels that are numbers", {"labels": [1, 2, 3]}),
    ("no labels", {"labels": []}),
    ("an unknown mode", {"mode": "zz"}),
    ("demonstrations of no class", {"demonstrations": [["a text", 9]]}),
)

CASES = [
    *(
        Case(
            f"train: {what}",
            "train --dataset {rev} --model M --shots all --mode cls --epochs 1",
            2,
            says,
            model_copy(change),
            stdin="y\n" * 9,
            check=NOT_RUN,
        )
        for what, change, says in FOLDERS
    ),
    *(
        Case(
            f"prune: {what}",
            "prune --model M --layers 0,1 --out P",
            2,
            says,
            model_copy(change),
            stdin="y\n" * 9,
            check=NOT_RUN,
        )
        for what, change, says in FOLDERS
        if "NaN" not in what and "token" not in what
    ),
    *(
        Case(
            f"predict: {what}",
            "predict RUN 'good rain'",
            2,
            says,
            run_copy(change),
            stdin="y\n" * 9,
            check=NOT_RUN,
        )
        for what, change, says in ARTEFACTS
    ),
    *(
        Case(
            f"predict: slimcls.json with {what}",
            "predict RUN 'good rain'",
            2,
            r"slimcls\.json",
            task(**entries),
        )
        for what, entries in ENTRIES
    ),
    Case(
        "predict: slimcls.json with a context beyond the model's",
        "predict RUN",
        2,
        "context",
        task(context=10**9),
        more=("rain " * 3000,),
    ),
    Case(
        "predict: a pattern that takes for ever",
        "predict RUN",
        2,
        "tokenizer",
        run_copy(slow_pattern),
        more=("a" * 60 + "!",),
    ),
    Case(
        "train: code for its tokenizer",
        "train --dataset {rev} {quick} --model M",
        0,
        "",
        model_copy(code_in_tokenizer),
        stdin="y\n" * 9,
        check=NOT_RUN,
    ),
    Case(
        "prune: code for its tokenizer",
        "prune --model M --layers 0,1 --out P",
        0,
        "",
        model_copy(code_in_tokenizer),
        stdin="y\n" * 9,
        check=NOT_RUN,
    ),
    Case(
        "predict: code for its tokenizer",
        "predict RUN 'good rain'",
        0,
        "0\\.",
        run_copy(code_in_tokenizer),
        stdin="y\n" * 9,
        check=NOT_RUN,
    ),
    Case("predict: a folder that is no run", "predict . 'good rain'", 2, "slimcls"),
    Case(
        "prune: known.json nested deep",
        "prune --model tiny-gpt2 --evaluate --criteria first --most 1 --text {rev} --out P",
        2,
        r"known\.json: cannot be read",
        text("P/known.json", '{"about": ' + DEEP + "}"),
    ),
    Case(
        "prune: known.json of other types",
        "prune --model tiny-gpt2 --evaluate --criteria first --most 1 --text {rev} --out P",
        2,
        "--out P: holds figures of other settings",
        text("P/known.json", '{"about": 1, "figures": 2}'),
    ),
    Case(
        "prune: scores nested deep",
        "prune --model tiny-gpt2 --select bi --keep 2 --scores s.json --out P",
        2,
        r"s\.json",
        text("s.json", DEEP),
    ),
    Case(
        "score: a file in the way",
        "score --model tiny-gpt2 --text {rev} --out s.json/x",
        2,
        "s.json",
        both(text("s.json", "mine")),
    ),
]
