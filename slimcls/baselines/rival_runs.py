"""The work of one rival that keeps no layer: draw, fit, choose, test, write."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slimcls import runs
from slimcls.backbones import sizes
from slimcls.backbones.sources import Source
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import depth_of, open_cut, read_config
from slimcls.baselines.rivals import METHODS, Embeddings, Rival, Vectoriser
from slimcls.classifier.accuracy import Metrics, metrics
from slimcls.config import RunConfig
from slimcls.data.prompts import TextEncoder
from slimcls.data.splits import Example, Splits
from slimcls.data.tables import Tables
from slimcls.log import Log
from slimcls.runs.schema import Outcome, RunResult
from slimcls.session import outcome
from slimcls.session.inputs import draw_items
from slimcls.storage.files import write_text
from slimcls.training.loop import Fitted

NAN = float("nan")


@dataclass(frozen=True)
class Base:
    """What a rival takes from a model."""

    vectors: Embeddings
    depth: int
    params_full: int

    def columns(self) -> dict[str, Any]:
        """The model's columns of a result row."""
        kept = self.vectors.table.numel()
        return {
            "depth": self.depth,
            "params_full": self.params_full,
            "params_kept": kept,
            "params_saved": 1 - kept / self.params_full,
            "embedding_share": 1.0,
            "text_tokens": self.vectors.encoder.max_text_tokens,
        }


#: The model's columns of a rival that has none.
NO_MODEL: dict[str, Any] = {
    "depth": 0, "params_full": 0, "params_kept": 0, "params_saved": NAN, "embedding_share": NAN,
    "text_tokens": 0,
}  # fmt: skip


def run(
    config: RunConfig, method: str, data: Tables, source: Source | None, folder: Path
) -> RunResult:
    """Measure one of :data:`~slimcls.baselines.rivals.METHODS` in the locked run ``folder``.

    ``source`` is the model whose embeddings it reads, if any. Only the last step makes the run a
    finished one. Raises UserError where texts, model and method do not go together.
    """
    started = time.perf_counter()
    log = _log(config, method, folder)
    splits = draw_items(config, data)
    for note in dict.fromkeys((*data.notes, *splits.notes)):
        log.say(f"note: {note}")
    base = _open(config, source) if source else None
    rival, fitted = _fit(method, base, splits, data.spec.labels, log)
    test = _figures(rival, splits.test, data.spec.labels)
    texts = [example.text for example in splits.test]
    found = Outcome(
        method=method,
        **outcome.about(folder.name, "cpu"),
        **outcome.origin(data, source),
        **(base.columns() if base else NO_MODEL),
        params_trained=rival.coefficients,
        texts_cut=_texts_cut(base, splits),
        **outcome.items(splits, prompted=False),
        **outcome.accuracy(splits, fitted, test),
        model_mb=rival.megabytes,
        latency_ms=rival.latency(texts),
        **outcome.cost(fitted, time.perf_counter() - started, "cpu"),
    )
    result = RunResult(config, found, folder)
    tokens = rival.vectoriser.tokens(texts)
    outcome.write_predictions(folder, splits.test, rival.logits(texts), data.spec.labels, tokens)
    runs.write_result(result)
    return result


def _log(config: RunConfig, method: str, folder: Path) -> Log:
    log = Log()
    log.say(f"run directory: {folder}")
    log.keep(folder / "log.txt")
    settings = dataclasses.asdict(config) | {"method": method}
    write_text(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
    return log


def _open(config: RunConfig, source: Source) -> Base:
    """The model's input embeddings; of its layers the first is read and left."""
    tokenizer = open_tokenizer(source)
    encoder = TextEncoder(
        tokenizer, context=tokenizer.model_max_length, max_text_tokens=config.max_text_tokens
    )
    full = read_config(source)
    model: Any = open_cut(source, (0,), head="lm")
    vectors = Embeddings(encoder, model.get_input_embeddings().weight)
    return Base(vectors, depth_of(full), sizes.count(full, (0,)).params_full)


def _fit(
    method: str, base: Base | None, splits: Splits, names: tuple[str, ...], log: Log
) -> tuple[Rival, Fitted]:
    chosen = METHODS[method]
    log.say(f"fitting: {chosen.what}")
    started = time.perf_counter()
    vectoriser: Vectoriser = base.vectors if base else chosen.vectoriser()
    rival = Rival(chosen, vectoriser, splits.train, splits.validation, names)
    seconds = time.perf_counter() - started
    tried = ", ".join(f"{name}: {accuracy:.3f}" for name, accuracy in rival.tried.items())
    log.say(f"chosen on validation: {rival.chosen} (accuracy of {tried})")
    found = _figures(rival, splits.validation, names)
    fitted = Fitted(
        validation_accuracy=found.accuracy,
        validation_macro_f1=found.macro_f1,
        train_seconds=seconds,
    )
    return rival, fitted


def _figures(rival: Rival, items: tuple[Example, ...], names: tuple[str, ...]) -> Metrics:
    logits = rival.logits([example.text for example in items])
    return metrics(logits, [example.label for example in items], names)


def _texts_cut(base: Base | None, splits: Splits) -> int:
    if base is None:
        return 0
    parts = (splits.train, splits.validation, splits.test)
    return sum(base.vectors.encoder.encode([e.text for e in part]).n_cut for part in parts)
