"""What the runs of one process have in common, read once: data, model files, token ids."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcls.backbones import sources
from slimcls.backbones.sources import Source
from slimcls.config import RunConfig, hashed
from slimcls.data import catalog, tables
from slimcls.data.tables import Tables
from slimcls.layers.layer_scores import Scores
from slimcls.layers.samples import Sample
from slimcls.log import Log
from slimcls.roles import Role, settings_with
from slimcls.session import selection

if TYPE_CHECKING:
    from slimcls.session.inputs import Inputs


#: Draws of items whose token ids are kept: a grid's seeds come round again and again.
REMEMBERED = 4
#: Settings that may change a run's items, their token ids, or what label words are read.
INPUTS = frozenset(settings_with(Role.ITEMS | Role.MODEL | Role.INPUT | Role.SCORING))


@dataclass(frozen=True)
class Place:
    """A run before its work begins."""

    config: RunConfig
    """Settings without open ends."""
    source: Source
    data: Tables
    folder: Path
    """The run directory, which need not exist yet."""
    scores: Scores | None = None
    """What chose the kept layers, where scores did."""


class Shared:
    """Reads each dataset and finds each model once, however many runs ask.

    Files that change while it lives are not looked at again.
    """

    def __init__(self) -> None:
        self._tables: dict[object, Tables] = {}
        self._sources: dict[object, Source] = {}
        self._inputs: OrderedDict[str, tuple[Inputs, list[str]]] = OrderedDict()
        self._samples: dict[str, Sample] = {}

    def tables(self, config: RunConfig) -> Tables:
        """The rows of a run's dataset. Raises UserError where they cannot be had."""
        key = (config.dataset, config.text_column, config.label_column, config.data_dir)
        if key not in self._tables:
            spec = catalog.find(
                config.dataset, text_column=config.text_column, label_column=config.label_column
            )
            folder = Path(config.data_dir) if config.data_dir else None
            self._tables[key] = tables.load(spec, folder)
        return self._tables[key]

    def source(self, config: RunConfig, *, fetch: bool = True) -> Source:
        """The files of a run's model; without ``fetch`` no weights of a hub model are fetched.

        Raises UserError where they lack the layers that stay.
        """

        def has_the_layers(folder: Path) -> None:
            from slimcls.session import settle

            settle.check_layers(config, folder)

        key = (config.model, config.revision)
        known = self._sources.get(key)
        if known is None or (fetch and not known.weights):
            find = sources.find if fetch else sources.look
            self._sources[key] = find(config.model, config.revision, has_the_layers)
        return self._sources[key]

    def place(self, config: RunConfig, *, fetch: bool = True, wait: bool = True) -> Place:
        """Where a run will work, with every setting resolved.

        Weights are read where layers are chosen by scores that were never measured before: not
        without ``fetch``, then (see :meth:`chooses_later`).

        Raises UserError for what the settings, the data or the model do not allow, and without
        ``wait`` Busy where another process is measuring those scores.
        """
        sources.check_name(config.model, config.revision)  # before data is read
        selection.check(config)
        data, source = self.tables(config), self.source(config, fetch=fetch)
        # From here on torch and transformers are needed.
        from slimcls import runs
        from slimcls.session import settle

        scores = selection.scores_for(
            config, source, lambda: self._sample(config, source, data), wait=wait
        )
        settled = settle.resolve(config, source, scores)
        fingerprints = {"source": source.fingerprint, "data": data.fingerprint}
        if scores:
            fingerprints["scores"] = scores.fingerprint
        name = runs.run_name(settled, fingerprints)
        return Place(settled, source, data, Path(settled.out) / name, scores)

    def chooses_later(self, config: RunConfig) -> bool:
        """Whether a run measures which layers it keeps when it starts: nobody has done it yet.

        No weight is read. Raises UserError as :meth:`place` does.
        """
        if not selection.measures(config):
            return False
        source = self.source(config, fetch=False)
        if not source.weights:
            return True
        sample = self._sample(config, source, self.tables(config))
        return not selection.measured_in(config, source, sample).is_dir()

    def _sample(self, config: RunConfig, source: Source, data: Tables) -> Sample:
        """The training texts that a run's layers are chosen on; a grid's cells ask again."""
        wanted = selection.texts_wanted(config)
        key = repr((data.fingerprint, source.fingerprint, wanted, _what_goes_in(config)))
        if key not in self._samples:
            self._samples[key] = selection.training_sample(config, source, data)
        return self._samples[key]

    def inputs(self, config: RunConfig, data: Tables, tokenizer: Any, log: Log) -> Inputs:
        """As :func:`~slimcls.session.inputs.make_inputs`; the last few draws are remembered."""
        key = repr((data.fingerprint, _what_goes_in(config), config.model, config.revision))
        if key not in self._inputs:
            from slimcls.session.inputs import make_inputs

            notes = _Notes()
            self._inputs[key] = make_inputs(config, data, tokenizer, notes), notes.said
            while len(self._inputs) > REMEMBERED:
                self._inputs.popitem(last=False)
        self._inputs.move_to_end(key)
        found, said = self._inputs[key]
        for line in said:
            log.say(line)
        # A run sets its class weights on its mode.
        return replace(found, mode=copy.copy(found.mode))


class _Notes(Log):
    """Keeps lines, to be said again in the log of each run."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        """Say nothing yet."""
        self.said.append(text)


def _what_goes_in(config: RunConfig) -> dict[str, Any]:
    """The settings that may change a run's items or their token ids."""
    return {name: value for name, value in hashed(config).items() if name in INPUTS}
