"""The errors a user can cause: one line each, exit code 2, never a traceback."""

from __future__ import annotations

from collections.abc import Iterable

#: Most letters of what a user gave that a message repeats.
SHOWN = 60


class UserError(ValueError):
    """What is wrong, where, and what to do, in one line.

    Commands print it as ``slimcls: error: MESSAGE`` and exit with code 2. It is a ValueError, which
    is what scikit-learn and its users expect of wrong input: whoever catches one around what may
    raise the other lets the UserError pass first.
    """

    @classmethod
    def unknown(cls, kind: str, name: str, known: Iterable[str], hint: str = "") -> UserError:
        """An unknown name: lists the known ones and the nearest.

        ``hint`` is appended as it is, for what else would have been accepted.
        """
        # What answers once has no use for it, and would wait for its import.
        import difflib

        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        nearest = f"; did you mean {near[0]!r}?" if near else ""
        extra = f"; {hint}" if hint else ""
        return cls(f"unknown {kind} {in_short(name)!r}{nearest} (known: {', '.join(names)}{extra})")


def in_short(text: str) -> str:
    """What a message repeats of a text: its beginning, on one line, nothing a terminal obeys."""
    plain = text if text.isprintable() else text.encode("unicode_escape", "replace").decode()
    return plain if len(plain) <= SHOWN else f"{plain[: SHOWN - 3]}..."


class Busy(UserError):
    """Another process holds the run directory, or makes what the run needs."""


class Diverged(UserError):
    """Training led to numbers that are not finite: the settings do not work."""


class Interrupted(BaseException):
    """The run was asked to stop (Ctrl-C or SIGTERM) and has saved what it needs to go on.

    No ``except Exception`` on the way may keep it.
    """

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
