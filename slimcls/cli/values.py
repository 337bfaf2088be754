"""From a word to a value of a type, and a type in words."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from types import NoneType
from typing import Annotated, Literal, get_args, get_origin

from slimcls.errors import UserError
from slimcls.storage.paths import PathName, user_path

Reader = Callable[[str], object]


def _whole_number(word: str) -> int:
    if not re.fullmatch("[+-]?[0-9]+", word):
        raise ValueError
    return int(word)


def _number(word: str) -> float:
    found = float(word)
    if not math.isfinite(found) or "_" in word:
        raise ValueError
    return found


def _whole_numbers(word: str) -> list[int]:
    inside = word.strip().removeprefix("[").removesuffix("]").strip()
    return [_whole_number(part.strip()) for part in inside.split(",")] if inside else []


#: How a switch may be spelled out.
SWITCHED = {"true": True, "yes": True, "false": False, "no": False}

#: What a value of a type looks like, and how a word is read as one.
KINDS: dict[object, tuple[str, Reader]] = {
    int: ("a whole number", _whole_number),
    float: ("a number", _number),
    str: ("a text", str),
    bool: ("true or false", lambda word: SWITCHED[word.lower()]),
    list[int]: ("whole numbers with commas between them, as in 0,1,5", _whole_numbers),
}


def value_of(word: str, hint: object, flag: str) -> object:
    """The word as a value of the type ``hint``; ``null`` is None where the type has it.

    A path gets its ``~`` expanded. Raises ValueError or KeyError where the word is none, UserError
    with ``flag`` for a path that there cannot be.
    """
    if hint in KINDS:
        return KINDS[hint][1](word)
    if get_origin(hint) is Annotated:
        path = user_path(word, flag)
        return str(path) if hint == PathName and word.startswith("~") else word
    if get_origin(hint) is Literal:
        return {str(choice): choice for choice in get_args(hint)}[word]
    parts = get_args(hint)
    if NoneType in parts and word == "null":
        return None
    for part in (part for part in parts if part is not NoneType):
        try:
            return value_of(word, part, flag)
        except UserError:
            raise
        except (ValueError, KeyError):
            continue
    raise ValueError


def kept(value: object, hint: object, flag: str) -> object:
    """A value given in Python as a setting of the type ``hint`` keeps it; no text is a number.

    Numbers of other libraries become Python's own, whole ones where the type wants a number too;
    a path becomes its name, any row of whole numbers a list. Raises ValueError where the value is
    none of the type, UserError with ``flag`` as :func:`value_of` does.
    """
    if hint in TAKEN:
        return TAKEN[hint](value)
    if get_origin(hint) is Annotated:
        return value_of(_name(value), hint, flag)
    if get_origin(hint) is Literal:
        return get_args(hint)[get_args(hint).index(_text(value))]
    for part in get_args(hint):
        try:
            return kept(value, part, flag)
        except UserError:
            raise
        except ValueError:
            continue
    raise ValueError


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError
    return int(value)


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return str(value)


def _name(value: object) -> str:
    return _text(os.fspath(value) if isinstance(value, os.PathLike) else value)


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _row(value: object) -> list[int]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError
    return [_whole(one) for one in value]


def _nothing(value: object) -> None:
    if value is not None:
        raise ValueError


#: How a value given in Python is taken as one of a type.
TAKEN: dict[object, Callable[[object], object]] = {
    int: _whole, float: _finite, str: _text, bool: _switch, list[int]: _row, NoneType: _nothing,
}  # fmt: skip


def named_words(hint: object) -> list[str]:
    """The words that the type names."""
    if get_origin(hint) is Literal:
        return [str(choice) for choice in get_args(hint)]
    return [choice for part in get_args(hint) for choice in named_words(part)]


def in_words(hint: object) -> str:
    """What a value of this type looks like, for people."""
    if hint in KINDS:
        return KINDS[hint][0]
    if get_origin(hint) is Annotated:
        return str(get_args(hint)[1])
    if get_origin(hint) is Literal:
        names = named_words(hint)
        return ("one of " if len(names) > 1 else "") + ", ".join(names)
    return " or ".join(in_words(part) for part in get_args(hint) if part is not NoneType)
