"""What ``--metrics`` names, as it is written: nothing is looked for, nothing is run.

A metric is code. That of a file or folder here is run because it is named; that of the hub only at
a commit and with ``--trust-metric-code``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimcls.errors import UserError, in_short
from slimcls.storage.network import endpoint

#: Whose metrics have a name without a slash at the hub.
_LIBRARY = "evaluate-metric"

_NAME = re.compile(r"(?P<name>[^:@,]+)(?:@(?P<commit>[^:@,]*))?(?P<given>(?::[^:,]*)*)")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Named:
    """One of ``--metrics``, as it is written; nothing has been looked for."""

    written: str
    name: str
    commit: str | None
    given: tuple[tuple[str, Any], ...] = ()
    """What else it is computed with, as ``average=macro``."""

    @property
    def here(self) -> bool:
        """Whether it is a file or folder, by its looks alone: a result says it years later."""
        looks = self.name.startswith((".", "/", "~")) or self.name.endswith(".py")
        return self.commit is None and looks

    @property
    def key(self) -> str:
        """What it is called in a result."""
        settings = "".join(f":{name}={_written(value)}" for name, value in self.given)
        return Path(self.name).name.removesuffix(".py") + settings

    @property
    def repo(self) -> str:
        """Its name at the hub, where metrics are spaces."""
        return self.name if "/" in self.name else f"{_LIBRARY}/{self.name}"

    @property
    def page(self) -> str:
        """Where its code can be read at the hub."""
        return f"{endpoint()}/spaces/{self.repo}"


def named_metrics(words: str | None, *, trusted: bool) -> list[Named]:
    """The metrics that ``--metrics`` names, told apart by ``key``.

    ``NAME[@COMMIT][:SETTING=VALUE]...``, with commas between them. Nothing is looked for or run.

    Raises UserError for what is written wrongly, one of the hub without a commit or not trusted,
    and two that would be called the same.
    """
    found: dict[str, Named] = {}
    for word in words.split(",") if words is not None else ():
        named = _named(word.strip())
        if not named.here:
            _check_hub(named, trusted)
        if named.key in found:
            raise UserError(f"--metrics {named.written}: {named.key} stands there twice")
        found[named.key] = named
    return list(found.values())


def _named(word: str) -> Named:
    match = _NAME.fullmatch(word)
    if match is None:
        raise UserError(
            f"--metrics {in_short(word)!r}: must be NAME@COMMIT of the hub, a .py file or a folder "
            "with one of its name, and then :SETTING=VALUE, with commas between metrics"
        )
    given = {}
    for setting in match["given"].split(":")[1:]:
        name, equals, value = setting.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(
                f"--metrics {in_short(word)}: {in_short(setting)!r} is no setting, as average=macro"
            )
        given[name] = _read(value)
    return Named(word, match["name"], match["commit"], tuple(given.items()))


def _read(value: str) -> Any:
    """A setting's value: a number, true, false, null, or the text as it stands."""
    try:
        found = json.loads(value)
    except ValueError:
        return value
    return found if found is None or isinstance(found, bool | int | float) else value


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _check_hub(named: Named, trusted: bool) -> None:
    word = in_short(named.written)
    if not _HUB_NAME.fullmatch(named.name):
        raise UserError(f"--metrics {word}: is no name of the hub, and no path, as ./my_metric")
    if named.commit is None or not _COMMIT.fullmatch(named.commit):
        raise UserError(
            f"--metrics {word}: a metric of the hub is code, so pin it, as {named.name}@COMMIT, "
            f"with the 40 digits of a commit of {named.page}, and add --trust-metric-code; one of "
            f"your own is a path, as ./{named.name}"
        )
    if not trusted:
        raise UserError(
            f"--metrics {word}: is code of {named.page}, which would be run here; read it, then "
            "add --trust-metric-code"
        )
