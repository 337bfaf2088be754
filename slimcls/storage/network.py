"""Whether the hub can be reached, found out before a library tries for minutes."""

from __future__ import annotations

import os
import socket
import threading
from functools import lru_cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

#: Seconds in which the hub must answer a knock before it counts as out of reach.
PATIENCE = 2.0


def endpoint() -> str:
    """Address of the hub."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def out_of_reach() -> str:
    """Why the hub cannot be asked, in words; empty if it can."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            return f"{name} is set"
    return "" if _answers(endpoint()) else f"{endpoint()} does not answer"


@lru_cache(maxsize=8)
def _answers(url: str) -> bool:
    """Whether something listens at ``url``, or at the proxy that leads there."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}", scheme="http")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    answers: list[bool] = []
    # A thread, because a name that cannot be resolved blocks for longer than a socket may.
    knock = threading.Thread(
        target=lambda: answers.append(_listens(parts.hostname or "", port)), daemon=True
    )
    knock.start()
    knock.join(PATIENCE)
    return answers == [True]


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=PATIENCE):
            return True
    except OSError:
        return False
