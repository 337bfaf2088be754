"""Command lines from typed dataclasses: one schema for flags, YAML and ``--help``."""

from __future__ import annotations

import difflib
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

import jsonargparse
import yaml

from slimcls.errors import Interrupted, UserError

jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
T = TypeVar("T")


class Parser(jsonargparse.ArgumentParser):
    """jsonargparse with dashed flags and one-line errors."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, default_env=False, exit_on_error=True, **kwargs)

    def add_argument(self, *names: str, **kwargs: Any) -> Any:
        dashed = [n.replace("_", "-") for n in names if n.startswith("--") and "_" in n]
        return super().add_argument(*dashed, *names, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise UserError(_one_line(message, self))


def parse(
    config_class: type[T], argv: list[str], *, prog: str, positional: tuple[str, ...] = ()
) -> T:
    """Command-line words to a checked config.

    ``--config FILE`` gives YAML settings; flags win over them wherever they stand. Fields named in
    ``positional`` may stand bare, in that order. Raises :class:`UserError` for whatever the user
    got wrong, before anything heavy is imported.
    """
    parser = Parser(prog=prog, description=(config_class.__doc__ or "").strip())
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings; flags win over it")
    parser.add_class_arguments(config_class, None, as_group=False)
    words = _plain_words(argv, parser)
    settings, rest = _split_config(_named(words, positional), parser)
    namespace = parser.parse_args([*settings, *rest])
    values = {k: v for k, v in vars(namespace).items() if k != "config"}
    return config_class(**values)


def run(main: Callable[[], int]) -> int:
    """Run a verb with the exit codes of every command.

    0 done, 2 the user's error (one line on stderr), 130/143 stopped by Ctrl-C/SIGTERM. A bug keeps
    its traceback and exits 1.
    """
    try:
        return main()
    except UserError as error:
        # What a library said inside of it may have several lines.
        print("slimcls: error:", *str(error).splitlines(), file=sys.stderr)
        return 2
    except Interrupted as stop:
        print(f"slimcls: {stop}", file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        print("slimcls: stopped; the same command goes on where a checkpoint was", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output has gone (``| head``); the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _plain_words(argv: list[str], parser: Parser) -> list[str]:
    """Bare switches get their ``true``; ``0,1,5`` becomes the list it means."""
    words: list[str] = []
    for place, raw in enumerate(argv):
        word, value = _spelled(raw)
        following = argv[place + 1] if place + 1 < len(argv) else None
        if value is None and _is_switch(parser, word) and not _is_bool(following):
            words.append(f"{word}=true")
        elif value is None and words and words[-1] == "--layers":
            words.append(f"[{word}]" if re.fullmatch(r"-?\d+(,-?\d+)*", word) else word)
        elif word == "--layers" and value is not None:
            words.append(f"--layers=[{value.strip('[]')}]")
        else:
            words.append(word if value is None else f"{word}={value}")
    return words


def _named(words: list[str], positional: tuple[str, ...]) -> list[str]:
    """Bare words become the fields they stand for."""
    names, out = list(positional), []
    value_follows = False
    for word in words:
        if names and not value_follows and not word.startswith("--"):
            word = f"--{names.pop(0)}={word}"
        value_follows = word.startswith("--") and "=" not in word
        out.append(word)
    return out


def _spelled(word: str) -> tuple[str, str | None]:
    """``--batch_size=4`` to ``("--batch-size", "4")``; ``--no-x`` to ``("--x", "false")``."""
    if not word.startswith("--"):
        return word, None
    name, _, value = word.partition("=")
    name = name.replace("_", "-")
    if name.startswith("--no-"):
        return "--" + name[5:], "false"
    return name, value if "=" in word else None


def _is_switch(parser: Parser, name: str) -> bool:
    action = parser._option_string_actions.get(name)
    return getattr(action, "_typehint", None) is bool


def _is_bool(word: str | None) -> bool:
    return word is not None and word.lower() in ("true", "false", "yes", "no")


def _split_config(words: list[str], parser: Parser) -> tuple[list[str], list[str]]:
    """Settings of every ``--config`` as flags, and the words that are left."""
    settings: list[str] = []
    rest: list[str] = []
    pending = iter(words)
    for word in pending:
        if word == "--config":
            settings += _yaml_flags(next(pending, ""), parser)
        elif word.startswith("--config="):
            settings += _yaml_flags(word.partition("=")[2], parser)
        else:
            rest.append(word)
    return settings, rest


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A YAML mapping from a file. Raises UserError that names file and line."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping of settings, one 'key: value' a line")
    return content


def _yaml_flags(path: str, parser: Parser) -> list[str]:
    if not path or path.startswith("--"):
        raise UserError("--config: needs the name of a YAML file")
    words = []
    known = {name[2:] for name in parser._option_string_actions if name.startswith("--")}
    for key, value in read_yaml(path).items():
        name = str(key).replace("_", "-")
        if name not in known or name in ("config", "help"):
            try:
                raise UserError.unknown("setting", str(key), known - {"config", "help"})
            except UserError as error:
                raise UserError(f"{path}: {error}") from None
        words.append(f"--{name}={_yaml_word(value)}")
    return words


def _yaml_word(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _one_line(message: str, parser: Parser) -> str:
    """jsonargparse's message in the user's terms: the flag, what was given, what would do."""
    text = " ".join(str(message).split())
    if match := re.search(r"[Uu]nrecognized arguments: (\S+)", text):
        return _unknown_word(match[1], parser)
    if match := re.search(r"arguments are required: (\w+)", text):
        return f"--{match[1].replace('_', '-')}: is required; see --help"
    if match := re.search(r"argument (--[\w-]+)\S*: [Ee]xpected one argument", text):
        return f"{match[1]}: needs a value"
    if match := re.search(r'Parser key "(\w+)".*[Vv]alue: (.*)$', text):
        return _wrong_value(match[1], match[2], parser)
    return text


def _unknown_word(word: str, parser: Parser) -> str:
    if not word.startswith("--"):
        return f"unexpected word {word!r}: settings are given as --name value; see --help"
    known = [n for n in parser._option_string_actions if re.fullmatch(r"--[a-z-]+", n)]
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"unknown flag {word}; " + (f"did you mean {near[0]}?" if near else "see --help")


def _wrong_value(field: str, value: str, parser: Parser) -> str:
    flag = "--" + field.replace("_", "-")
    hint = getattr(parser._option_string_actions[flag], "_typehint", str)
    near = difflib.get_close_matches(value, _choices(hint), n=1, cutoff=0.5)
    nearest = f"; did you mean {near[0]}?" if near else ""
    return f"{flag} {value}: must be {_in_words(hint)}{nearest}"


def _choices(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [str(choice) for choice in get_args(hint)]
    return [choice for part in get_args(hint) for choice in _choices(part)]


def _in_words(hint: Any) -> str:
    """What a value of this type looks like, for an error line."""
    plain = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if hint in plain:
        return plain[hint]
    if get_origin(hint) is Literal:
        choices = [str(choice) for choice in get_args(hint)]
        return ("one of " if len(choices) > 1 else "") + ", ".join(choices)
    if get_origin(hint) is list:
        return "whole numbers with commas between them, as in 0,1,5"
    return " or ".join(_in_words(part) for part in get_args(hint) if part is not type(None))
