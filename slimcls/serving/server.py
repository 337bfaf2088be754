"""uvicorn around the application: listening, and stopping without a loss."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from slimcls.classifier.artefact import load
from slimcls.errors import Interrupted, UserError
from slimcls.serving.settings import ServeConfig

if TYPE_CHECKING:
    from fastapi import FastAPI

#: Seconds in which connections that are open when a server is to stop may ask once more.
GRACE = 2.0
#: Connections that may wait to be taken.
BACKLOG = 2048


class _Server(uvicorn.Server):
    """Answers every request whose connection was taken before it stops.

    uvicorn closes a connection that is idle when it stops, though a request may be on its way.
    Here every answer says from then on that it is the connection's last one, and those that are
    idle have :data:`GRACE` seconds to ask for it.
    """

    def __init__(
        self, config: uvicorn.Config, ready: Callable[[], object], last: Callable[[], bool]
    ) -> None:
        super().__init__(config)
        self._ready, self._last = ready, last

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._last():
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


def opened(config: ServeConfig) -> FastAPI:
    """The application over the run. Raises UserError where it cannot be opened."""
    from slimcls.serving.app import build

    # A batch's tokens take half a millisecond; threads of its own, as many as there are processors,
    # would be woken for each, beside those that --threads says compute.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    classifier = load(config.run, threads=config.threads_each, leave_early=config.leave_early)
    return build(classifier, config)


def server_of(
    app: object, ready: Callable[[], object], last: Callable[[], bool] = lambda: True
) -> uvicorn.Server:
    """A server of the application; ``ready`` is called once it listens.

    ``last``: whether nobody listens there after it; else others take what connects.
    """
    settings = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    return _Server(settings, ready, last)


def answer(
    app: object,
    listener: socket.socket,
    ready: Callable[[], object],
    last: Callable[[], bool] = lambda: True,
) -> None:
    """Answer at a socket until SIGTERM or Ctrl-C: the usual end of a server, not an error."""
    with contextlib.suppress(Interrupted, KeyboardInterrupt):
        server_of(app, ready, last).run([listener])


def listening(config: ServeConfig) -> socket.socket:
    """A socket at the address of the settings. Raises UserError where there can be none."""
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


def say_where(config: ServeConfig, listener: socket.socket) -> None:
    """Tell on stderr where a server answers."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    print(f"serving {config.run} at {address}; {address}/docs says how", file=sys.stderr)
