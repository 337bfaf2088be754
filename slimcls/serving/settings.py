"""ServeConfig: what is served where, and how much of it at once."""

from __future__ import annotations

import os
from dataclasses import dataclass

from slimcls import cli
from slimcls.errors import UserError
from slimcls.storage.paths import PathName

_AT_LEAST_1 = ("processes", "threads", "batch_size", "queue", "max_texts", "max_characters")


@dataclass(kw_only=True)
class ServeConfig:
    """Answer HTTP requests with a finished run."""

    run: PathName
    """Run directory, the model folder in it, a folder of slimcls export, or ORG/NAME on the hub."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all of this machine's."""

    port: int = 8000
    """Port to listen at; 0 for any that is free."""

    processes: int = 1
    """Processes that answer, each with a model of its own."""

    threads: int | None = None
    """Threads that compute in each process; an equal share of the processors if not given."""

    batch_size: int = 32
    """Most texts that are computed together, out of those that wait; 1 computes one by one."""

    queue: int = 512
    """Most texts that wait in a process; what comes on top is turned away (503)."""

    max_texts: int = 256
    """Most texts of a request."""

    max_characters: int = 100_000
    """Most characters of a text."""

    max_body: int = 1_000_000
    """Most bytes of a request's body."""

    abstain_risk: float | None = None
    """Name a class only where it is sure enough that at most so many percent of the answers are
    wrong, as the validation texts show it (docs/predicting.md)."""

    sets: float | None = None
    """Also give each text the classes of a set that lacks the true one in at most so many percent
    of texts."""

    leave_early: bool = True
    """After slimcls cascade, let each text leave at the first exit that is sure of it."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)
        for name in _AT_LEAST_1:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} {value}: must be at least 1")
        if not 0 <= self.port < 2**16:
            raise UserError(f"--port {self.port}: must be from 0 to {2**16 - 1}")
        if self.max_body < 2:
            raise UserError(f"--max-body {self.max_body}: must be at least 2")
        if self.max_texts > self.queue:
            raise UserError(
                f"--max-texts {self.max_texts}: such a request never fits into --queue {self.queue}"
            )

    @property
    def threads_each(self) -> int:
        """Threads that compute in each process."""
        return self.threads or max(1, _processors() // self.processes)


def _processors() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
