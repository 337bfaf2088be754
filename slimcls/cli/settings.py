"""The settings of a class: what each takes, and what is said of one that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import get_type_hints

from slimcls.cli.values import in_words, kept, named_words, value_of
from slimcls.errors import UserError, in_short
from slimcls.storage.paths import PathName

#: What other trainers call a setting that has another name here.
ELSEWHERE = {
    "--learning-rate": "--lr", "--num-train-epochs": "--epochs", "--num-epochs": "--epochs",
    "--per-device-train-batch-size": "--batch-size", "--train-batch-size": "--batch-size",
    "--per-device-eval-batch-size": "--eval-batch-size", "--warmup-ratio": "--warmup",
    "--lr-scheduler-type": "--schedule", "--max-grad-norm": "--clip", "--random-seed": "--seed",
    "--early-stopping-patience": "--patience", "--max-length": "--max-text-tokens",
    "--max-seq-length": "--max-text-tokens", "--model-name-or-path": "--model",
    "--output-dir": "--out", "--device": "--accelerator", "--lora-r": "--lora-rank",
    "--num-layers": "--keep", "--few-shot": "--shots",
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """A field of a settings class as the command line has it."""

    name: str
    hint: object = str
    default: object = None
    required: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def is_switch(self) -> bool:
        return self.hint is bool

    def value(self, given: object) -> object:
        """What a word, or a value from YAML, means. Raises UserError where it means nothing."""
        word = _as_word(given)
        if not _is_text(word):
            raise UserError(f"{self.flag} {in_short(word)}: is no UTF-8 text")
        try:
            return value_of(word, self.hint, self.flag)
        except UserError:
            raise
        except (ValueError, KeyError):
            near = difflib.get_close_matches(word, named_words(self.hint), n=1, cutoff=0.6)
            raise UserError(
                f"{self.flag} {in_short(word)}: must be {in_words(self.hint)}"
                + (f"; did you mean {near[0]}?" if near else "")
            ) from None

    def kept(self, given: object) -> object:
        """A value given in Python as the setting keeps it. Raises UserError where it is none."""
        if isinstance(given, str) and not _is_text(given):
            raise UserError(f"{self.flag} {in_short(given)}: is no UTF-8 text")
        try:
            return kept(given, self.hint, self.flag)
        except UserError:
            raise
        except ValueError:
            word = str(given).lower()
            near = difflib.get_close_matches(word, named_words(self.hint), n=1, cutoff=0.6)
            raise UserError(
                f"{self.flag} {in_short(repr(given))}: must be {in_words(self.hint)}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            ) from None


#: What every command takes whose settings do not name a file themselves.
CONFIG = Setting("config", PathName)


def _is_text(word: str) -> bool:
    """Whether a word is letters alone: neither bytes that are no UTF-8, nor NUL."""
    return "\0" not in word and not any("\ud800" <= letter <= "\udfff" for letter in word)


def _as_word(given: object) -> str:
    """The word that one would give on the command line for a value from YAML."""
    if isinstance(given, bool):
        return str(given).lower()
    return "null" if given is None else str(given)


def keep_plain(config: object) -> None:
    """Hold the fields of a settings dataclass to their types, as the command line does.

    Values become plain ones, so that what means the same is the same. Raises UserError.
    """
    kind: type = type(config)
    for setting in settings_of(kind).values():
        given = getattr(config, setting.name)
        if given is not setting.default:
            setattr(config, setting.name, setting.kept(given))


@cache
def settings_of(config_class: type) -> dict[str, Setting]:
    """The settings of a dataclass by name, in its order."""
    hints = get_type_hints(config_class, include_extras=True)
    return {
        f.name: Setting(f.name, hints[f.name], f.default, f.default is MISSING)
        for f in fields(config_class)
    }


def setting_named(key: str, settings: Mapping[str, Setting]) -> Setting:
    """The setting of a YAML key, dashed or not. Raises UserError that names the nearest."""
    name = key.replace("-", "_")
    if name in settings:
        return settings[name]
    near = nearest(name, settings)
    # They are too many to be listed in a line.
    raise UserError(
        f"unknown setting {in_short(key)!r}; "
        + (f"did you mean {near!r}?" if near else "see --help")
    )


def nearest(name: str, settings: Mapping[str, Setting]) -> str | None:
    """The setting that was meant by a name that there is none of."""
    ours = ELSEWHERE.get(Setting(name).flag, "")[2:].replace("-", "_")
    if ours in settings:
        return ours
    return next(iter(difflib.get_close_matches(name, settings, n=1, cutoff=0.6)), None)
