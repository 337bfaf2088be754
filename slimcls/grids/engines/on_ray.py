"""Works on many cells at once, wherever Ray has machines; the output folder is shared by all."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, TypeVar

from slimcls.config import RunConfig
from slimcls.errors import Interrupted, UserError
from slimcls.grids.attempts import Ended, Runner, attempt, shared
from slimcls.grids.cells import Cell
from slimcls.grids.engines import Again, Job, Started
from slimcls.grids.forecast import Forecast, forecast
from slimcls.version import __version__

if TYPE_CHECKING:
    from ray import ObjectRef as Task

T = TypeVar("T")
#: What a signal does, as :mod:`signal` has it.
Handler = Callable[[int, FrameType | None], object] | int | None
#: Seconds in which a Ray address must answer.
ANSWER_SECONDS = 10.0
#: Seconds that cells have to save their state when the grid is asked to stop.
GOODBYE = 30.0
#: How often Ray tries to join what answers, a second apart; it reads this when it is imported.
_TRIES = ("RAY_NUM_REDIS_GET_RETRIES", "5")
#: How every HTTP/2 talk begins, which gRPC speaks: the client's preface and empty settings.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4


class OnRay:
    """The engine of a cluster.

    Each cell is a Ray task without retries of its own: what is lost comes back as lost, and the
    grid says whether it is started again, from its checkpoint.
    """

    def __init__(self, runner: Runner, address: str, cpus: float, gpus: float) -> None:
        self.runner, self.address = runner, address
        self.options: dict[str, float] = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0}
        self.threads = max(1, int(cpus))
        self.asked_to_stop = False
        self._before = signal.getsignal(signal.SIGTERM)
        self._quiet = contextlib.redirect_stdout(io.StringIO())
        self.ray = _connect(address)
        # Ray prints what its machines report among our results.
        self._quiet.__enter__()
        self._note_sigterm()
        self._memory = self._check_resources({"CPU": cpus, "GPU": gpus})

    def forecast(self, runs: Sequence[RunConfig]) -> list[Forecast]:
        """On a machine of the cluster with a cell's processors and GPUs."""
        self._check_machines(Path(runs[0].out))
        task = self.ray.remote(_forecast).options(**self.options | {"max_retries": 3})
        return self._get(task.remote(str(Path.cwd()), _carried(), list(runs)))

    def attempts(
        self, jobs: Sequence[Job], started: Started, again: Again, *, retry_failed: bool
    ) -> Iterator[tuple[Cell, Ended]]:
        """All at once, as far as the cluster has room."""
        tasks = {self._submit(job[1], retry_failed): job for job in jobs}
        try:
            waiting = list(tasks)
            while waiting:
                ready, waiting = self._wait(waiting)
                for task in ready:
                    cell, known = tasks.pop(task)
                    ended = self._ended(task)
                    if ended.status == "lost" and again(cell, ended):
                        another = self._submit(known, retry_failed)
                        tasks[another] = cell, known
                        waiting.append(another)
                    else:
                        yield cell, ended
        finally:
            self._stop(waiting)

    def close(self) -> None:
        """Leave the cluster, or end the one that was started for this grid."""
        self.ray.shutdown()
        self._quiet.__exit__(None, None, None)
        _set_sigterm(self._before)

    def _note_sigterm(self) -> None:
        """Only note that SIGTERM came: Ray's waiting would turn what is raised into a crash."""

        def note(number: int, frame: FrameType | None) -> None:
            self.asked_to_stop = True

        _set_sigterm(note)

    def _wait(self, tasks: list[Task[T]]) -> tuple[list[Task[T]], list[Task[T]]]:
        """A task that ended, if one did within a second, and the others."""
        if self.asked_to_stop:
            raise Interrupted(signal.SIGTERM, "stopped; the same command goes on")
        ended, others = self.ray.wait(tasks, num_returns=1, timeout=1.0)
        return ended, others

    def _submit(self, known: Forecast, retry: bool) -> Task[Ended]:
        # Ray starts no more cells on a machine than its memory holds.
        memory = {} if self.options["num_gpus"] else {"memory": min(known.memory, self._memory)}
        task = self.ray.remote(_attempt).options(**self.options, **memory)
        here = str(Path.cwd()), _carried()
        return task.remote(*here, self.threads, known.run, self.runner, retry)

    def _ended(self, task: Task[Ended]) -> Ended:
        errors = self.ray.exceptions
        try:
            ended: Ended = self.ray.get(task)
        except errors.RayTaskError:
            raise  # a bug of the grid's own
        except errors.RayError as error:
            kind = type(error).__name__
            return Ended("lost", error=f"its process or machine was lost ({kind})")
        if ended.status == "stopped":  # not by us: its machine was told to go
            return Ended("lost", ended.folder, "its process was told to stop")
        return ended

    def _stop(self, tasks: Sequence[Task[Ended]]) -> None:
        """Ask tasks that still run to stop, and give them time to save their state."""
        for task in tasks:
            self.ray.cancel(task, force=False)
        if tasks:
            self.ray.wait(tasks, num_returns=len(tasks), timeout=GOODBYE)

    def _check_resources(self, wanted: dict[str, float]) -> int:
        """Bytes of the largest machine. Raises UserError where none has what a cell wants."""
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        for name, count in wanted.items():
            most = max((machine.get(name, 0.0) for machine in machines), default=0.0)
            if count > most:
                raise UserError(
                    f"--{name.lower()}s {count:g}: no machine of the Ray cluster has that many; "
                    f"the most is {most:g}"
                )
        return int(max(machine.get("memory", 0.0) for machine in machines))

    def _check_machines(self, out: Path) -> None:
        """Whether every machine has this slimcls and sees the same files. Raises UserError."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        marker = out / f".shared-{uuid.uuid4().hex}"
        try:
            out.mkdir(parents=True, exist_ok=True)
            marker.touch()
        except OSError as error:
            raise UserError(f"--out {out}: cannot be written ({error.strerror})") from None
        looks = []
        for node in self.ray.nodes():
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            look = self.ray.remote(_look).options(num_cpus=0, scheduling_strategy=there)
            if node["Alive"]:
                task = look.remote(str(Path.cwd()), str(marker), __version__)
                looks.append((node["NodeManagerHostname"], task))
        try:
            for machine, task in looks:
                if found := self._get(task):
                    raise UserError(f"{machine}: {found}")
        finally:
            marker.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                out.rmdir()  # if it is empty

    def _get(self, task: Task[T]) -> T:
        """The result of a task, the user's errors as they were raised there."""
        while not self._wait([task])[0]:
            pass
        try:
            return self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            if isinstance(error.cause, ImportError):
                raise UserError(f"a machine of the Ray cluster: {error.cause}") from None
            raise


