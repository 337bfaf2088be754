"""What of a classifier's folder travels, and that nothing of this machine is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimcls.classifier.description import DESCRIPTION, WORDS, method_of
from slimcls.classifier.from_hub import is_part
from slimcls.errors import UserError, in_short
from slimcls.runs.schema import RunResult
from slimcls.storage.json_files import parse_json

CARD = "README.md"
#: Text files whose words are the vocabulary's: what looks like a path in them is a token.
_VOCABULARY = ("tokenizer.json",)

#: A path as JSON has it, on its own; in a text only those of this machine are told from words.
_ABSOLUTE = re.compile(r"/[^/\s].*/.*|~/.*|[A-Za-z]:[\\/].*|\\\\.*|file:/.*", re.DOTALL)
#: What of a description is the user's words, which may look like paths.
_OWN_WORDS = ("labels", "label_words", "template", "demonstrations")
#: Files with no words in them.
_BINARY = (".safetensors", ".onnx", ".skops")

#: Settings of a run that may be paths of the machine that it was trained on.
_PLACES = ("dataset", "model", "data_dir", "out", "scores", "teacher", "unlabelled", "metrics")


@dataclass(frozen=True)
class Parcel:
    """Files by their names on the hub, and what of the folder stays here."""

    files: dict[str, Path | bytes]
    left: tuple[str, ...]

    @property
    def megabytes(self) -> float:
        """Size of all files, in 10^6 bytes."""
        sizes = (
            len(file) if isinstance(file, bytes) else file.stat().st_size
            for file in self.files.values()
        )
        return sum(sizes) / 1e6


def packed(folder: Path, card: str) -> Parcel:
    """The files of a classifier's folder that are its parts, with the card in place of its own.

    What else lies there stays. Raises UserError where a part is a link to elsewhere.
    """
    files: dict[str, Path | bytes] = {}
    left = []
    for path in sorted(folder.iterdir()):
        if not is_part(path.name) or not path.is_file():
            left.append(path.name)
        elif path.is_symlink():
            raise UserError(f"{path}: is a link to another file; nothing was sent")
        else:
            files[path.name] = path
    files[CARD] = card.encode()
    return Parcel(files, tuple(left))


def texts_within(description: dict[str, Any]) -> str:
    """What of the training texts is part of a classifier, in words; empty where nothing is."""
    if description["mode"] == WORDS and method_of(description) != "tfidf":
        return ""
    if description["mode"] == WORDS:
        return "words of its training texts, with how they tell classes apart, are in it"
    shown = len(description.get("demonstrations", ()))
    if not shown:
        return ""
    return f"{shown} of its training texts are in it: the demonstrations of its prompt"


def check_parcel(parcel: Parcel, folder: Path, result: RunResult | None, token: str) -> None:
    """Raises UserError where a file names a place of this machine, or holds the token."""
    places = _places(folder, result)
    for name, file in parcel.files.items():
        if Path(name).suffix in _BINARY or name in _VOCABULARY:
            continue
        content = file if isinstance(file, bytes) else file.read_bytes()
        text = content.decode("utf-8", "replace")
        if token in text:
            raise UserError(f"{folder / name}: holds your token of the hub; nothing was sent")
        where = _place_in(text, places)
        if not where and name.endswith(".json"):
            said = _json(text)
            if name == DESCRIPTION and isinstance(said, dict):
                said = {key: value for key, value in said.items() if key not in _OWN_WORDS}
            where = next((word for word in _words(said) if _ABSOLUTE.fullmatch(word)), "")
        if where:
            raise UserError(
                f"{folder / name}: names a place of this machine ({in_short(where)}); take it out, "
                "then push; nothing was sent"
            )


def _places(folder: Path, result: RunResult | None) -> list[str]:
    """Paths that say where this was made: the user's home, this run, what its settings name."""
    found = {str(Path.home()), str(Path.cwd()), str(folder.resolve()), str(folder.resolve().parent)}
    if result:
        settings = (getattr(result.config, name) for name in _PLACES)
        found |= {value for value in settings if isinstance(value, str) and value.startswith("/")}
    return sorted(place for place in found if len(place) > 1)


def _place_in(text: str, places: list[str]) -> str:
    for place in places:
        if re.search(rf"(?:(?<![\w.:/])|(?<=file://)){re.escape(place)}(?![\w-])", text):
            return place
    return ""


def _json(text: str) -> object:
    try:
        return parse_json(text)
    except ValueError:
        return text


def _words(value: object) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _words(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from _words(one)
