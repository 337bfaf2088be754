"""The work of one run: prepare, plan, fit, test, save."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from slimcls import runs
from slimcls.backbones import saved
from slimcls.backbones.averaging import Linear, check_average
from slimcls.backbones.parts import amount
from slimcls.backbones.sizes import Sizes
from slimcls.backbones.truncate import open_cut, read_config
from slimcls.classifier.accuracy import metrics
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.exits import add_exits, cut_at, take_exits
from slimcls.classifier.modes import Classification, class_weights, head_of
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
from slimcls.session.probed import kept_answers
from slimcls.session.shared import Shared
from slimcls.session.teaching import lesson_of
from slimcls.training import tuning
from slimcls.training.averaged import make_plain
from slimcls.training.depths import DepthStates
from slimcls.training.features import Features
from slimcls.training.loop import Fitted, Work, begun, fit

if TYPE_CHECKING:
    from slimcls.rivals.beside import Beside


class Session:
    """One run, from settings without open ends to the result.

    Making one draws and encodes the items and checks the plan, and writes nothing; ``run`` works
    in the run's directory, which must be locked.
    """

    def __init__(self, place: Place, shared: Shared) -> None:
        self.place = place
        self.config, self.source, self.data = place.config, place.source, place.data
        self.folder, self.scores = place.folder, place.scores
        config, source, data = place.config, place.source, place.data
        self._full = read_config(source)
        self.features: Features | None = None
        self.started = time.perf_counter()
        if config.compile:
            check_compiler()
        if config.pool:
            check_average(self._full, len(data.spec.labels))
        if config.exits and config.keep != config.exits[-1]:
            raise UserError(
                f"--keep {config.keep}: --exits trains all depths at once: give --keep "
                f"{config.exits[-1]}, which leaves a run of {config.keep} layers too"
            )
        self.log = Log(quiet=runs.is_helper_process(config), aloud=shared.aloud)
        self.log.say(f"run directory: {place.folder}")
        self.inputs = shared.inputs(config, source, data, self.log)
        self.usual_tokens = shared.usual_tokens(source, data)
        self.lesson = lesson_of(config, data, self.inputs, self.log)
        self.inputs = replace(self.inputs, unlabelled=self.lesson.ids)
        tokens, rows = self.inputs.longest, self.inputs.rows
        self.plan = plan.make_plan(config, source, tokens, len(data.spec.labels), rows)
        self.log.say(self.plan.describe())
        self.plan.check(force=config.force)

    def missing(self, layers: Sequence[int]) -> int:
        """Bytes of weights that have to be fetched for the run to open ``layers``."""
        lm_head = self.inputs.mode.head == "lm"
        return sum(self.source.missing(self._full, layers, lm_head=lm_head).values())

    def fetch(self) -> None:
        """Fetch the weights that lack, before anything is written. Raises UserError."""
        layers = self.config.layers or ()
        if size := self.missing(layers):
            self.log.say(f"fetching {amount(size)} of weights: the kept layers, and what is around")
        self.source.stored(self._full, layers, lm_head=self.inputs.mode.head == "lm")

    def run(self) -> RunResult:
        """Fit, test, save. Only the last step makes the run a finished one."""
        self.log.keep(self.folder / "log.txt")
        runs.write_config(self.config, self.folder / "config.yaml")
        if self.scores:
            layer_scores.write_scores(self.scores, self.folder / layer_scores.SCORES_FILE)
        model, fitted = self._fit()
        exits = take_exits(model)
        for end, place, scores in zip(exits, self.place.exits, fitted.at_exits, strict=True):
            self._finish_exit(cut_at(model, end), place, fitted.at(scores))
        result = self._finish(model, fitted, self.place)
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        return result

    def _fit(self) -> tuple[PreTrainedModel, Fitted]:
        config, inputs, mode = self.config, self.inputs, self.inputs.mode
        assert config.layers is not None
        # Before the cut is opened: a teacher at full depth takes as much memory as all else.
        mode.soft_targets = self.lesson.targets(self.log)
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
            rows=inputs.tokens if self.plan.rows else None,
        )
        if config.exits:
            add_exits(model, config.exits[:-1])
        adapted = tuning.choose_trained(model, config)
        if config.class_weights:
            classes = len(self.data.spec.labels)
            mode.class_weights = class_weights(labels_of(inputs.splits.train), classes)
        shared = config.share_prefix and mode.shares_prefix
        prefix = inputs.encoder.shared_prefix_ids() if shared else []
        labels = labels_of(inputs.splits.train)
        labels += [0] * len(inputs.unlabelled)  # never read
        train = [
            mode.training_ids(ids, label)[len(prefix) :]
            for ids, label in zip([*inputs.train, *inputs.unlabelled], labels, strict=True)
        ]
        validation = [ids[len(prefix) :] for ids in inputs.validation]
        if config.tune == "head" and not config.recompute_features:
            self.features = Features(model, config, self.source, self.plan.device, self.log)
            if config.epochs:
                mode = self.features.mode(mode, [*train, *validation], prefix, config.precision)
            prefix = []
        validated = Items(validation, labels_of(inputs.splits.validation))
        work = Work(
            model, mode, config, Items(train, labels), validated, prefix, self.folder, self.log
        )
        if config.probe_first and not begun(work):
            self._set_heads(work)
        fitted = fit(work)
        return tuning.merge(adapted), fitted

    def _set_heads(self, work: Work) -> None:
        """Begin with heads that regressions found."""
        # Importing it takes as long as many a small run.
        from slimcls.training.probed_head import set_heads

        self.log.say("fitting logistic regression to the layers as they are, to begin with")
        right = set_heads(
            work.model,
            work.mode,
            work.train,
            work.validation,
            work.prefix,
            batch_size=self.config.eval_batch_size,
            device=self.plan.device,
        )
        said = ", ".join(f"{accuracy:.3f}" for accuracy in right)
        self.log.say(f"validation accuracy before training: {said}")

    def _finish_exit(self, model: PreTrainedModel, place: Place, fitted: Fitted) -> None:
        """Leave the run of an exit; it is there before the run of the whole training is."""
        with runs.locked(place.folder):
            runs.clear(place.folder)
            runs.write_config(place.config, place.folder / "config.yaml")
            result = self._finish(model, fitted, place)
        accuracy = result.outcome.test_accuracy
        self.log.say(f"{place.config.keep} layers: test accuracy {accuracy:.3f}, {place.folder}")

    def _finish(self, model: PreTrainedModel, fitted: Fitted, place: Place) -> RunResult:
        inputs, splits, mode = self.inputs, self.inputs.splits, self.inputs.mode
        if self.config.pool:
            head = head_of(model).weight.detach().cpu()
            make_plain(model, Linear(head, torch.zeros(len(head))), inputs.train, inputs.pad_id)
            mode = Classification()
        dtype = handover.saved_dtype(self.config)
        if dtype:
            saved.round_weights(model, dtype)
        classifier = Classifier(model, mode, inputs.encoder, inputs.task.labels)
        classifier.model.to(self.plan.device)
        logits = self._logits(classifier, self.inputs.test, "testing")
        scored = self._logits(classifier, self.inputs.validation, "validating")
        if fitted.epochs_run == 0 or dtype or self.config.pool:
            validation = metrics(scored, labels_of(splits.validation), classifier.labels)
            fitted.validation_accuracy = validation.accuracy
            fitted.validation_macro_f1 = validation.macro_f1
        found = Measured(
            config=place.config,
            method=method_of(place.config),
            data=self.data,
            source=self.source,
            splits=splits,
            footprint=self._footprint(self.plan.sizes_of(place.config.layers or [])),
            fitted=fitted,
            logits=logits,
            validation=scored,
            tokens=self.inputs.test,
            device=self.plan.device,
            latency_ms=classifier.latency([one.text for one in splits.test or splits.validation]),
            seconds=time.perf_counter() - self.started,
            scores_fingerprint=self.scores.fingerprint if self.scores else "",
            guessing=_guessing(self.config, len(classifier.labels)),
            lesson=self.lesson,
            beside=self._beside(logits),
        )
        classifier.confidence = found.confidence
        return complete(found, place.folder, lambda result: self._keep(classifier, result))

    def _beside(self, logits: torch.Tensor) -> dict[str, Beside]:
        """What rivals do on the same items, by name; none where they are not wanted, or cannot."""
        found = {}
        for name, (theirs, layers) in self._rivals.items():
            from slimcls.rivals.beside import held_against

            try:
                found[name] = held_against(theirs, self.inputs.splits, logits, layers)
            except ValueError as error:
                self.log.say(f"note: no {name} beside it: {error}")
        return found

    @cached_property
    def _rivals(self) -> dict[str, tuple[torch.Tensor, int | None]]:
        """Test logits of each rival, and how many layers it reads the output of."""
        if not self.config.baseline or not self.inputs.test:
            return {}
        # Importing it takes as long as many a small run.
        from slimcls.rivals.beside import words_logits

        found: dict[str, tuple[torch.Tensor, int | None]] = {}
        self.log.say("fitting TF-IDF and logistic regression to the same items")
        try:
            found["tfidf"] = words_logits(self.inputs.splits, self.data.spec.labels), None
        except ValueError as error:
            self.log.say(f"note: no TF-IDF beside it: {error}")
        states = DepthStates(self.source, self.plan.device, self.log)
        if probe := kept_answers(states, self.inputs):
            found["probe"] = probe
        return found

    def _footprint(self, sizes: Sizes) -> Footprint:
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
        return handover.megabytes(result.folder / "model")

    def _logits(self, classifier: Classifier, ids: list[list[int]], doing: str) -> torch.Tensor:
        if not ids:
            return torch.zeros(0, len(classifier.labels))
        self.log.say(doing)
        # Features are of weights that nothing has rounded.
        if self.features and not self.config.save_dtype:
            logits = self.features.logits(ids, classifier.prefix_ids)
        else:
            with tqdm(total=len(ids), disable=not self.log.bars, leave=False) as bar:
                logits = classifier.logits(ids, self.config.eval_batch_size, bar.update)
        if not logits.isfinite().all():
            raise Diverged(
                f"the logits became {logits.sum().item()} while {doing}: try a lower --lr, "
                "--clip 1 or --precision 32"
            )
        return logits


def _guessing(config: RunConfig, classes: int) -> float:
    """The loss where all classes are equally probable; 0 where it is over more than the classes."""
    over_classes = config.teacher is None and config.lm_loss in (None, LM_LOSSES[0])
    depths = len(config.exits or [config.keep])
    return depths * math.log(classes) if over_classes else 0.0


def method_of(config: RunConfig) -> str:
    """What a run of these settings is, as the column ``method`` has it."""
    if config.random_blocks:
        return "random-blocks"
    return "fine-tuned" if config.epochs else "untrained"
