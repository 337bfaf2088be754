"""The work of one run: prepare, plan, fit, test, save."""

from __future__ import annotations

import math
import shutil
import sys
import time
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from slimcls import runs
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.accuracy import metrics
from slimcls.classifier.classifier import Classifier, shared_prefix
from slimcls.classifier.modes import class_weights
from slimcls.classifier.trunk import check_compiler
from slimcls.config import RunConfig
from slimcls.data.batches import Items
from slimcls.errors import Diverged, UserError
from slimcls.kinds import LM_LOSSES
from slimcls.layers import layer_scores
from slimcls.log import Log
from slimcls.runs.schema import RunResult
from slimcls.session import handover, plan
from slimcls.session.outcome import Footprint, Measured, complete, labels_of
from slimcls.session.place import Place
from slimcls.session.shared import Shared
from slimcls.training import tuning
from slimcls.training.depths import DepthStates
from slimcls.training.features import Features
from slimcls.training.loop import Fitted, Work, fit

if TYPE_CHECKING:
    from slimcls.rivals.beside import Beside
    from slimcls.rivals.probe import PartStates


class Session:
    """One run, from settings without open ends to the result.

    Making one draws and encodes the items and checks the plan, and writes nothing; ``run`` works
    in the run's directory, which must be locked.
    """

    def __init__(self, place: Place, shared: Shared) -> None:
        self.config, self.source, self.data = place.config, place.source, place.data
        self.folder, self.scores = place.folder, place.scores
        config, source, data = place.config, place.source, place.data
        self.features: Features | None = None
        self.started = time.perf_counter()
        if config.compile:
            check_compiler()
        self.log = Log(quiet=runs.is_helper_process(config))
        self.log.say(f"run directory: {place.folder}")
        self.inputs = shared.inputs(config, source, data, self.log)
        self.usual_tokens = shared.usual_tokens(source, data)
        tokens, rows = self.inputs.longest, self.inputs.rows
        self.plan = plan.make_plan(config, source, tokens, len(data.spec.labels), rows)
        self.log.say(self.plan.describe())
        self.plan.check(force=config.force)

    def run(self) -> RunResult:
        """Fit, test, save. Only the last step makes the run a finished one."""
        self.log.keep(self.folder / "log.txt")
        runs.write_config(self.config, self.folder / "config.yaml")
        if self.scores:
            layer_scores.write_scores(self.scores, self.folder / layer_scores.SCORES_FILE)
        model, fitted = self._fit()
        inputs = self.inputs
        classifier = Classifier(model, inputs.mode, inputs.encoder, inputs.task.labels)
        return self._finish(classifier, fitted)

    def _fit(self) -> tuple[PreTrainedModel, Fitted]:
        config, inputs, mode = self.config, self.inputs, self.inputs.mode
        assert config.layers is not None
        layers = f"{config.keep} layers of {config.model}"
        drawn = f"drawing the weights of {layers} at random, loading its embeddings"
        self.log.say(drawn if config.random_blocks else f"loading {layers}")
        model = open_cut(
            self.source,
            config.layers,
            head=mode.head,
            labels=self.data.spec.labels,
            dtype=torch.float32,
            seed=config.seed,
            pad_token_id=self.inputs.pad_id,
            random_blocks=config.random_blocks,
        )
        adapted = tuning.choose_trained(model, config)
        if config.class_weights:
            classes = len(self.data.spec.labels)
            mode.class_weights = class_weights(labels_of(inputs.splits.train), classes)
        shared = config.share_prefix and mode.shares_prefix
        prefix = shared_prefix(inputs.encoder) if shared else []
        train = [
            mode.training_ids(ids, example.label)[len(prefix) :]
            for ids, example in zip(inputs.train, inputs.splits.train, strict=True)
        ]
        validation = [ids[len(prefix) :] for ids in inputs.validation]
        if config.tune == "head" and not config.recompute_features:
            self.features = Features(model, config, self.source, self.plan.device, self.log)
            if config.epochs:
                mode = self.features.mode(mode, [*train, *validation], prefix, config.precision)
            prefix = []
        work = Work(
            model,
            mode,
            config,
            Items(train, labels_of(inputs.splits.train)),
            Items(validation, labels_of(inputs.splits.validation)),
            prefix,
            self.folder,
            self.log,
        )
        fitted = fit(work)
        return tuning.merge(adapted), fitted

    def _finish(self, classifier: Classifier, fitted: Fitted) -> RunResult:
        splits = self.inputs.splits
        classifier.model.to(self.plan.device)
        logits = self._logits(classifier, self.inputs.test, "testing")
        scored = self._logits(classifier, self.inputs.validation, "validating")
        if fitted.epochs_run == 0:
            validation = metrics(scored, labels_of(splits.validation), classifier.labels)
            fitted.validation_accuracy = validation.accuracy
            fitted.validation_macro_f1 = validation.macro_f1
        found = Measured(
            config=self.config,
            method=method_of(self.config),
            data=self.data,
            source=self.source,
            splits=splits,
            footprint=self._footprint(),
            fitted=fitted,
            logits=logits,
            validation=scored,
            tokens=self.inputs.test,
            device=self.plan.device,
            latency_ms=classifier.latency([example.text for example in splits.test]),
            seconds=time.perf_counter() - self.started,
            scores_fingerprint=self.scores.fingerprint if self.scores else "",
            guessing=_guessing(self.config, len(classifier.labels)),
            beside=self._beside(logits),
        )
        classifier.confidence = found.confidence
        result = complete(found, self.folder, lambda result: self._keep(classifier, result))
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        return result

    def _beside(self, logits: torch.Tensor) -> dict[str, Beside]:
        """What rivals do on the same items, by name; none where they are not wanted, or cannot."""
        if not self.config.baseline:
            return {}
        # Importing it takes as long as many a small run.
        from slimcls.rivals import beside

        splits, names = self.inputs.splits, self.data.spec.labels
        found = {}
        self.log.say("fitting TF-IDF and logistic regression to the same items")
        try:
            found["tfidf"] = beside.words_beside(splits, names, logits)
        except (UserError, ValueError) as error:
            self.log.say(f"note: no TF-IDF beside it: {error}")
        if states := self._states():
            self.log.say("fitting probes to kept states of the uncut model, frozen")
            found["probe"] = beside.probe_beside(states, splits, names, logits)
        return found

    def _states(self) -> PartStates | None:
        """States of all items at all depths, where a probe has left them in the cache."""
        from slimcls.rivals.probe import PartStates

        inputs, prefix = self.inputs, shared_prefix(self.inputs.encoder)
        states = DepthStates(self.source, self.plan.device, self.log)
        kept = []
        for items in (inputs.test, inputs.validation, inputs.train):
            if (found := states.kept(items, prefix)) is None:
                return None
            kept.append(found)
        return PartStates(test=kept[0], validation=kept[1], train=kept[2])

    def _footprint(self) -> Footprint:
        sizes = self.plan.sizes
        return Footprint(
            depth=self.plan.depth,
            params_full=sizes.params_full,
            params_kept=sizes.params_kept,
            params_saved=sizes.params_saved,
            params_trained=self.plan.params_trained,
            embedding_share=sizes.embedding_share,
            text_tokens=self.inputs.encoder.max_text_tokens,
            usual_tokens=self.usual_tokens,
            texts_cut=self.inputs.texts_cut,
        )

    def _keep(self, classifier: Classifier, result: RunResult) -> float:
        """Write the artefact if it is wanted, and give its size in 10^6 bytes."""
        if self.config.save_model == "none":
            return 0.0
        handover.save_artefact(classifier, self.inputs.task, result, self.data.spec.name)
        return handover.megabytes(self.folder / "model")

    def _logits(self, classifier: Classifier, ids: list[list[int]], doing: str) -> torch.Tensor:
        self.log.say(doing)
        if self.features:
            logits = self.features.logits(ids, classifier.prefix_ids)
        else:
            with tqdm(total=len(ids), disable=not sys.stderr.isatty(), leave=False) as bar:
                logits = classifier.logits(ids, self.config.eval_batch_size, bar.update)
        if not logits.isfinite().all():
            raise Diverged(
                f"the logits became {logits.sum().item()} while {doing}: try a lower --lr, "
                "--clip 1 or --precision 32"
            )
        return logits


def _guessing(config: RunConfig, classes: int) -> float:
    """The loss where all classes are equally probable; 0 where it is over more than the classes."""
    return math.log(classes) if config.lm_loss in (None, LM_LOSSES[0]) else 0.0


def method_of(config: RunConfig) -> str:
    """What a run of these settings is, as the column ``method`` has it."""
    if config.random_blocks:
        return "random-blocks"
    return "fine-tuned" if config.epochs else "untrained"
