"""How far a fit is: a bar with the time left on a terminal, a line a step everywhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm

from slimcls.log import Log, duration

#: Seconds between two moves of the bar.
EVERY = 1.0


class Progress:
    """Planned seconds that are done; a step moves the bar as its time passes, up to what it has."""

    def __init__(self, total: float, log: Log) -> None:
        self._log = log
        self._bar: tqdm[NoReturn] = tqdm(
            total=round(total),
            disable=not sys.stderr.isatty(),
            leave=False,
            bar_format="{desc} {percentage:3.0f}%|{bar}| at most {remaining} left",
        )
        self._done = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    @contextmanager
    def step(self, name: str, seconds: float) -> Iterator[None]:
        """A step that was planned to take so long."""
        self._log.say(f"{name}: at most {duration(seconds)}")
        self._bar.set_description(name)
        ended = threading.Event()
        ticking = threading.Thread(target=self._tick, args=(seconds, ended), daemon=True)
        ticking.start()
        try:
            yield
        finally:
            ended.set()
            ticking.join()
            self._done += seconds
            self._move(self._done)

    def _tick(self, seconds: float, ended: threading.Event) -> None:
        started = time.monotonic()
        while not ended.wait(EVERY):
            self._move(self._done + min(time.monotonic() - started, seconds))

    def _move(self, to: float) -> None:
        self._bar.update(max(0, round(to) - self._bar.n))
