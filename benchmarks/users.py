"""Users of a server: many connections that stay open, in one loop and without a client library.

An ordinary client takes longer for a request than the server does; these take microseconds. Run as
``python -m benchmarks.users`` it reads one JSON object, the arguments of :func:`ask`, from standard
input, and prints what came of it: in a process of its own it takes no time from what it measures
but the processor's.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

#: Seconds after the end that a user waits for an answer; what has not come by then is lost.
PATIENCE = 10.0


@dataclass
class Answered:
    """What users got."""

    seconds: list[float] = field(default_factory=list)
    """From when each request was due to its whole answer."""
    statuses: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    """Requests that were sent, and never or not wholly answered."""
    turned_away: int = 0
    """Users that found nobody listening: they go."""
    elapsed: float = 0.0
    """Seconds from the first request to the last answer."""

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.statuses["200"] / self.elapsed


class _User:
    """One connection, over which requests go one after the other."""

    def __init__(self, address: tuple[str, int], due: float) -> None:
        self.address, self.due = address, due
        self.socket: socket.socket | None = None
        self.waits = False
        self.got = b""

    def send(self, request: bytes) -> None:
        """Ask; opens a connection where there is none. Raises ConnectionError."""
        if self.socket is None:
            self.socket = socket.create_connection(self.address)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got, self.waits = b"", True
        self.socket.sendall(request)

    def receive(self) -> tuple[str, bool] | None:
        """Status and whether the connection ends, once the answer is whole.

        Raises ConnectionError where it ends before.
        """
        assert self.socket is not None
        if not (part := self.socket.recv(1 << 16)):
            raise ConnectionError
        self.got += part
        head, blank, body = self.got.partition(b"\r\n\r\n")
        if not blank:
            return None
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
        if len(body) < int(headers["content-length"]):
            return None
        self.waits = False
        return status.split(" ")[1], headers.get("connection", "").lower() == "close"

    def close(self) -> None:
        """End the connection."""
        if self.socket is not None:
            self.socket.close()
        self.socket, self.waits = None, False


def request_of(text: str, host: str) -> bytes:
    """A request to classify a text."""
    body = json.dumps({"texts": text}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def ask(
    port: int,
    texts: list[str],
    *,
    users: int,
    seconds: float,
    rate: float | None = None,
    host: str = "127.0.0.1",
) -> Answered:
    """Let users ask, each its next text once it has its answer, or ``rate`` requests a second.

    At a rate a request counts from when it was due, whether its user was free by then or not.
    """
    requests = [request_of(text, host) for text in texts]
    found, loop = Answered(), selectors.DefaultSelector()
    started = time.perf_counter()
    gap = users / rate if rate else 0.0
    crowd = [_User((host, port), started + gap * place / users) for place in range(users)]
    asked, last = 0, started

    def give_up(user: _User) -> None:
        found.lost += user.waits
        if user.socket is not None:
            loop.unregister(user.socket)
        user.close()

    while crowd:
        now = time.perf_counter()
        for user in [user for user in crowd if not user.waits and user.due <= now]:
            if now >= started + seconds:
                give_up(user)
                crowd.remove(user)
                continue
            fresh = user.socket is None
            try:
                user.send(requests[asked % len(requests)])
                asked += 1
                if fresh:
                    loop.register(user.socket, selectors.EVENT_READ, user)  # type: ignore[arg-type]
            except ConnectionRefusedError:
                found.turned_away += 1
                user.close()
                crowd.remove(user)
            except ConnectionError:
                give_up(user)
        if now > started + seconds + PATIENCE:
            for user in crowd:
                give_up(user)
            break
        soonest = min((user.due for user in crowd if not user.waits), default=now + 0.05)
        for key, _ in loop.select(max(0.0, min(soonest - now, 0.05))):
            user = key.data
            try:
                answer = user.receive()
            except ConnectionError:
                give_up(user)
                continue
            if answer:
                last = time.perf_counter()
                found.seconds.append(last - (user.due if rate else max(user.due, 0.0)))
                found.statuses[answer[0]] += 1
                user.due = user.due + gap if rate else last
                if answer[1]:
                    give_up(user)
    found.elapsed = last - started
    return found


if __name__ == "__main__":
    given: dict[str, Any] = json.load(sys.stdin)
    json.dump(vars(ask(**given)), sys.stdout)
