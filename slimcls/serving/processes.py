"""Several processes that answer at one socket, each with a model of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from types import FrameType

from slimcls import cli
from slimcls.errors import Interrupted
from slimcls.serving.metrics import SHARED
from slimcls.serving.server import answer, opened
from slimcls.serving.settings import ServeConfig

#: Least seconds between a process that ended by itself and the one in its place.
BETWEEN = 1.0


def serve_together(
    config: ServeConfig, listener: socket.socket, ready: Callable[[], object]
) -> int:
    """Answer with ``config.processes`` processes until told to stop; the exit code.

    The first one is waited for: what is wrong with the run is told once. One that ends later is
    started again, and the others answer meanwhile.
    """
    context = multiprocessing.get_context("spawn")
    begun, ending = context.Event(), context.Event()

    def start() -> BaseProcess:
        process = context.Process(target=_process, args=(config, listener, begun, ending))
        process.start()
        return process

    with _shared_counters(), _told_to_stop() as stopped:
        processes = [start()]
        while not begun.is_set() and processes[0].is_alive() and not stopped:
            time.sleep(0.02)
        if begun.is_set() and not stopped:
            processes += [start() for _ in range(config.processes - 1)]
            ready()
        code = _watch(processes, start, stopped)
        ending.set()
        # While anybody holds it, new connections would wait there for nobody.
        listener.close()
        for one in processes:
            one.terminate()
        for one in processes:
            one.join()
    return code


def _watch(
    processes: list[BaseProcess], start: Callable[[], BaseProcess], stopped: list[int]
) -> int:
    """Start killed processes again until told to stop; the exit code of one that gave up."""
    while not stopped:
        wait([one.sentinel for one in processes], timeout=0.2)
        for place, one in enumerate(processes):
            if one.exitcode and one.exitcode > 0:
                return one.exitcode
            if one.exitcode is not None and not stopped:
                print(f"slimcls: process {one.pid} ended; another begins", file=sys.stderr)
                time.sleep(BETWEEN)
                processes[place] = start()
    return 0


@contextlib.contextmanager
def _shared_counters() -> Iterator[None]:
    """A folder in which all processes count."""
    with tempfile.TemporaryDirectory(prefix="slimcls-") as folder:
        os.environ[SHARED] = folder
        try:
            yield
        finally:
            del os.environ[SHARED]


@contextlib.contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """The signals to stop that have come meanwhile: SIGTERM and Ctrl-C."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _process(config: ServeConfig, listener: socket.socket, begun: Event, ending: Event) -> None:
    """One of the processes."""

    def work() -> int:
        # It may be told to stop before it has begun.
        with contextlib.suppress(Interrupted, KeyboardInterrupt):
            answer(opened(config), listener, begun.set, ending.is_set)
        return 0

    sys.exit(cli.run(work))
