"""A file on the hub, read by byte ranges; every answer is held against what the hub announced."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from slimcls.backbones.hub import said
from slimcls.errors import UserError
from slimcls.storage.network import endpoint

#: How often in a row an answer may break off without a byte before it is given up.
TRIES = 5
#: Seconds to wait after the first of them; doubled after each.
WAIT = 0.5

#: Told where bytes belong in the file, and the bytes.
Take = Callable[[int, bytes], None]


class NotInParts(Exception):
    """A file cannot be had in parts, and why; it can be had whole."""


class Changed(UserError):
    """The hub answers with another file than it did before, or announced."""


class _Again(Exception):
    """The hub asks to come back later."""


class RemoteFile:
    """One file of one commit.

    Each range is asked of the hub's own address, never of where it led to before: what a redirect
    signs is one range. Redirects to other hosts are followed without the token.

    Attributes:
        size: Its length in bytes.
        hash: What the hub names its content by: SHA-256 of large files.
    """

    def __init__(self, repo: str, name: str, commit: str) -> None:
        """Ask for length and hash. Raises UserError."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        self._repo, self._name, self._commit = repo, name, commit
        self._url = hf_hub_url(repo, name, revision=commit)
        self._headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        self._tag, self._lock = "", threading.Lock()
        announced = self._announced()
        if not announced.size or not announced.etag:
            raise UserError(
                f"--model {repo}: {endpoint()} does not announce length and hash of {name}; is "
                "there a proxy or a mirror between it and this machine?"
            )
        self.size, self.hash = announced.size, announced.etag

    def _announced(self) -> Any:
        from huggingface_hub import get_hf_file_metadata

        vain = 0
        while True:
            with said(self._repo, self._commit):
                try:
                    return get_hf_file_metadata(self._url)
                except _transport_error():
                    vain += 1
                    if vain == TRIES:
                        raise
            time.sleep(WAIT * 2**vain)

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop``. Raises as :meth:`stream` does."""
        found = bytearray()
        self.stream(start, stop, lambda _, chunk: found.extend(chunk))
        return bytes(found)

    def stream(self, start: int, stop: int, take: Take) -> None:
        """Hand over bytes ``start`` to ``stop`` as they come; goes on where an answer broke off.

        Raises:
            NotInParts: the server sends whole files only.
            Changed: an answer is of another file than the announced one.
            UserError: no access, or :data:`TRIES` answers in a row without a byte.
        """
        at, vain = start, 0
        while at < stop:
            first, why = at, "the answers end too early"
            try:
                for chunk in self._answer(at, stop):
                    take(at, chunk)
                    at += len(chunk)
            except (_Again, _transport_error()) as error:
                why = str(error) or type(error).__name__
            vain = 0 if at > first else vain + 1
            if vain == TRIES:
                raise UserError(
                    f"--model {self._repo}: {self._name} cannot be fetched ({why}); what has come "
                    "is kept, and the same command goes on from there"
                )
            if at < stop:
                time.sleep(WAIT * 2**vain)

    def _answer(self, start: int, stop: int) -> Iterator[bytes]:
        from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
        from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

        with get_session().stream(
            "GET",
            self._url,
            headers=self._headers | {"Range": f"bytes={start}-{stop - 1}"},
            follow_redirects=True,
            timeout=HF_HUB_DOWNLOAD_TIMEOUT,
        ) as answer:
            self._check(answer, start, stop)
            left = stop - start
            # As they come: what is gathered into larger chunks is lost where an answer breaks off.
            for chunk in answer.iter_raw():
                if len(chunk) > left:
                    raise self._changed("more bytes came than were asked for")
                left -= len(chunk)
                yield chunk

    def _check(self, answer: Any, start: int, stop: int) -> None:
        """Whether an answer is the asked part of the announced file, before its body is read."""
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

        status = answer.status_code
        if status in (408, 429) or status >= 500:
            raise _Again(f"status {status}")
        if status == 200:
            raise NotInParts(f"the server sends {self._name} whole only")
        if status != 206:
            with said(self._repo, self._commit):
                hf_raise_for_status(answer)
            raise self._changed(f"status {status}")
        sent, wanted = answer.headers.get("Content-Range"), f"bytes {start}-{stop - 1}/{self.size}"
        if sent != wanted:
            raise self._changed(f"it sent {sent}, not {wanted}")
        self._check_names([*answer.history, answer])

    def _check_names(self, chain: list[Any]) -> None:
        """Commit and hash where the hub says them; the ETag of whoever sent the bytes."""
        for one in chain:
            commit, linked = (one.headers.get(n) for n in ("X-Repo-Commit", "X-Linked-Etag"))
            if commit not in (None, self._commit) or _plain(linked) not in ("", self.hash):
                raise self._changed("another commit or hash")
        tag = _plain(chain[-1].headers.get("ETag"))
        # What was not redirected came from the hub, whose ETag is the hash where it names no other.
        straight = len(chain) == 1 and "X-Linked-Etag" not in chain[0].headers
        wanted = self.hash if straight else tag
        with self._lock:
            self._tag = self._tag or wanted
            if tag not in ("", self._tag):
                raise self._changed("another ETag")

    def _changed(self, what: str) -> Changed:
        return Changed(
            f"--model {self._repo}: {self._name} is not the file that the hub announced ({what}); "
            "nothing of it is kept, try again later"
        )


def _plain(tag: str | None) -> str:
    return (tag or "").removeprefix("W/").strip('"')


def _transport_error() -> type[Exception]:
    """What the hub's session raises where a connection fails: of httpx2, or httpx in versions 1."""
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    library = importlib.import_module(type(get_session()).__module__.partition(".")[0])
    found: type[Exception] = library.TransportError
    return found
