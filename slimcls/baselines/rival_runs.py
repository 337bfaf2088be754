"""The work of one rival that reads no hidden state: draw, fit, choose, test, write."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from slimcls.backbones import sizes
from slimcls.backbones.packaged import write_card
from slimcls.backbones.sources import Source
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import depth_of, open_cut, read_config
from slimcls.classifier.accuracy import metrics
from slimcls.classifier.words import save_words
from slimcls.config import RunConfig
from slimcls.data.encoding import TextEncoder
from slimcls.data.spec import DatasetSpec
from slimcls.data.splits import Splits
from slimcls.log import Log
from slimcls.rivals.methods import (
    RIVALS,
    Embeddings,
    Rival,
    Vectoriser,
    coefficients,
    latency,
)
from slimcls.runs.folder import write_config
from slimcls.runs.schema import RunResult
from slimcls.session.handover import megabytes, saved_dtype
from slimcls.session.inputs import draw_items
from slimcls.session.outcome import Footprint, Measured, complete, labels_of
from slimcls.session.rival_card import describe_rival, rival_card
from slimcls.session.shared import Shared
from slimcls.training.loop import Fitted


@dataclass(frozen=True)
class Base:
    """What a rival takes from a model."""

    vectors: Embeddings
    depth: int
    params_full: int
    usual_tokens: int

    @property
    def params_kept(self) -> int:
        """The input embeddings alone."""
        return self.vectors.rows.size

    def texts_cut(self, splits: Splits) -> int:
        """Texts of all parts that are longer than what goes in."""
        parts = (splits.train, splits.validation, splits.test)
        return sum(self.vectors.encoder.encode([e.text for e in part]).n_cut for part in parts)


def measure_rival(
    config: RunConfig, method: str, shared: Shared, source: Source | None, folder: Path
) -> RunResult:
    """Measure one of :data:`~slimcls.rivals.methods.RIVALS` in the locked run ``folder``.

    ``source`` is the model whose embeddings it reads, if any. Only the last step makes the run a
    finished one. Raises UserError where texts, model and method do not go together.
    """
    started = time.perf_counter()
    log = begun(config, method, folder, aloud=shared.aloud)
    data = shared.tables(config)
    splits = draw_items(config, data)
    for note in dict.fromkeys((*data.notes, *splits.notes)):
        log.say(f"note: {note}")
    base = _open(config, source, shared.usual_tokens(source, data)) if source else None
    rival, fitted, validation = _fit(method, base, splits, data.spec.labels, log)
    texts = [example.text for example in splits.test]
    found = Measured(
        config=config,
        method=method,
        data=data,
        source=source,
        splits=splits,
        footprint=_footprint(rival, base, splits),
        fitted=fitted,
        logits=rival.logits(texts),
        validation=validation,
        calibrated=False,
        tokens=rival.vectoriser.tokens(texts),
        device="cpu",
        latency_ms=latency(lambda text: rival.logits([text]), texts),
        seconds=time.perf_counter() - started,
        chosen=rival.chosen,
        tried=[{"name": name, "accuracy": right} for name, right in rival.tried.items()],
    )
    return complete(found, folder, partial(_keep, rival, data.spec))


def _keep(rival: Rival, spec: DatasetSpec, result: RunResult) -> float:
    """Write the artefact if it is wanted, and give what it takes, in 10^6 bytes."""
    if result.config.save_model == "none":
        return rival.megabytes
    description = describe_rival(rival.names, spec, result)
    model = str(description.get("model", ""))
    save_words(
        rival.pipeline,
        description,
        result.folder / "model",
        lambda filled: write_card(filled, rival_card(result, description), model),
    )
    return megabytes(result.folder / "model")


def _footprint(rival: Rival, base: Base | None, splits: Splits) -> Footprint:
    if base is None:
        return Footprint(params_trained=coefficients(rival.classifier))
    return Footprint(
        depth=base.depth,
        params_full=base.params_full,
        params_kept=base.params_kept,
        params_saved=1 - base.params_kept / base.params_full,
        params_trained=coefficients(rival.classifier),
        embedding_share=1.0,
        text_tokens=base.vectors.encoder.max_text_tokens,
        usual_tokens=base.usual_tokens,
        texts_cut=base.texts_cut(splits),
    )


def begun(config: RunConfig, method: str, folder: Path, *, aloud: bool) -> Log:
    """The log of a baseline that begins; its settings are written."""
    log = Log(aloud=aloud)
    log.say(f"run directory: {folder}")
    log.keep(folder / "log.txt")
    write_config(config, folder / "config.yaml", method)
    return log


def _open(config: RunConfig, source: Source, usual_tokens: int) -> Base:
    """The model's input embeddings; of its layers the first is read and left."""
    tokenizer = open_tokenizer(source)
    encoder = TextEncoder(
        tokenizer,
        context=tokenizer.model_max_length,
        max_text_tokens=config.max_text_tokens,
        usual_tokens=usual_tokens,
    )
    full = read_config(source)
    model: Any = open_cut(source, (0,), head="lm")
    table = model.get_input_embeddings().weight
    vectors = Embeddings(encoder, table, saved_dtype(config))
    return Base(vectors, depth_of(full), sizes.count(full, (0,)).params_full, usual_tokens)


def _fit(
    method: str, base: Base | None, splits: Splits, names: tuple[str, ...], log: Log
) -> tuple[Rival, Fitted, Tensor]:
    """The rival, what fitting it came to, and its logits (validation items, classes)."""
    chosen = RIVALS[method]
    log.say(f"fitting: {chosen.what}")
    started = time.perf_counter()
    vectoriser: Vectoriser = base.vectors if base else chosen.vectoriser()
    rival = Rival(chosen, vectoriser, splits.train, splits.validation, names)
    seconds = time.perf_counter() - started
    tried = ", ".join(f"{name}: {accuracy:.3f}" for name, accuracy in rival.tried.items())
    log.say(f"chosen on validation: {rival.chosen} (accuracy of {tried})")
    logits = rival.logits([example.text for example in splits.validation])
    return rival, validated(logits, splits, names, seconds), logits


def validated(logits: Tensor, splits: Splits, names: tuple[str, ...], seconds: float) -> Fitted:
    """A baseline after ``seconds`` of fitting, with logits (validation items, classes)."""
    found = metrics(logits, labels_of(splits.validation), names)
    return Fitted(
        validation_accuracy=found.accuracy,
        validation_macro_f1=found.macro_f1,
        train_seconds=seconds,
    )
