"""What the runs of one process have in common, read once: data, model files, token ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slimcls import selection
from slimcls.backbones import sources
from slimcls.backbones.sources import Source
from slimcls.config import RunConfig
from slimcls.data import catalog, tables
from slimcls.data.tables import Tables
from slimcls.layer_scores import Scores


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
            from slimcls import resolve

            resolve.check_layers(config, folder)

        key = (config.model, config.revision)
        known = self._sources.get(key)
        if known is None or (fetch and not known.weights):
            find = sources.find if fetch else sources.look
            self._sources[key] = find(config.model, config.revision, has_the_layers)
        return self._sources[key]

    def place(self, config: RunConfig, *, fetch: bool = True) -> Place:
        """Where a run will work, with every setting resolved.

        No weight is read, unless layers are chosen by scores that were never measured before.

        Raises UserError for what the settings, the data or the model do not allow.
        """
        sources.check_name(config.model, config.revision)  # before data is read
        selection.check(config)
        fetch = fetch or selection.measures(config)
        data, source = self.tables(config), self.source(config, fetch=fetch)
        # From here on torch and transformers are needed.
        from slimcls import resolve, runs

        scores = selection.scores_for(config, source, data)
        settled = resolve.resolve(config, source, scores)
        fingerprints = {"source": source.fingerprint, "data": data.fingerprint}
        if scores:
            fingerprints["scores"] = scores.fingerprint
        name = runs.run_name(settled, fingerprints)
        return Place(settled, source, data, Path(settled.out) / name, scores)
