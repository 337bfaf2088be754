"""What the runs of one process have in common, read once: data, model files, token ids."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from slimcls.backbones import sources
from slimcls.backbones.sources import Source
from slimcls.config import RunConfig, hashed
from slimcls.data.dataset import read_dataset
from slimcls.data.lengths import usual_tokens
from slimcls.data.tables import Tables
from slimcls.layers.samples import Sample
from slimcls.log import Log
from slimcls.roles import Role, settings_with
from slimcls.session.selection import selection_of, training_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from slimcls.session.inputs import Inputs


#: Draws of items whose token ids are kept: a grid's seeds come round again and again.
REMEMBERED = 4
#: Settings that may change a run's items, their token ids, or what label words are read.
INPUTS = frozenset(settings_with(Role.ITEMS | Role.MODEL | Role.INPUT | Role.SCORING))


class Shared:
    """Reads each dataset and finds each model once, however many runs ask.

    Files that change while it lives are not looked at again. Unless ``aloud``, its runs print
    nothing on the terminal: what they would say is in their ``log.txt`` alone.
    """

    def __init__(self, *, aloud: bool = True) -> None:
        self.aloud = aloud
        self._tables: dict[object, Tables] = {}
        self._sources: dict[object, Source] = {}
        self._inputs: OrderedDict[str, tuple[Inputs, list[str]]] = OrderedDict()
        self._samples: dict[str, Sample] = {}
        self._usual: dict[object, int] = {}

    def give(self, config: RunConfig, tables: Tables) -> None:
        """Rows for the dataset that a run's settings name: it is looked for nowhere else."""
        self._tables[_rows_named(config)] = tables

    def tables(self, config: RunConfig) -> Tables:
        """The rows of a run's dataset. Raises UserError where they cannot be had."""
        key = _rows_named(config)
        if key not in self._tables:
            self._tables[key] = read_dataset(
                config.dataset,
                data_dir=config.data_dir,
                text_column=config.text_column,
                label_column=config.label_column,
                skip_bad_rows=config.skip_bad_rows,
            )
        return self._tables[key]

    def source(self, config: RunConfig, *, fetch: bool = True) -> Source:
        """The files of a run's model; without ``fetch`` no tokenizer of a hub model is fetched.

        Raises UserError where they lack the layers that stay.
        """
        key = (config.model, config.revision)
        known = self._sources.get(key)
        if known is None or (fetch and known.only_config):
            find = sources.find if fetch else sources.look
            has_the_layers = selection_of(config).check_model
            self._sources[key] = find(config.model, config.revision, has_the_layers)
        return self._sources[key]

    def sample(self, config: RunConfig, source: Source, data: Tables) -> Sample:
        """The training texts that a run's layers are chosen on; a grid's cells ask again."""
        selection = selection_of(config)
        what = (data.fingerprint, source.fingerprint, selection.wanted, _what_goes_in(config))
        if (key := repr(what)) not in self._samples:
            self._samples[key] = selection.sample(training_texts(config, data), source)
        return self._samples[key]

    def usual_tokens(self, source: Source, data: Tables) -> int:
        """Tokens of a text that runs keep whose settings do not say: see data/lengths.py.

        The tokenizer is opened where there are long texts.
        """
        key = (data.fingerprint, source.fingerprint)
        if key not in self._usual:
            self._usual[key] = usual_tokens(data.train.texts, lambda: _tokenizer_of(source))
        return self._usual[key]

    def inputs(self, config: RunConfig, source: Source, data: Tables, log: Log) -> Inputs:
        """Drawn items as token ids; the last few draws are remembered."""
        key = repr((data.fingerprint, source.fingerprint, _what_goes_in(config)))
        if key not in self._inputs:
            from slimcls.session.inputs import make_inputs

            # Only a bare text can be empty, and prompts go in as the authors' did.
            tokenizer = _tokenizer_of(source, never_empty=not config.uses_prompt)
            notes, usual = _Notes(), self.usual_tokens(source, data)
            self._inputs[key] = make_inputs(config, data, tokenizer, notes, usual), notes.said
            while len(self._inputs) > REMEMBERED:
                self._inputs.popitem(last=False)
        self._inputs.move_to_end(key)
        found, said = self._inputs[key]
        for line in said:
            log.say(line)
        # A run sets its class weights on its mode.
        return replace(found, mode=copy.copy(found.mode))


def _rows_named(config: RunConfig) -> tuple[object, ...]:
    """What names the rows of a run."""
    return (
        config.dataset,
        config.text_column,
        config.label_column,
        config.data_dir,
        config.skip_bad_rows,
    )


def _tokenizer_of(source: Source, *, never_empty: bool = True) -> PreTrainedTokenizerFast:
    from slimcls.backbones.tokenizers import open_tokenizer

    return open_tokenizer(source, never_empty=never_empty)


class _Notes(Log):
    """Keeps lines, to be said again in the log of each run."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        """Say nothing yet."""
        self.said.append(text)


def _what_goes_in(config: RunConfig) -> dict[str, object]:
    """The settings that may change a run's items or their token ids."""
    return {name: value for name, value in hashed(config).items() if name in INPUTS}
