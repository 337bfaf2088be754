"""uvicorn around the application: listening, stopping without a loss, several processes."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

import uvicorn

from slimcls import cli
from slimcls.classifier.artefact import load
from slimcls.errors import Interrupted, UserError
from slimcls.serving.settings import ServeConfig

#: Seconds in which connections that are open when a server is to stop may ask once more.
GRACE = 2.0
#: Connections that may wait to be taken.
BACKLOG = 2048
#: Least seconds between two starts of a process that ended by itself.
_BETWEEN = 1.0


class _Server(uvicorn.Server):
    """Answers every request whose connection was taken before it stops.

    uvicorn closes a connection that is idle when it stops, though a request may be on its way.
    Here every answer says from then on that it is the connection's last one, and those that are
    idle have :data:`GRACE` seconds to ask for it.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._take_the_last(sockets or [])
        # The requests that are being answered hold this very list.
        self.server_state.default_headers.append((b"connection", b"close"))
        end = time.monotonic() + GRACE
        while self.server_state.connections and time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    async def _take_the_last(self, listeners: list[socket.socket]) -> None:
        """Take all connections that are made already, and end the listening, for all processes.

        Between the last one and the end there is nothing to wait for: who connects in these
        microseconds alone finds a connection and nobody on it.
        """
        own = [listener.dup() for listener in listeners]
        for server in self.servers:
            server.close()
        loop, taken = asyncio.get_running_loop(), []
        for listener in own:
            listener.setblocking(False)
            with contextlib.suppress(OSError):  # BlockingIOError: nobody waits any more
                while True:
                    taken.append(listener.accept()[0])
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in taken:
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        made: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return made(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )


def serve(config: ServeConfig) -> int:
    """Answer requests until told to stop. Raises UserError before it has begun to listen."""
    if config.processes > 1:
        return _serve_together(config)
    from slimcls.serving.app import build

    app = build(load(config.run, threads=config.threads_each), config)
    with _listening(config) as listener:
        _answer(app, listener, lambda: _say(config, listener))
    return 0


def server_of(app: object, ready: Callable[[], object]) -> uvicorn.Server:
    """A server of the application; ``ready`` is called once it listens."""
    settings = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    return _Server(settings, ready)


def _answer(app: object, listener: socket.socket, ready: Callable[[], object]) -> None:
    """Answer at a socket until SIGTERM or Ctrl-C: the usual end of a server, not an error."""
    with contextlib.suppress(Interrupted, KeyboardInterrupt):
        server_of(app, ready).run([listener])


def _listening(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        found = socket.create_server((config.host, config.port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else "no such address"
        raise UserError(
            f"--host {config.host} --port {config.port}: cannot listen there ({reason})"
        ) from None
    found.set_inheritable(True)
    return found


def _say(config: ServeConfig, listener: socket.socket) -> None:
    host = f"[{config.host}]" if ":" in config.host else config.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    print(f"serving {config.run} at {address}; {address}/docs says how", file=sys.stderr)


def _serve_together(config: ServeConfig) -> int:
    """Several processes at one socket; one that ends by itself is started again."""
    context = multiprocessing.get_context("spawn")
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)

    with _listening(config) as listener, tempfile.TemporaryDirectory(prefix="slimcls-") as counted:
        from slimcls.serving.metrics import SHARED

        os.environ[SHARED] = counted

        def start() -> BaseProcess:
            process = context.Process(target=_process, args=(config, listener), daemon=False)
            process.start()
            return process

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        processes = [start() for _ in range(config.processes)]
        _say(config, listener)
        code = 0
        while not stopped and not code:
            wait([one.sentinel for one in processes], timeout=0.2)
            ended = [one for one in processes if one.exitcode is not None]
            code = max((one.exitcode or 0 for one in ended), default=0)
            if code <= 0 and ended and not stopped:  # killed, by whatever
                print(f"slimcls: {len(ended)} processes ended; starting again", file=sys.stderr)
                time.sleep(_BETWEEN)
                code = 0
                processes = [one for one in processes if one not in ended] + [
                    start() for _ in ended
                ]
        # While anybody holds it, new connections would wait there for nobody.
        listener.close()
        for one in processes:
            one.terminate()
        for one in processes:
            one.join()
    return code


def _process(config: ServeConfig, listener: socket.socket) -> None:
    """One of several; what is wrong with the run is told by each, and ends them all."""

    def answer() -> int:
        # It may be told to stop before it has begun.
        with contextlib.suppress(Interrupted, KeyboardInterrupt):
            from slimcls.serving.app import build

            app = build(load(config.run, threads=config.threads_each), config)
            _answer(app, listener, lambda: None)
        return 0

    sys.exit(cli.run(answer))
