"""The exported folder: graph, tokenizer and ``slimcls.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from slimcls.classifier.classifier import Classifier
from slimcls.classifier.description import DESCRIPTION, ONNX
from slimcls.classifier.onnx import write_onnx
from slimcls.classifier.runtime import MODEL, TOKENIZER, OnnxClassifier, open_exported
from slimcls.exporting.bits import Quantised, quantise
from slimcls.kinds import WHOLE
from slimcls.storage.hashes import sha256_of


class Export:
    """A folder that is being filled."""

    def __init__(self, classifier: Classifier, description: dict[str, Any], folder: Path) -> None:
        self.classifier, self.folder = classifier, folder
        self._description = description
        self.bits = WHOLE
        write_onnx(classifier, folder / MODEL)
        _write_tokenizer(classifier, folder / TOKENIZER)
        self._describe()

    def to_bits(self, bits: int) -> Quantised:
        """Put the matrices of the graph into fewer bits. Raises UserError where they do not fit."""
        whole = self.folder / MODEL
        fewer = whole.with_suffix(f".{bits}")
        done = quantise(whole, fewer, bits)
        fewer.replace(whole)
        self.bits = bits
        self._describe()
        return done

    def opened(self) -> OnnxClassifier:
        """The classifier as it is now."""
        return open_exported(self.folder, self._described())

    def megabytes(self) -> float:
        """Size of graph and tokenizer, in 10^6 bytes."""
        return sum((self.folder / name).stat().st_size for name in (MODEL, TOKENIZER)) / 1e6

    def _described(self) -> dict[str, Any]:
        hashes = {name: sha256_of(self.folder / name) for name in (MODEL, TOKENIZER)}
        prefix = len(self.classifier.prefix_ids)
        about = {"bits": self.bits, "prefix_tokens": prefix, "sha256": hashes}
        return self._description | {ONNX: about}

    def _describe(self) -> None:
        text = json.dumps(self._described(), indent=1, ensure_ascii=False)
        (self.folder / DESCRIPTION).write_text(text, encoding="utf-8")


def _write_tokenizer(classifier: Classifier, path: Path) -> None:
    """The tokenizer as it is in memory, which is more than the run's own file may say."""
    tokenizer = Tokenizer.from_str(classifier.encoder.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(path))
