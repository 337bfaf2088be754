"""An exported classifier in use: tokenizers, onnxruntime and numpy alone, no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from slimcls.classifier.confidence import Confidence
from slimcls.classifier.description import DESCRIPTION, ONNX, task_of
from slimcls.classifier.prediction import Predictor
from slimcls.classifier.task import Encoder
from slimcls.data.by_length import batches_by_length
from slimcls.data.fast_tokenizer import FastTokenizer
from slimcls.errors import UserError
from slimcls.storage.hashes import sha256_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from transformers import PreTrainedTokenizerFast

#: The graph and the tokenizer of an exported folder.
MODEL, TOKENIZER = "model.onnx", "tokenizer.json"
#: What goes into the graph, ids (items, tokens) and lengths (items,), and what comes out.
IDS, LENGTHS, LOGITS = "ids", "lengths", "logits"


class OnnxClassifier(Predictor):
    """Classifies texts with an exported model, as the run that it was exported from would.

    Threads may share one.
    """

    def __init__(
        self,
        session: InferenceSession,
        encoder: Encoder,
        labels: Sequence[str],
        confidence: Confidence | None = None,
    ) -> None:
        super().__init__(encoder, labels, confidence)
        self._session = session
        #: Tokens that every text begins with, which the graph has read already.
        self.prefix_tokens = len(encoder.shared_prefix_ids())

    @property
    def classes(self) -> object:
        """Logits that the graph gives of a text."""
        return self._session.get_outputs()[0].shape[-1]

    def logits(
        self,
        ids: Sequence[list[int]],
        batch_size: int = 64,
        done: Callable[[int], object] | None = None,
    ) -> NDArray[np.float32]:
        """Logits (texts, classes), float32, of whole encoded texts, in their order."""
        logits = np.zeros((len(ids), len(self.labels)), np.float32)
        rest = [item[self.prefix_tokens :] for item in ids]
        for places in batches_by_length([len(item) for item in rest], batch_size):
            lengths = np.array([len(rest[place]) for place in places])
            padded = np.zeros((len(places), lengths.max()), np.int64)
            for row, place in enumerate(places):
                padded[row, : len(rest[place])] = rest[place]
            logits[places] = self._session.run([LOGITS], {IDS: padded, LENGTHS: lengths})[0]
            if done:
                done(len(places))
        return logits


def open_exported(
    folder: Path, description: dict[str, Any], threads: int | None = None
) -> OnnxClassifier:
    """Open a folder of ``slimcls export``, whose ``slimcls.json`` says that it is one.

    Raises UserError where its files are damaged, or not of one export.
    """
    _check_files(folder, description[ONNX]["sha256"])
    task = task_of(description)
    tokenizer = FastTokenizer(folder / TOKENIZER)
    try:
        encoder = task.saved_encoder(cast("PreTrainedTokenizerFast", tokenizer))
    except UserError as error:
        raise UserError(f"{folder / DESCRIPTION}: {error}") from error
    session = _session(folder / MODEL, threads)
    classifier = OnnxClassifier(session, encoder, task.labels, task.confidence)
    _check_fit(folder, classifier, description)
    return classifier


def _check_files(folder: Path, hashes: dict[str, Any]) -> None:
    """UserError where a file is not the one that was exported: damaged, or of another export."""
    for name in (MODEL, TOKENIZER):
        path = folder / name
        try:
            found = sha256_of(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); export again") from None
        if found != hashes.get(name):
            raise UserError(
                f"{path}: is damaged or of another export ({DESCRIPTION} has another hash); "
                "export again"
            )


def _session(path: Path, threads: int | None) -> InferenceSession:
    """The graph, ready to run on the processor. Raises UserError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    # Between the nodes of a graph threads wait for microseconds: they spin, and sleep behind it.
    # Who says how many there are shares the processors, and what spins takes one from others: a
    # server's slowest requests then wait twice as long.
    options.add_session_config_entry("session.intra_op.allow_spinning", "01"[threads is None])
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises many kinds
        reason = str(error).strip().partition("\n")[0][:160]
        raise UserError(f"{path}: onnxruntime cannot open it ({reason})") from None


def _check_fit(folder: Path, classifier: OnnxClassifier, description: dict[str, Any]) -> None:
    """UserError where graph and description are not of one export."""
    said, found = description[ONNX]["prefix_tokens"], classifier.prefix_tokens
    if said != found:
        fault = f"{found} tokens before every text, not {said}"
    elif classifier.classes != len(classifier.labels):
        fault = f"{classifier.classes} classes, {DESCRIPTION} {len(classifier.labels)} labels"
    else:
        return
    raise UserError(f"{folder}: has {fault}; export again")
