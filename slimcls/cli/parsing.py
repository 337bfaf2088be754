"""From the words of a command line to checked settings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from slimcls.cli.ends import say
from slimcls.cli.extras import TRAIN, check_extra
from slimcls.cli.settings import CONFIG, Setting, nearest, setting_named, settings_of
from slimcls.cli.values import SWITCHED
from slimcls.errors import UserError, in_short
from slimcls.storage.yaml_files import read_yaml

Settings = TypeVar("Settings")
Named = list[tuple[str, str]]
NO_GROUPS: Mapping[str, str] = MappingProxyType({})


def parse(
    config_class: type[Settings],
    argv: Sequence[str],
    *,
    prog: str,
    positional: tuple[str, ...] = (),
    example: str = "",
    groups: Mapping[str, str] = NO_GROUPS,
    extra: str = TRAIN,
) -> Settings:
    """Command-line words to a checked config.

    ``--config FILE`` gives YAML settings; flags win over them wherever they stand; a class with a
    field ``config`` reads that file itself. Fields named in ``positional`` may stand bare, in that
    order, unless a flag names them; after ``--`` words are taken as they stand, even with dashes in
    front. ``--help`` shows ``example`` and the settings
    under the titles that ``groups`` has for them. Raises :class:`UserError` for whatever the user
    got wrong, and where packages of the ``extra`` that the command needs are missing, before
    anything heavy is imported.
    """
    fields: type = config_class
    settings = settings_of(fields)
    words, as_they_stand = _halves(argv)
    if {"-h", "--help"} & set(words):
        from slimcls.cli.help import help_text

        say(help_text(config_class, usage(prog, positional), example, groups))
        raise SystemExit(0)
    named, bare = _told_apart(words, {"config": CONFIG} | settings)
    named += _stood_for(bare, as_they_stand, [n for n in positional if n not in dict(named)])
    values: dict[str, object] = {}
    for path in [word for name, word in named if name not in settings]:
        values |= _from_file(str(CONFIG.value(path)), settings)
    values |= {name: settings[name].value(word) for name, word in named if name in settings}
    for name, setting in settings.items():
        if setting.required and name not in values:
            raise UserError(_missing(setting, usage(prog, positional), positional))
    if extra:
        check_extra(prog, extra)
    return config_class(**values)


def usage(prog: str, positional: tuple[str, ...]) -> str:
    """How a command is written, its bare words in capitals."""
    words = [prog, *(name.upper() for name in positional)]
    return " ".join([*words, "[--name value ...]"])


def typed(config_class: type, name: str, value: object) -> object:
    """A value from YAML as the field ``name`` has it: ``"1e-4"`` as a number for ``lr``.

    Raises :class:`UserError` for an unknown field, with the nearest, or a value of another type.
    """
    return setting_named(str(name), settings_of(config_class)).value(value)


def _halves(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before ``--``, and those after it."""
    end = argv.index("--") if "--" in argv else len(argv)
    return list(argv[:end]), list(argv[end + 1 :])


def _told_apart(words: list[str], settings: Mapping[str, Setting]) -> tuple[Named, list[str]]:
    """Names with their values, and the bare words between them."""
    named: Named = []
    bare: list[str] = []
    pending = deque(words)
    while pending:
        word = pending.popleft()
        if word.startswith("--"):
            named.append(_named(word, pending, settings))
        else:
            bare.append(word)
    return named, bare


def _named(word: str, pending: deque[str], settings: Mapping[str, Setting]) -> tuple[str, str]:
    """``--batch_size=4`` as name and value; a value that stands apart is taken from ``pending``."""
    name, equals, value = word[2:].partition("=")
    name = name.replace("-", "_")
    if negated := name.startswith("no_"):
        name = name[3:]
    if name not in settings:
        raise UserError(_unknown_flag(name, settings))
    if negated or equals:
        return name, "false" if negated else value
    following = pending[0] if pending else "--"
    if settings[name].is_switch:
        return name, pending.popleft() if following.lower() in SWITCHED else "true"
    if following.startswith("--"):
        needed = "the name of a YAML file" if name == "config" else "a value"
        raise UserError(f"{settings[name].flag}: needs {needed}")
    return name, pending.popleft()


def _unknown_flag(name: str, settings: Mapping[str, Setting]) -> str:
    near = nearest(name, settings)
    meant = f"did you mean {settings[near].flag}?" if near else "see --help"
    return f"unknown flag {in_short(Setting(name).flag)}; {meant}"


def _stood_for(
    bare: list[str], as_they_stand: list[str], names: list[str]
) -> Iterable[tuple[str, str]]:
    """Bare words with the fields they stand for."""
    if len(bare) > len(names):
        word = in_short(bare[len(names)])
        raise UserError(f"unexpected word {word!r}: settings are given as --name value; see --help")
    if len(bare) + len(as_they_stand) > len(names):
        word = in_short(as_they_stand[len(names) - len(bare)])
        raise UserError(f"unexpected word {word!r} after --; see --help")
    return zip(names, [*bare, *as_they_stand], strict=False)


def _from_file(path: str, settings: Mapping[str, Setting]) -> dict[str, object]:
    values = {}
    for key, value in read_yaml(path).items():
        try:
            setting = setting_named(str(key), settings)
            values[setting.name] = setting.value(value)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    return values


def _missing(setting: Setting, usage: str, positional: tuple[str, ...]) -> str:
    if setting.name in positional:
        return f"{setting.name.upper()} is missing: {usage}"
    return f"{setting.flag}: is required; see --help"
