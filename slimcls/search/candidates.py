"""What may be handed over: rivals, frozen states and cuts, each an ordinary run underneath."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import binom

from slimcls.baseline import BaselineConfig, baseline
from slimcls.config import RunConfig
from slimcls.data.tables import Tables
from slimcls.kinds import CHEAP, MEAN_PROBE
from slimcls.rivals.probe import Probed
from slimcls.runs.schema import PREDICTIONS, VALIDATION, RunResult
from slimcls.search.answer import Candidate
from slimcls.search.doctor import Look
from slimcls.search.plan import Plan
from slimcls.search.settings import RUNS, FitConfig
from slimcls.session.shared import Shared
from slimcls.statistics import SeedItems, wilson
from slimcls.statistics.paired_loss import loss_bound
from slimcls.train import train

#: One-sided level of the bounds that the search decides by.
LEVEL = 0.05
#: Bytes of a parameter as it is handed over.
BYTES = 4


@dataclass(frozen=True)
class Tried:
    """A candidate with what it was right about."""

    candidate: Candidate
    answers: SeedItems
    """On the validation part."""

    def against(self, best: Tried) -> Tried:
        """The same with what it loses against ``best``, and the upper bound of that."""
        loss, high = loss_of(self.answers, best.answers)
        return replace(self, candidate=replace(self.candidate, loss=loss, loss_high=high))


def loss_of(mine: SeedItems, theirs: SeedItems) -> tuple[float, float]:
    """How much less is right than of ``theirs``, as a share, and its one-sided upper bound.

    Paired by items, and exact: two candidates often disagree about a few items alone.
    """
    lost, won = lost_and_won(mine, theirs)
    items = len(mine.correct)
    return (lost - won) / items, loss_bound(lost, won, items, LEVEL)


def lost_and_won(mine: SeedItems, theirs: SeedItems) -> tuple[int, int]:
    """Of the same items, how many only ``theirs`` has right, and how many only ``mine``."""
    (ids, here), (others, there) = (
        (side.ids[order], side.correct[order].astype(bool))
        for side in (mine, theirs)
        for order in [np.argsort(side.ids)]
    )
    assert np.array_equal(ids, others)
    return int((there & ~here).sum()), int((here & ~there).sum())


def is_better(mine: SeedItems, theirs: SeedItems) -> bool:
    """Whether it is shown to be right more often: the one-sided sign test of what differs."""
    lost, won = lost_and_won(mine, theirs)
    return won > lost and bool(binom.sf(won - 1, lost + won, 0.5) <= LEVEL)


@dataclass(frozen=True)
class Bench:
    """Where candidates are tried: the data, the model, and what all runs of a fit share."""

    fit: FitConfig
    plan: Plan
    look: Look
    """What is trained on: the user's file, or a mended copy, with the names of its columns."""
    data: Tables
    shared: Shared
    folder: Path
    averages: bool = False
    """Whether the model can read the mean over a text's tokens, at which cuts are better."""
    beside: float = 0.0
    """Megabytes of the tokenizer that lies beside a cut's weights."""

    def settings(
        self,
        keep: int,
        seed: int,
        *,
        save: bool,
        teacher: str | None = None,
    ) -> RunConfig:
        """The settings of one training."""
        fit, plan = self.fit, self.plan
        return RunConfig(
            dataset=self.look.dataset,
            data_dir=fit.data_dir,
            text_column=self.look.text_column,
            label_column=self.look.label_column,
            skip_bad_rows=self.look.skips,
            model=fit.model,
            revision=fit.revision,
            mode="cls",
            keep=keep,
            shots=plan.shots or fit.shots,
            test_size=fit.test_size,
            seed=seed,
            max_text_tokens=plan.max_text_tokens,
            epochs=plan.epochs,
            teacher=teacher,
            unlabelled=fit.unlabelled if teacher else None,
            baseline=False,
            out=str(self.folder / RUNS),
            save_model="best" if save else "none",
        )

    def rival(self, method: str, seed: int, *, save: bool = False) -> RunResult:
        """One of :data:`slimcls.kinds.CHEAP`, on all texts, whole: it takes seconds.

        The mean of the embeddings learns from fewer where all would take longer. Its embeddings
        are rounded to float16, which halves it, before anything is fitted to them.
        """
        settings = vars(self.settings(1, seed, save=save))
        settings |= {"shots": self.fit.shots, "max_text_tokens": None}
        if method == "embeddings":
            settings["shots"] = self.plan.embedded or self.fit.shots
            settings["save_dtype"] = "float16"
        (result,) = baseline(BaselineConfig(**settings, method=method), self.shared)  # type: ignore[arg-type]
        return result

    def rivals(self) -> Iterator[Tried]:
        """The cheap rivals of the search, kept so that their size is their folder's.

        TF-IDF is not: writing a million words takes longer than finding them, and what they take
        in memory, packed, is near enough.
        """
        for method in CHEAP:
            yield self.tried(self.rival(method, self.fit.seed, save=method != "tfidf"))

    def cut(self, keep: int, seed: int, *, save: bool = False) -> RunResult:
        """A cut, taught by the reference of the same seed where there are texts without labels."""
        teaches = bool(self.fit.unlabelled)
        deepest = self.plan.depths[0]
        teacher = None
        if teaches and keep < deepest:
            teacher = str(self.cut(deepest, seed, save=True).folder)
        save = save or (teaches and keep == deepest)
        settings = self.settings(keep, seed, save=save, teacher=teacher)
        pool: Literal["mean"] | None = "mean" if self.averages else None
        return train(replace(settings, pool=pool, probe_first=teacher is None), self.shared)

    def frozen_settings(self, keep: int, seed: int, *, save: bool = False) -> RunConfig:
        """The settings of frozen layers: they cost little, and often learn from more texts."""
        settings, plan = self.settings(keep, seed, save=save), self.plan
        shots = plan.frozen_shots or self.fit.shots
        return replace(settings, shots=shots, max_text_tokens=plan.frozen_tokens)

    def frozen(self, keep: int, seed: int, *, save: bool = False) -> RunResult:
        """The first layers as they are, and logistic regression on the mean over tokens."""
        settings = vars(self.frozen_settings(keep, seed, save=save))
        (result,) = baseline(BaselineConfig(**settings, method=MEAN_PROBE), self.shared)  # type: ignore[arg-type]
        return result

    def again(self, one: Tried, seed: int, *, save: bool) -> RunResult:
        """The run of a candidate at another seed."""
        layers, method = one.candidate.layers, one.candidate.method
        if layers is None:
            assert method is not None
            return self.rival(method, seed, save=save)
        again = self.frozen if one.candidate.kind == "frozen" else self.cut
        return again(layers, seed, save=save)

    def tried(self, result: RunResult) -> Tried:
        """A finished run as a candidate."""
        outcome, cut = result.outcome, result.outcome.method == "fine-tuned"
        frozen = outcome.method == MEAN_PROBE
        depth, layers = outcome.depth, len(result.config.layers or []) or None
        answers = self.answers(result, VALIDATION)
        low, high = wilson(int(answers.correct.sum()), len(answers.correct))
        return Tried(
            Candidate(
                name=called(layers, depth, frozen=frozen) if layers else CHEAP[outcome.method],
                kind="cut" if cut else "frozen" if frozen else "rival",
                layers=layers,
                accuracy=float(answers.correct.mean()),
                low=low,
                high=high,
                megabytes=(
                    BYTES * outcome.params_kept / 1e6 + self.beside if layers else outcome.model_mb
                ),
                milliseconds=outcome.latency_ms,
                seconds=outcome.total_seconds,
                run=str(result.folder.relative_to(self.folder)),
                converged=outcome.converged if cut else None,
            ),
            answers,
        )

    def probed(self, probe: Probed, depth: int, items: int) -> Candidate:
        """What frozen states hold in a family where nothing that reads them can be handed over."""
        low, high = wilson(round(probe.accuracy * items), items)
        return Candidate(
            name=called(probe.layers, depth, frozen=True),
            kind="frozen",
            layers=probe.layers,
            accuracy=probe.accuracy,
            low=low,
            high=high,
            excluded="measured, not handed over: no layer of this model can average",
        )

    def answers(self, result: RunResult, part: str) -> SeedItems:
        """What a run was right about, in its validation or its test part."""
        rows = pq.read_table(result.folder / part).to_pydict()
        names = self.data.spec.labels
        if part == PREDICTIONS:
            said: Sequence[str] = rows["prediction"]
        else:
            said = [names[int(np.argmax(logits))] for logits in rows["logits"]]
        right = np.array([a == b for a, b in zip(said, rows["label"], strict=True)])
        return SeedItems(result.config.seed, np.array(rows["id"]), right)


def called(layers: int | None, depth: int, *, frozen: bool = False) -> str:
    """A cut in words."""
    name = f"all {depth} layers" if layers == depth else f"{layers} of {depth} layers"
    return f"{name}, frozen" if frozen else name
