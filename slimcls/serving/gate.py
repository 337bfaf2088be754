"""What stands before the application: limits of a body, counting, giving up who has gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from slimcls.serving.metrics import Metrics

#: Seconds in which a body has to come.
PATIENCE = 30.0
#: What those who have gone are counted under, as nginx has it.
GONE = 499


class Gate:
    """Refuses bodies that are too long (413) or too slow (408) before anything is made of them.

    A request whose sender has gone is given up: what of it waits is not computed.
    """

    def __init__(self, app: ASGIApp, *, most: int, metrics: Metrics) -> None:
        self._app, self._most, self._metrics = app, most, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        counted_already = False

        def count(status: int) -> None:
            nonlocal counted_already
            # Who goes while an answer is being sent has had one.
            if counted_already:
                return
            counted_already = True
            self._metrics.requests.labels(status).inc()
            self._metrics.seconds.observe(time.perf_counter() - started)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            if not await self._pass_on(scope, receive, counted):
                count(GONE)
        except Exception:
            # What is around this answers.
            count(500)
            raise

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer; whether anybody is there to read it."""
        try:
            async with asyncio.timeout(PATIENCE):
                body = await self._body(scope, receive)
        except TimeoutError:
            await _refuse(408, "the body came too slowly", scope, receive, send)
            return True
        if body is None:
            said = f"the body has more than {self._most} bytes"
            await _refuse(413, said, scope, receive, send)
            return True
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        gone = asyncio.ensure_future(receive())

        async def replay() -> Message:
            return whole.pop() if whole else await asyncio.shield(gone)

        answering = asyncio.ensure_future(self._app(scope, replay, send))
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                await answering
                return True
        finally:
            gone.cancel()
            answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering
        return False

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None where it is longer than it may be, or announced to be."""
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._most:
                return None
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._most:
                return None
            # A client that has gone sends nothing more either; nobody reads what is answered.
            if not message.get("more_body", False):
                return bytes(body)


async def _refuse(status: int, said: str, scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"detail": said}, status)(scope, receive, send)
