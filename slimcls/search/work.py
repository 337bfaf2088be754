"""A fit from its settings to its answer: look, plan, try, choose, confirm, hand over."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from slimcls.backbones import sources
from slimcls.backbones.averaging import check_average
from slimcls.backbones.families import family_of
from slimcls.backbones.sources import Source
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import depth_of, read_config
from slimcls.config import RunConfig
from slimcls.data.dataset import read_dataset
from slimcls.data.unlabelled import draw_unlabelled
from slimcls.devices import accelerator_for, torch_device
from slimcls.errors import UserError
from slimcls.log import Log
from slimcls.rivals.probe import PartStates, Probe
from slimcls.search import telling
from slimcls.search.answer import Answer, Candidate, ClassScore, DepthOpinion
from slimcls.search.candidates import Bench, Tried
from slimcls.search.choosing import Choice, best_of, choose, may_lose
from slimcls.search.confirming import Confirmation, confirm
from slimcls.search.costs import Texts
from slimcls.search.doctor import look
from slimcls.search.handover import MODEL, hand_over, hand_over_small
from slimcls.search.kept_plan import keep_plan, kept_plan
from slimcls.search.opinions import second_opinions
from slimcls.search.page_words import number
from slimcls.search.plan import CHEAPEST, CONFIRMING, READING, TRAINING, Plan, make_plan
from slimcls.search.progress import Progress
from slimcls.search.settings import FitConfig, seconds_of
from slimcls.search.speed import measure_speed
from slimcls.session.handover import megabytes
from slimcls.session.inputs import Inputs, draw_items
from slimcls.session.outcome import labels_of
from slimcls.session.plan import make_plan as plan_of_run
from slimcls.session.settle import precision_of
from slimcls.session.shared import Shared
from slimcls.training.depths import DepthStates

#: Share by which frozen layers may be behind the best ones where more of them have ceased to help.
FLAT = 0.01
_PURPOSES = {"validation": "choose by", "test": "test on"}


class Fit:
    """One fit. Making it looks at the data and plans; ``run`` tries, chooses and hands over."""

    def __init__(self, config: FitConfig, log: Log) -> None:
        self.config, self.log = config, log
        self.started = time.perf_counter()
        sources.check_name(config.model, config.revision)
        self.look = look(
            config.dataset,
            config.folder,
            data_dir=Path(config.data_dir) if config.data_dir else None,
            text_column=config.text_column,
            label_column=config.label_column,
            unlabelled=config.unlabelled,
        )
        for finding in self.look.findings:
            log.say(f"data: {finding.sentence}{f' ({finding.done})' if finding.done else ''}")
        self.shared = Shared(aloud=False)
        self.data = read_dataset(
            self.look.dataset,
            data_dir=config.data_dir,
            text_column=self.look.text_column,
            label_column=self.look.label_column,
            skip_bad_rows=self.look.skips,
        )
        self.plan = self._plan()
        self.bench = self._bench(self.plan)
        # As TF-IDF has them; the plan's notes say where layers are trained on fewer.
        splits = draw_items(replace(self._settings, shots=config.shots), self.data)
        self.rows = {
            "training": len(splits.train),
            "validation": len(splits.validation),
            "test": len(splits.test),
        }
        for part in ("validation", "test"):
            if self.rows[part] < 2:
                held = f"{self.rows[part]} text to {_PURPOSES[part]}"
                raise UserError(f"{config.dataset}: {held}; a fit needs two")
        for line in telling.plan_lines(self.plan, self.rows, len(self.data.spec.labels)):
            log.say(line)

    def _bench(self, plan: Plan) -> Bench:
        config, averages = self.config, self._averages
        return Bench(
            config,
            plan,
            self.look,
            self.data,
            self.shared,
            config.folder,
            averages,
            self._tokenizer_megabytes,
        )

    @property
    def _settings(self) -> RunConfig:
        """Those of a run of the search."""
        return self.bench.settings(1, self.config.seed, save=False)

    @cached_property
    def _source(self) -> Source:
        config = self.config
        named = RunConfig(dataset=config.dataset, model=config.model, revision=config.revision)
        return self.shared.source(named)

    @cached_property
    def _depth(self) -> int:
        return depth_of(read_config(self._source))

    @cached_property
    def _tokenizer_megabytes(self) -> float:
        """Of its files, as they lie beside a cut's weights."""
        with tempfile.TemporaryDirectory() as folder:
            open_tokenizer(self._source).save_pretrained(folder)
            return megabytes(Path(folder))

    @cached_property
    def _device(self) -> str:
        return torch_device(accelerator_for("auto"))

    def _inputs(self) -> Inputs:
        return self.shared.inputs(self._settings, self._source, self.data, Log(quiet=True))

    def _plan(self) -> Plan:
        """The plan that was kept, or a new one, which is kept."""
        config = self.config
        if kept := kept_plan(config, self.data.fingerprint):
            return kept
        self.log.say("timing this machine")
        whole = Plan(None, None, (), (), 1, 1)
        self.bench = self._bench(whole)
        family = family_of(read_config(self._source))
        if not family.classifies:
            raise UserError(
                f"--model {config.model}: transformers has no classifier of {family.name}, and a "
                "fit tries nothing else; slimcls train --mode lm can use it"
            )
        inputs = self._inputs()
        tokens = sum(map(len, inputs.train)) / len(inputs.train)
        bf16 = precision_of(self._settings, accelerator_for("auto"), tokens) == "bf16"
        speed = measure_speed(self._source, inputs.train, inputs.pad_id, self._device, bf16=bf16)
        classes = torch.tensor(labels_of(inputs.splits.train)).bincount().tolist()
        texts = Texts(
            tuple(map(len, inputs.train)),
            tuple(classes),
            tuple(map(len, inputs.validation)),
            sum(len(item.text) for item in inputs.splits.train),
            self._unlabelled(inputs),
        )
        found = make_plan(
            texts,
            self._depth,
            speed,
            seconds_of(config.budget),
            lambda keep: self._fits(keep, inputs),
        )
        keep_plan(config, self.data.fingerprint, found)
        return found

    def _unlabelled(self, inputs: Inputs) -> tuple[int, ...]:
        """Tokens of the texts without labels."""
        if self.config.unlabelled is None:
            return ()
        drawn = draw_unlabelled(
            self.config.unlabelled,
            self.data,
            inputs.splits,
            column=self.look.text_column,
            size=None,
            seed=self.config.seed,
        )
        return tuple(map(len, inputs.encoder.encode(list(drawn.texts)).ids))

    def _fits(self, keep: int, inputs: Inputs) -> bool:
        """Whether training so many layers fits into memory."""
        settings = replace(
            self._settings,
            keep=keep,
            layers=list(range(keep)),
            accelerator=accelerator_for("auto"),
            precision="32",
            lr=1e-4,
        )
        classes = len(self.data.spec.labels)
        needs = plan_of_run(settings, self._source, inputs.longest, classes, inputs.rows)
        return needs.memory.total <= needs.available

    def run(self) -> Answer:
        """Try, choose, confirm, hand over."""
        seconds = self.plan.seconds
        with Progress(self.plan.total, self.log) as progress:
            with progress.step(CHEAPEST, seconds[CHEAPEST]):
                tried = [self._show(one) for one in self.bench.rivals()]
            opinions: list[DepthOpinion] = []
            measured: list[Candidate] = []
            if self.plan.frozen:
                with progress.step(READING, seconds[READING]):
                    frozen, opinions, measured = self._frozen()
                    tried += frozen
            if self.plan.depths:
                with progress.step(TRAINING, seconds[TRAINING]):
                    tried += self._search(tried, opinions)
            choice = choose(tried, self.config)
            with progress.step(CONFIRMING, seconds[CONFIRMING]):
                found = confirm(self.bench, choice)
        choice, told = self._weighed(choice, found)
        scores = telling.class_scores(found.handed_over)
        small = False
        if self.config.bits is not None and choice.chosen.candidate.layers is not None:
            self.log.say(f"exporting the choice in {self.config.bits} bits")
            small, said = hand_over_small(self.config, found.handed_over)
            self.log.say(f"  {said}")
            told.append(said)
        answer = self._answer(choice, found, scores, measured, opinions)
        answer = replace(
            answer,
            commands=telling.commands(
                self.config, choice.chosen.candidate, found.handed_over, small=small
            ),
            notes=(*self.plan.notes, *told),
        )
        hand_over(answer, found.handed_over, self.config.folder)
        return answer

    def _weighed(self, choice: Choice, found: Confirmation) -> tuple[Choice, list[str]]:
        """The choice with the size of the folder that is handed over, and what is to be told."""
        size = megabytes(found.handed_over.folder / MODEL)
        chosen, limit = choice.chosen, self.config.max_mb
        weighed = replace(chosen, candidate=replace(chosen.candidate, megabytes=size))
        tried = tuple(weighed if one.candidate.chosen else one for one in choice.tried)
        told = []
        if limit is not None and chosen.candidate.megabytes <= limit < size:
            told = [f"{MODEL}/ takes {size:g} MB, more than --max-mb {limit:g} and the estimate"]
        best = weighed if choice.best.candidate.chosen else choice.best
        return replace(choice, tried=tried, chosen=weighed, best=best), told

    def _show(self, one: Tried) -> Tried:
        found = one.candidate
        late = ", had not stopped improving" if found.converged is False else ""
        takes = f"{number(found.megabytes)} MB, {number(found.milliseconds)} ms a text"
        self.log.say(
            f"  {found.name}: {found.accuracy:.3f} of validation ({found.low:.3f} to "
            f"{found.high:.3f}), {takes}{late}"
        )
        return one

    def _frozen(self) -> tuple[list[Tried], list[DepthOpinion], list[Candidate]]:
        """Frozen layers at each depth that time suffices for.

        What can be handed over of them, what their states alone say, and in families of which
        nothing can be, how accurate they are.
        """
        tried, measured, depths = [], [], sorted(self.plan.frozen)
        settings = self.bench.frozen_settings(1, self.config.seed)
        inputs = self.shared.inputs(settings, self._source, self.data, Log(quiet=True))
        source = DepthStates(self._source, self._device, Log(aloud=False), deepest=depths[-1])
        prefix = inputs.encoder.shared_prefix_ids()
        train = source.of(inputs.train, prefix)[:, depths]
        right = []
        for place, depth in enumerate(depths):
            if self._averages:
                tried.append(
                    self._show(self.bench.tried(self.bench.frozen(depth, self.config.seed)))
                )
                right.append(tried[-1].candidate.accuracy)
                continue
            validation = source.of(inputs.validation, prefix)[:, [depth]]
            states = PartStates(train[:, [place]], validation, validation[:0])
            probe = Probe(states, inputs.splits, len(self.data.spec.labels), ["mean"])
            at = replace(probe.chosen, layers=depth)
            measured.append(self.bench.probed(at, self._depth, len(inputs.validation)))
            right.append(at.accuracy)
            self.log.say(f"  {measured[-1].name}: {at.accuracy:.3f} of validation")
        second = second_opinions(train, labels_of(inputs.splits.train))
        opinions = [
            DepthOpinion(
                layers=depth,
                probe_accuracy=accuracy,
                variability=also.variability,
                logme=also.logme,
            )
            for depth, accuracy, also in zip(depths, right, second, strict=True)
        ]
        return tried, opinions, measured

    @cached_property
    def _averages(self) -> bool:
        """Whether a classifier of the mean over tokens can be handed over."""
        config = read_config(self._source)
        try:
            check_average(config, len(self.data.spec.labels))
        except UserError:
            return False
        return True

    def _search(self, rivals: Sequence[Tried], opinions: Sequence[DepthOpinion]) -> list[Tried]:
        """The reference, then cuts: shallower as long as little enough is lost, else deeper."""
        deepest, *rest = self.plan.depths
        tried = [self._cut(deepest)]
        best = best_of([*rivals, *tried])
        place = _start(rest, opinions)
        down = None
        while 0 <= place < len(rest):
            tried.append(self._cut(rest[place]))
            passed = may_lose(tried[-1], best, self.config.max_loss)
            if down is None:
                down = passed
            elif down != passed:
                break
            place += 1 if down else -1
        return tried

    def _cut(self, keep: int) -> Tried:
        return self._show(self.bench.tried(self.bench.cut(keep, self.config.seed)))

    def _answer(
        self,
        choice: Choice,
        found: Confirmation,
        scores: tuple[ClassScore, ...],
        measured: Sequence[Candidate],
        opinions: Sequence[DepthOpinion],
    ) -> Answer:
        config, difference = self.config, found.difference
        loss, low, high = None, None, None
        if difference is not None:
            loss, (low, high) = -difference.mean, (-end for end in reversed(difference.interval()))
        return Answer(
            name=config.folder.name,
            sentence=telling.sentence(choice, found, config, measured),
            verdict=found.verdict,
            max_loss=config.max_loss,
            dataset=config.dataset,
            model=config.model,
            rows=self.rows,
            classes=self.look.classes,
            findings=self.look.findings,
            candidates=(*(one.candidate for one in choice.tried), *measured),
            confirmed=found.confirmed,
            other=found.other,
            loss=loss,
            loss_low=low,
            loss_high=high,
            detectable=found.detectable,
            per_class=scores,
            mistakes=tuple(
                replace(one, place=self.look.place("test", one.id))
                for one in telling.worst_mistakes(found.handed_over, found.test)
            ),
            opinions=tuple(opinions),
            advice=telling.advice(choice, found, self.plan, config, scores, measured),
            seconds=time.perf_counter() - self.started,
        )


def _flat(opinions: Sequence[DepthOpinion]) -> int:
    """The depth from which on frozen states hold about as much as anywhere."""
    best = max(one.probe_accuracy for one in opinions)
    return min(max(one.layers, 1) for one in opinions if one.probe_accuracy >= best - FLAT)


def _start(rungs: Sequence[int], opinions: Sequence[DepthOpinion]) -> int:
    """Which of the depths, deepest first, is tried first: where frozen layers are about as good."""
    if not opinions:
        return 0
    flat = _flat(opinions)
    return max((place for place, rung in enumerate(rungs) if rung >= flat), default=0)