def _connect(address: str) -> ModuleType:
    """Ray, started or joined. Raises UserError where it is not installed or does not answer."""
    if address != "local":
        os.environ.setdefault(*_TRIES)
    try:
        import ray
    except ImportError:
        raise UserError("--engine ray: Ray is missing; pip install 'slimcls[grid]'") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    where = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    if where not in ("", "local"):
        _knock(where)
    # None where it is joined: who started it has decided.
    dashboard = False if address == "local" else None
    try:
        with _muted() if address != "local" else contextlib.nullcontext():
            ray.init(
                address=address,
                include_dashboard=dashboard,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        line = (str(error).strip().splitlines() or [""])[0]
        raise UserError(f"--address {address}: no Ray answers ({line})") from None
    return ray


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Without the line a try that Ray's core writes, past Python's streams."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _set_sigterm(handler: Handler) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _knock(address: str) -> None:
    """Raise UserError where nothing answers in Ray's language: Ray itself waits for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise UserError(f"--address {address}: local, auto, HOST:PORT or ray://HOST:PORT")
    end = time.monotonic() + ANSWER_SECONDS
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS) as line:
            line.settimeout(max(0.1, end - time.monotonic()))
            line.sendall(_HELLO)
            frame = line.recv(9)
    except OSError as error:
        raise UserError(f"--address {address}: does not answer ({error})") from None
    if len(frame) < 4 or frame[3] != _SETTINGS:
        raise UserError(f"--address {address}: what answers there is not Ray")


def _carried() -> dict[str, str]:
    """Environment that cells need to find the same files as here."""
    names = ("SLIMCLS_DATA_DIR", "HF_ENDPOINT", "HF_HUB_OFFLINE")
    return {name: os.environ[name] for name in names if name in os.environ}


# What follows runs in Ray's workers.


def _look(folder: str, marker: str, version: str) -> str:
    """What is wrong with this machine; empty if nothing is. Imports what cells need."""
    if not Path(folder).is_dir():
        return f"has no folder {folder}; start Ray where the grid's folder is shared"
    os.chdir(folder)
    if not Path(marker).exists():
        return f"does not see {Path(marker).parent}; --out must lie on a file system that all share"
    importlib.import_module("slimcls.session.work")
    return "" if __version__ == version else f"has slimcls {__version__}, the grid has {version}"


def _settle(folder: str, environment: dict[str, str]) -> None:
    """Make this process see files as the grid does."""
    os.chdir(folder)
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    for name in list(os.environ):
        # Lightning would take the cell for a part of a larger run.
        if name.startswith("SLURM_"):
            del os.environ[name]


def _forecast(folder: str, environment: dict[str, str], runs: list[RunConfig]) -> list[Forecast]:
    _settle(folder, environment)
    return forecast(runs, shared())


def _attempt(
    folder: str,
    environment: dict[str, str],
    threads: int,
    run: RunConfig,
    runner: Runner,
    retry: bool,
) -> Ended:
    try:
        _settle(folder, environment)
    except OSError as error:  # a machine that has joined since
        return Ended("lost", error=f"{socket.gethostname()} has no {folder} ({error.strerror})")
    import torch

    torch.set_num_threads(threads)
    try:
        return attempt(run, runner, retry=retry)
    except (Interrupted, KeyboardInterrupt):
        return Ended("stopped")
