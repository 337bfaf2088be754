"""What a grid's cells will take, said before any starts: directory, parameters, memory, time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slimcls.config import RunConfig
from slimcls.data.encoding import DEFAULT_TOKENS
from slimcls.errors import UserError
from slimcls.grids.timing import Cost, cost_key, cost_of

if TYPE_CHECKING:
    from slimcls.session.place import Place
    from slimcls.session.shared import Shared


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A cell as the machine that will work on it sees it."""

    run: RunConfig
    """With the accelerator and the arithmetic that this machine gives it."""
    cost: Cost | None = None
    """What decides how long it takes; None where that is not known."""
    folder: Path | None = None
    """The run directory; None where it cannot be known yet, as ``note`` says."""
    depth: int = 0
    params_full: int = 0
    params_kept: int = 0
    memory: int = 0
    """Bytes for training; without activations where the model is not here whole."""
    whole: bool = False
    """Whether ``memory`` counts activations too."""
    problem: str = ""
    """Why it cannot run, if so."""
    note: str = ""
    """What is not known, and why."""
    test_items: int = 0
    """At most, where the model is not here whole; 0 where nothing is known."""
    to_fetch: Mapping[str, int] = field(default_factory=dict)
    """Bytes of weights to fetch, by part; cells that take the same part have it once."""


def forecast(runs: Sequence[RunConfig], shared: Shared) -> list[Forecast]:
    """Plan each run without reading a weight, on the machine that will work on it.

    What cannot be had just now (a hub model out of reach) is noted; what cannot work at all (too
    deep, too big, no such dataset) is a problem.
    """
    planner = _Planner(shared)
    return [planner.forecast(run) for run in runs]


class _Planner:
    """Plans runs; those that differ in nothing that matters for memory share their plan."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._plans: dict[str, Forecast] = {}
        self._missing: dict[object, str] = {}
        self._to_fetch: dict[object, Mapping[str, int]] = {}

    def forecast(self, run: RunConfig) -> Forecast:
        from slimcls.session.place import chooses_later, find_place, measures_later
        from slimcls.session.selection import selection_of

        try:
            missing = self._what_is_missing(run)
            if missing:
                return Forecast(run=run, note=missing)
            later, known = [], run
            if choosing := chooses_later(run, self.shared):
                later.append(f"layers, which --select {run.select} chooses then")
                # As many of the first layers take as much.
                known = dataclasses.replace(known, select="first")
            if measures_later(run, self.shared):
                later.append("text length, by its tokenizer")
                known = dataclasses.replace(known, max_text_tokens=DEFAULT_TOKENS)
            place = find_place(known, self.shared, fetch=False)
            selection_of(run).check_model(place.source.folder)
            plan = self._plan(place, known)
            to_fetch = self._weights_of(place, all_layers=choosing)
        except UserError as error:
            return Forecast(run=run, problem=str(error))
        plan = dataclasses.replace(plan, to_fetch=to_fetch)
        settled = dataclasses.replace(
            run, accelerator=place.config.accelerator, precision=place.config.precision
        )
        if later:
            return dataclasses.replace(plan, run=settled, note="; ".join(later))
        return dataclasses.replace(plan, run=settled, folder=place.folder)

    def _plan(self, place: Place, run: RunConfig) -> Forecast:
        key = cost_key(place.config)
        if key not in self._plans:
            self._plans[key] = _planned(place, run, self.shared)
        return self._plans[key]

    def _weights_of(self, place: Place, *, all_layers: bool) -> Mapping[str, int]:
        """What of a model's weights has to be fetched; all of it where texts choose the layers."""
        from slimcls.backbones.truncate import depth_of, read_config

        source, lm_head = place.source, place.config.mode == "lm"
        full = read_config(source)
        layers = tuple(range(depth_of(full)) if all_layers else place.config.layers or ())
        key = (source.fingerprint, layers, lm_head)
        if key not in self._to_fetch:
            self._to_fetch[key] = source.missing(full, layers, lm_head=lm_head)
        return self._to_fetch[key]

    def _what_is_missing(self, run: RunConfig) -> str:
        """Why the model or the data of a run cannot be had now; empty if they can.

        Raises UserError where they cannot be had at all.
        """
        for key, fetch in (
            (("model", run.model, run.revision), self._see_model),
            (("data", run.dataset, run.text_column, run.label_column), self._see_data),
        ):
            if key not in self._missing:
                self._missing[key] = fetch(run)
            if self._missing[key]:
                return self._missing[key]
        return ""

    def _see_model(self, run: RunConfig) -> str:
        from slimcls.backbones import sources

        sources.check_name(run.model, run.revision)
        try:
            sources.look(run.model, run.revision)
        except UserError as error:
            if not sources.on_hub(run.model):
                raise
            return str(error)
        return ""

    def _see_data(self, run: RunConfig) -> str:
        from slimcls.data.dataset import may_be_out_of_reach

        columns = {"text_column": run.text_column, "label_column": run.label_column}
        elsewhere = may_be_out_of_reach(run.dataset, **columns)
        try:
            self.shared.tables(run)
        except UserError as error:
            if not elsewhere:
                raise
            return str(error)
        return ""


def _planned(place: Place, run: RunConfig, shared: Shared) -> Forecast:
    """Parameters and memory of a run, and whether that fits this machine."""
    from slimcls.session import plan

    whole = not place.source.only_config
    tokens, rows, items = _read(place, shared) if whole else (0, None, _most_items(place))
    labels = len(place.data.spec.labels)
    planned = plan.make_plan(place.config, place.source, tokens, labels, rows)
    problem = ""
    try:
        planned.check(force=run.force)
    except UserError as error:
        problem = str(error)
    return Forecast(
        run=run,
        cost=cost_of(place.config),
        depth=planned.depth,
        params_full=planned.sizes.params_full,
        params_kept=planned.sizes.params_kept,
        memory=planned.memory.total,
        whole=whole,
        problem=problem,
        test_items=items,
    )


def _most_items(place: Place) -> int:
    return min(place.config.test_size, len(place.data.test))


def _read(place: Place, shared: Shared) -> tuple[int, int, int]:
    """Tokens of the longest item, how many different ones training reads, and test items."""
    from slimcls.log import Log

    inputs = shared.inputs(place.config, place.source, place.data, Log(quiet=True))
    return inputs.longest, inputs.rows, len(inputs.splits.test)
