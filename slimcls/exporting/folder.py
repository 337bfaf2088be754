"""The exported folder: model, tokenizer and ``slimcls.json``, in either format."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from slimcls.backbones import saved
from slimcls.classifier.artefact import load_run
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.confidence import Confidence
from slimcls.classifier.description import DESCRIPTION, ONNX
from slimcls.classifier.onnx import write_onnx
from slimcls.classifier.prediction import Predictor
from slimcls.classifier.runtime import MODEL, TOKENIZER, open_exported
from slimcls.data.prompts import PromptBuilder
from slimcls.exporting.bits import Quantised, quantise
from slimcls.kinds import WHOLE
from slimcls.storage.hashes import sha256_of


class Export(ABC):
    """A folder that is being filled."""

    def __init__(self, classifier: Classifier, description: dict[str, Any], folder: Path) -> None:
        self.classifier, self.folder = classifier, folder
        self.description = dict(description)

    @abstractmethod
    def opened(self) -> Predictor:
        """The classifier as it is now."""

    @abstractmethod
    def megabytes(self) -> float:
        """Size of model and tokenizer, in 10^6 bytes."""

    def calibrate(self, confidence: Confidence | None) -> None:
        """Say what its probabilities are worth; None where it was never asked.

        Then its scores are others than the run's, on which no promise can rest.
        """
        known = self.classifier.confidence
        if confidence is None and known:
            confidence = replace(known, named=(), true=(), right=())
        if confidence:
            self.description["confidence"] = confidence.as_json()
        self.describe()

    def describe(self) -> None:
        """Write ``slimcls.json``."""
        text = json.dumps(self.description, indent=1, ensure_ascii=False)
        (self.folder / DESCRIPTION).write_text(text, encoding="utf-8")


class Graph(Export):
    """An ONNX graph, for the runtime that needs no torch."""

    def __init__(self, classifier: Classifier, description: dict[str, Any], folder: Path) -> None:
        super().__init__(classifier, description, folder)
        self.bits = WHOLE
        write_onnx(classifier, folder / MODEL)
        _write_tokenizer(classifier, folder / TOKENIZER)
        self.describe()

    def to_bits(self, bits: int, *, grouped: bool = False) -> Quantised:
        """Put the matrices of the graph into fewer bits. Raises UserError where they do not fit.

        It may be done again in another way until :meth:`forget_whole`.
        """
        model = self.folder / MODEL
        if not self._whole.exists():
            model.replace(self._whole)
        done = quantise(self._whole, model, bits, grouped=grouped)
        self.bits = bits
        self.describe()
        return done

    def forget_whole(self) -> None:
        """Delete the graph in 32 bits that fewer bits were made of."""
        self._whole.unlink(missing_ok=True)

    @property
    def _whole(self) -> Path:
        return self.folder / f"{MODEL}.whole"

    def opened(self) -> Predictor:
        """The classifier as it is now, from its files."""
        return open_exported(self.folder, self.description)

    def megabytes(self) -> float:
        return sum((self.folder / name).stat().st_size for name in (MODEL, TOKENIZER)) / 1e6

    def describe(self) -> None:
        hashes = {name: sha256_of(self.folder / name) for name in (MODEL, TOKENIZER)}
        prefix = len(self.classifier.prefix_ids)
        self.description[ONNX] = {"bits": self.bits, "prefix_tokens": prefix, "sha256": hashes}
        super().describe()


class Plain(Export):
    """A folder that the Auto classes of transformers open, as a run's own model folder is."""

    def __init__(self, classifier: Classifier, description: dict[str, Any], folder: Path) -> None:
        super().__init__(classifier, description, folder)
        saved.save(
            classifier.model,
            classifier.encoder.tokenizer,
            folder,
            needs_prompt=isinstance(classifier.encoder, PromptBuilder),
        )
        self.describe()

    def opened(self) -> Predictor:
        """The classifier as it is now, from its files."""
        return load_run(self.folder)

    def megabytes(self) -> float:
        files = (*self.folder.glob("*.safetensors"), self.folder / TOKENIZER)
        return sum(path.stat().st_size for path in files) / 1e6


def _write_tokenizer(classifier: Classifier, path: Path) -> None:
    """The tokenizer as it is in memory, which is more than the run's own file may say."""
    tokenizer = Tokenizer.from_str(classifier.encoder.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    described = soon_read(json.loads(tokenizer.to_str()))
    text = json.dumps(described, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")


def soon_read(described: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer's file with its merges written the way that is read soonest.

    A string each in the place of a list: of 49,000 they take 30 ms less, a tenth of a first answer.
    It is how files had them before lists came; a part with a blank in it takes a list.
    """
    merges = described["model"].get("merges")
    if not merges or any(" " in part for pair in merges for part in pair):
        return described
    return described | {"model": described["model"] | {"merges": list(map(" ".join, merges))}}
