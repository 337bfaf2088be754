"""The work of one run: prepare, plan, fit, test, save."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from slimcls import artefact, measure, plan, runs, tuning
from slimcls.backbones.sources import Source
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import open_cut
from slimcls.checkpoints import BEST, load_trained
from slimcls.classifier import Classifier, shared_prefix
from slimcls.config import RunConfig
from slimcls.data.batches import Items
from slimcls.data.splits import Example
from slimcls.data.tables import Tables
from slimcls.fitting import Fitted, fit
from slimcls.inputs import Inputs, make_inputs
from slimcls.runs import RunResult


class Session:
    """One run in its directory, from settings without open ends to the result."""

    def __init__(self, config: RunConfig, source: Source, data: Tables, folder: Path) -> None:
        self.config, self.source, self.data, self.folder = config, source, data, folder
        self.started = time.perf_counter()
        self.log = runs.Log(folder / "log.txt")

    def run(self) -> RunResult:
        """All of it. Only the last step makes the run a finished one."""
        config = self.config
        self.log.say(f"run directory: {self.folder}")
        # Only a bare text can be empty, and prompts go in as the authors' did.
        tokenizer = open_tokenizer(self.source, never_empty=not config.uses_prompt)
        inputs = make_inputs(config, self.data, tokenizer, self.log)
        planned = plan.make_plan(config, self.source, inputs.longest, len(self.data.spec.labels))
        self.log.say(planned.describe())
        planned.check(force=config.force)
        runs.write_config(config, self.folder / "config.yaml")
        model, fitted = self._fit(tokenizer, inputs)
        labels = list(self.data.spec.labels)
        classifier = Classifier(model, tokenizer, inputs.mode, inputs.encoder, labels)
        return self._finish(classifier, inputs, fitted, planned)

    def _fit(self, tokenizer: Any, inputs: Inputs) -> tuple[Any, Fitted]:
        config, mode = self.config, inputs.mode
        assert config.layers is not None
        self.log.say(f"loading {config.keep} layers of {config.model}")
        model = open_cut(
            self.source,
            config.layers,
            head=mode.head,
            labels=self.data.spec.labels,
            dtype=torch.float32,
            seed=config.seed,
            pad_token_id=tokenizer.pad_token_id,
        )
        adapted = tuning.choose_trained(model, config)
        shared = config.share_prefix and mode.shares_prefix
        prefix = shared_prefix(inputs.encoder) if shared else []
        train = [
            mode.training_ids(ids, example.label)[len(prefix) :]
            for ids, example in zip(inputs.train, inputs.splits.train, strict=True)
        ]
        validation = [ids[len(prefix) :] for ids in inputs.validation]
        fitted = fit(
            model,
            mode,
            config,
            Items(train, _labels(inputs.splits.train)),
            Items(validation, _labels(inputs.splits.validation)),
            prefix,
            self.folder,
            self.log,
        )
        best = self.folder / "checkpoints" / BEST
        if best.exists():
            load_trained(model, best)
        return tuning.merge(adapted), fitted

    def _finish(
        self, classifier: Classifier, inputs: Inputs, fitted: Fitted, planned: plan.Plan
    ) -> RunResult:
        config, folder, splits = self.config, self.folder, inputs.splits
        classifier.model.to(planned.device)
        self.log.say("testing")
        scores = classifier.scores(inputs.test, config.eval_batch_size)
        test = measure.figures(scores, _labels(splits.test), classifier.labels)
        if fitted.epochs_run == 0:
            scores_ = classifier.scores(inputs.validation, config.eval_batch_size)
            validation = measure.figures(scores_, _labels(splits.validation), classifier.labels)
            fitted.validation_accuracy = validation.accuracy
            fitted.validation_macro_f1 = validation.macro_f1
        texts = [example.text for example in splits.test]
        outcome = measure.outcome(
            config,
            planned,
            inputs,
            fitted,
            test,
            source=self.source,
            data=self.data,
            run=folder.name,
            latency_ms=classifier.latency(texts),
            seconds=time.perf_counter() - self.started,
        )
        result = RunResult(config, outcome, folder)
        if config.save_model == "best":
            artefact.save(classifier, result, splits.demonstrations, self.data.spec)
            outcome.model_mb = artefact.megabytes(folder / "model")
        measure.write_predictions(folder, splits.test, scores, classifier.labels, inputs.test)
        runs.write_result(result)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return result


def _labels(examples: Sequence[Example]) -> list[int]:
    return [example.label for example in examples]
