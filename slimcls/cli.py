"""Command lines from typed dataclasses: one schema for flags, YAML and ``--help``."""

from __future__ import annotations

import difflib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import jsonargparse

from slimcls.errors import Interrupted, UserError
from slimcls.storage.yaml_files import read_yaml

jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
T = TypeVar("T")


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


class Parser(jsonargparse.ArgumentParser):
    """jsonargparse with dashed flags and one-line errors."""

    #: Settings that may stand as bare words.
    positional: tuple[str, ...] = ()

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

    ``--config FILE`` gives YAML settings; flags win over them wherever they stand; a class with a
    field ``config`` reads that file itself. Fields named in
    ``positional`` may stand bare, in that order; after ``--`` words are taken as they stand, even
    with dashes in front. Raises :class:`UserError` for whatever the user got wrong, before anything
    heavy is imported.
    """
    usage = _usage(prog, positional) if positional else {}
    parser = Parser(prog=prog, description=(config_class.__doc__ or "").strip(), **usage)
    parser.positional = positional
    reads_itself = "config" in getattr(config_class, "__dataclass_fields__", {})
    if not reads_itself:
        parser.add_argument("--config", metavar="FILE", help="YAML of settings; flags win over it")
    parser.add_class_arguments(config_class, None, as_group=False)
    end = argv.index("--") if "--" in argv else len(argv)
    words = _named(_plain_words(argv[:end], parser), argv[end + 1 :], positional)
    settings, rest = ([], words) if reads_itself else _split_config(words, parser)
    namespace = parser.parse_args([*settings, *rest])
    values = {k: v for k, v in vars(namespace).items() if reads_itself or k != "config"}
    return config_class(**values)


def typed(config_class: type, name: str, value: Any) -> Any:
    """A value from YAML as the field ``name`` has it: ``"1e-4"`` as a number for ``lr``.

    Raises :class:`UserError` for an unknown field, with the nearest, or a value of another type.
    """
    field = str(name).replace("-", "_")
    known = set(get_type_hints(config_class))
    if field not in known:
        raise _unknown_setting(str(name), known)
    parser, word = _settings(config_class), _yaml_word(value)
    given = _listed(word) if _is_list(parser, f"--{field}") else word
    return vars(parser.parse_args([f"--{field}={given}"]))[field]


@cache
def _settings(config_class: type) -> Parser:
    """A parser that takes single settings and asks for none."""
    parser = Parser(prog="")
    for name, hint in get_type_hints(config_class).items():
        parser.add_argument(f"--{name}", type=hint, default=None)
    return parser


def _usage(prog: str, positional: tuple[str, ...]) -> dict[str, str]:
    """The head and foot of ``--help`` where words may stand bare."""
    bare = " ".join(name.upper() for name in positional)
    command = prog.replace(".", " ")
    last = positional[-1].upper()
    return {
        "usage": f"{command} {bare} [--name value ...]",
        "epilog": f"{last} may begin with dashes after a --, as in: {command} ... -- '--no way'",
    }


def run(main: Callable[[], int]) -> int:
    """Run a verb with the exit codes of every command.

    0 done, 2 the user's error (one line on stderr), 130/143 stopped by Ctrl-C/SIGTERM. A bug keeps
    its traceback and exits 1.
    """
    before = _stop_at_sigterm()
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
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _stop_at_sigterm() -> Any:
    """End in a line and exit code 143, not without a word; training has its own way to stop."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted(number, "stopped; the same command goes on where a checkpoint was")

    if threading.current_thread() is threading.main_thread():
        return signal.signal(signal.SIGTERM, stop)
    return None


def _plain_words(argv: list[str], parser: Parser) -> list[str]:
    """Bare switches get their ``true``; ``0,1,5`` becomes the list it means."""
    words: list[str] = []
    for place, raw in enumerate(argv):
        word, value = _spelled(raw)
        following = argv[place + 1] if place + 1 < len(argv) else None
        if value is None and _is_switch(parser, word) and not _is_bool(following):
            words.append(f"{word}=true")
        elif value is None and words and _is_list(parser, words[-1]) and not _is_flag(word):
            words.append(_listed(word))
        elif value is None:
            words.append(word)
        else:
            words.append(f"{word}={_listed(value) if _is_list(parser, word) else value}")
    return words


def _is_flag(word: str) -> bool:
    return word.startswith("--")


def _is_list(parser: Parser, name: str) -> bool:
    hint = getattr(parser._option_string_actions.get(name), "_typehint", None)
    return any(get_origin(part) is list for part in (hint, *get_args(hint)))


def _listed(value: str) -> str:
    """``0,1,5`` as the list it means; what is no list of numbers stays as it is."""
    return f"[{value}]" if re.fullmatch(r"\s*(-?\d+\s*(,\s*-?\d+\s*)*)?", value) else value


def _named(words: list[str], as_they_stand: list[str], positional: tuple[str, ...]) -> list[str]:
    """Bare words become the fields they stand for, those after ``--`` whatever they look like."""
    names, out = list(positional), []
    value_follows = False
    for word in words:
        if names and not value_follows and not word.startswith("--"):
            word = f"--{names.pop(0)}={word}"
        value_follows = word.startswith("--") and "=" not in word
        out.append(word)
    if len(as_they_stand) > len(names):
        raise UserError(f"unexpected word {as_they_stand[len(names)]!r} after --; see --help")
    return out + [f"--{name}={word}" for name, word in zip(names, as_they_stand, strict=False)]


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


def _yaml_flags(path: str, parser: Parser) -> list[str]:
    if not path or path.startswith("--"):
        raise UserError("--config: needs the name of a YAML file")
    words = []
    known = {name[2:] for name in parser._option_string_actions if name.startswith("--")}
    for key, value in read_yaml(path).items():
        name = str(key).replace("_", "-")
        if name not in known or name in ("config", "help"):
            raise UserError(f"{path}: {_unknown_setting(str(key), known - {'config', 'help'})}")
        word = _yaml_word(value)
        words.append(f"--{name}={_listed(word) if _is_list(parser, f'--{name}') else word}")
    return words


def _unknown_setting(key: str, known: set[str]) -> UserError:
    ours = ELSEWHERE.get("--" + key.replace("_", "-"), "")[2:]
    if ours and known & {ours, ours.replace("-", "_")}:
        return UserError(f"unknown setting {key!r}; did you mean {ours!r}?")
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    # They are too many to be listed in a line.
    return UserError(
        f"unknown setting {key!r}; " + (f"did you mean {near[0]!r}?" if near else "see --help")
    )


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
        if match[1] in parser.positional:
            return f"{match[1].upper()} is missing: {parser.usage}"
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
    word = word.partition("=")[0]
    near = [ours] if (ours := ELSEWHERE.get(word)) in known else None
    near = near or difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"unknown flag {word}; " + (f"did you mean {near[0]}?" if near else "see --help")


def _wrong_value(field: str, value: str, parser: Parser) -> str:
    flag = "--" + field.replace("_", "-")
    hint = getattr(parser._option_string_actions[flag], "_typehint", str)
    near = difflib.get_close_matches(value, _choices(hint), n=1, cutoff=0.6)
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
