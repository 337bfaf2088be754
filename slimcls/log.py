"""Lines for the person at the terminal, kept in a run's log file too."""

from __future__ import annotations

import sys
from pathlib import Path


class Log:
    """Lines for the person at the terminal, kept in the run's ``log.txt`` from :meth:`keep` on."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._path: Path | None = None
        self._said: list[str] = []

    def keep(self, path: Path) -> None:
        """Append what was said so far, and what will be, to the file."""
        if not self.quiet:
            self._path = path
            self._append("".join(self._said))

    def say(self, text: str) -> None:
        """Print to stderr, above a progress bar."""
        from tqdm import tqdm

        if self.quiet:
            return
        tqdm.write(text, file=sys.stderr)
        self._said.append(text + "\n")
        self._append(self._said[-1])

    def _append(self, text: str) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)
