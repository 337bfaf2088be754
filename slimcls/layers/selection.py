"""Which layers of a model stay: one choice, made from the settings, then asked."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from slimcls.backbones.selectors import check_keep, named_layers
from slimcls.devices import Accelerator, exact_device
from slimcls.errors import UserError
from slimcls.layers.criteria import Criterion, find_criterion
from slimcls.layers.layer_scores import (
    SCORES_FILE,
    SCORES_FORMAT,
    Scores,
    read_scores,
    write_scores,
)
from slimcls.layers.samples import LEAST_TO_MEASURE, Sample, Texts, encode_sample
from slimcls.storage.cache import build_once, cache_dir

if TYPE_CHECKING:
    from slimcls.backbones.sources import Source


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Layers named outright, chosen by a rule, or by scores on texts.

    It is asked in this order: ``check`` before anything is fetched, ``check_model`` before weights
    are, ``scores`` when they are there, and ``layers`` at last. Raises UserError, with the nearest,
    for an unknown criterion.
    """

    model: str
    """The model's name, for errors."""
    select: str
    """A row of CRITERIA."""
    keep: int | Literal["all"]
    """How many layers stay; all means no cut, whatever would choose."""
    named: tuple[int, ...] | None = None
    """The layers themselves; beside a rule or criterion they may only repeat what it chooses."""
    scores_file: str | None = None
    """Scores that were measured before; None measures them."""
    samples: int | None = None
    """Texts to measure on; None for as many as the criterion looks at."""
    max_text_tokens: int | None = None
    batch_size: int = 8
    seed: int = 0
    """Draws the texts and the bootstrap, and the layers of ``random``."""
    accelerator: Accelerator = "auto"
    force: bool = False
    """Measure although the model seems too big for the memory there is."""
    quiet: bool = False

    def __post_init__(self) -> None:
        find_criterion(self.select)

    @property
    def criterion(self) -> Criterion:
        """What chooses."""
        return find_criterion(self.select)

    @property
    def measures(self) -> bool:
        """Whether the model has to be measured on texts: no file gives the scores."""
        by_text = self.criterion.needs_text and self.keep != "all"
        return by_text and self.scores_file is None

    @property
    def wanted(self) -> int:
        """How many texts it is measured on."""
        return self.samples or self.criterion.samples

    @property
    def fewest(self) -> int:
        """The smallest depth that scores have to answer for."""
        assert self.keep != "all"
        return self.keep if self.criterion.each_depth else 1

    def check(self) -> None:
        """Whether the file that --scores names can be used at all; no model is looked at yet.

        Raises:
            UserError: no such file, not one of scores, or of another criterion.
        """
        if self._read:
            self._checked(self._read, self._read.source)

    def check_model(self, folder: Path) -> None:
        """Whether the model in ``folder`` has the layers that stay; it may hold no weights yet.

        Raises:
            UserError: more layers than there are, ids out of range, nothing to choose.
        """
        from slimcls.backbones.truncate import config_in, depth_of

        depth = depth_of(config_in(folder, self.model))
        if self.named is not None:
            named_layers(depth, self.named)
        if self.named is None or self.select != "first":
            check_keep(depth, self.keep, self.select)

    def sample(self, texts: Texts, source: Source) -> Sample:
        """Token ids of the texts that the model is measured on: bare, as mode ``cls`` reads them.

        Raises:
            UserError: texts that cannot be measured on.
        """
        from slimcls.backbones.tokenizers import open_tokenizer

        # A run may train on one token of each text, but there is nothing to measure on one.
        most = self.max_text_tokens and max(self.max_text_tokens, LEAST_TO_MEASURE)
        return encode_sample(
            texts.drawn(self.wanted, self.seed),
            open_tokenizer(source),
            max_text_tokens=most,
            batch_size=self.batch_size,
        )

    def scores(
        self, source: Source, sample: Callable[[], Sample], *, wait: bool = True
    ) -> Scores | None:
        """The scores that choose, of a file, of the cache, or measured now; None for none.

        Args:
            source: The model, with its weights.
            sample: Gives the texts' token ids where they are needed.
            wait: For another process that is measuring the same.

        Raises:
            UserError: scores of another model, revision or criterion; what measuring can raise.
            Busy: without ``wait``, another process is measuring them.
        """
        if not self.measures:
            return self.given(source)
        texts = sample()
        folder = self.measured_in(source, texts)
        build_once(folder, lambda target: self._fill(target, source, texts), wait=wait)
        return read_scores(folder / SCORES_FILE)

    def given(self, source: Source) -> Scores | None:
        """The scores of the file that --scores names; None where there is none, or no cut.

        Raises:
            UserError: scores of another model, revision or criterion.
        """
        if self._read is None or self.keep == "all":
            return None
        return self._checked(self._read, source.fingerprint)

    def measured_in(self, source: Source, sample: Sample) -> Path:
        """Where the cache has the scores once they are measured."""
        made_from = [
            SCORES_FORMAT, self.select, source.fingerprint, sample.fingerprint, self.fewest,
            self.seed,
        ]  # fmt: skip
        key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:24]
        return cache_dir() / "scores" / key

    def measure(self, source: Source, sample: Sample | None) -> Scores:
        """Scores measured now, whether or not they were before; ``sample`` is None for a rule.

        Raises:
            UserError: a model that does not fit, activations that are no numbers.
        """
        from slimcls.layers.scoring import measure_layers

        return measure_layers(
            self.criterion,
            source,
            sample,
            keep=self.fewest,
            seed=self.seed,
            device=exact_device(self.accelerator),
            force=self.force,
        )

    def layers(self, source: Source, scores: Scores | None) -> tuple[int, ...]:
        """Ids of the layers that stay, ascending; ``scores`` are those that :meth:`scores` gives.

        Raises:
            UserError: what :meth:`check_model` refuses; layers named beside a rule that chooses
                others.
        """
        from slimcls.backbones.truncate import depth_of, read_config

        depth = depth_of(read_config(source))
        if self.named is not None and self.select == "first":
            return named_layers(depth, self.named)
        check_keep(depth, self.keep, self.select)
        chosen = self._chosen(depth, scores)
        if self.named not in (None, chosen):
            raise UserError(
                f"--layers {_listed(self.named)}: --select {self.select} chooses "
                f"{_listed(chosen)}; leave out one of the two"
            )
        return chosen

    def _chosen(self, depth: int, scores: Scores | None) -> tuple[int, ...]:
        if self.keep == "all":
            return tuple(range(depth))
        if self.criterion.pick is not None:
            return self.criterion.pick(depth, self.keep, self.seed)
        if scores is None:
            raise ValueError(f"{self.select} needs scores")
        return scores.kept_layers(self.keep)

    @cached_property
    def _read(self) -> Scores | None:
        return read_scores(Path(self.scores_file)) if self.scores_file is not None else None

    def _checked(self, scores: Scores, source: str) -> Scores:
        scores.check(self.select, source, self.model, f"--scores {self.scores_file}")
        return scores

    def _fill(self, folder: Path, source: Source, sample: Sample) -> None:
        if not self.quiet:
            print(
                f"measuring {self.select} of {source.name} on {len(sample)} training texts "
                f"of {sample.name}, once",
                file=sys.stderr,
            )
        write_scores(self.measure(source, sample), folder / SCORES_FILE)


def _listed(layers: tuple[int, ...] | None) -> str:
    return ",".join(map(str, layers or ()))
