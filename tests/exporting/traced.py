"""A graph that was traced before is not traced again: seconds for each, and the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slimcls.classifier.classifier import Classifier
from slimcls.classifier.onnx import write_onnx


def known_by(classifier: Classifier) -> str:
    """A hash of all that a graph is made of."""
    model, mode = classifier.model, classifier.mode
    found = hashlib.sha256(repr((type(mode), vars(mode), classifier.prefix_ids)).encode())
    found.update(model.config.to_json_string(use_diff=False).encode())
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.double().numpy().tobytes())
    return found.hexdigest()


@contextmanager
def traced_once() -> Iterator[None]:
    """Inside, an export writes the graph that it wrote of the same classifier before."""
    graphs: dict[str, bytes] = {}

    def written(classifier: Classifier, path: Path) -> None:
        if (key := known_by(classifier)) not in graphs:
            write_onnx(classifier, path)
            graphs[key] = path.read_bytes()
        path.write_bytes(graphs[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slimcls.exporting.folder.write_onnx", written)
        yield
