"""Lines for the person at the terminal, kept in a run's log file too."""

from __future__ import annotations

import sys
from pathlib import Path


class Log:
    """Lines for the person at the terminal, kept in the run's ``log.txt`` from :meth:`keep` on.

    A quiet one says and keeps nothing; one that is not aloud keeps lines and prints none.
    """

    def __init__(self, *, quiet: bool = False, aloud: bool = True) -> None:
        self.quiet = quiet
        self._aloud = aloud
        self._path: Path | None = None
        self._said: list[str] = []

    def keep(self, path: Path) -> None:
        """Append what was said so far, and what will be, to the file."""
        if not self.quiet:
            self._path = path
            self._append("".join(self._said))

    @property
    def bars(self) -> bool:
        """Whether progress bars are to be seen beside the lines."""
        return self._aloud and not self.quiet and sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Print to stderr, above a progress bar."""
        from tqdm import tqdm

        if self.quiet:
            return
        if self._aloud:
            tqdm.write(text, file=sys.stderr)
        self._said.append(text + "\n")
        self._append(self._said[-1])

    def _append(self, text: str) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 90 * 60 else f"{seconds / 3600:.1f} hours"
