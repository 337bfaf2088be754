"""A hub on loopback: enough of the real one's routes for models, datasets and spaces.

Files lie as KIND/ORG/NAME/REVISION/FILE, where a revision
is any path under its model (``main``, or ``refs/convert/parquet``). A file named ``.gated``
in a revision makes the model one that asks for a token. Faults are asked for with ``Hub.faults``.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from hub_writes import MARKS, Writes

KINDS = ("models", "datasets", "spaces")
TOKEN = "hf_loopback"  # what a gated model wants to see

_API = re.compile(
    r"/api/(models|datasets|spaces)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?"
)
_FILE = re.compile(r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class Hub:
    """A running server: ``url``, and every request it got as (method, path)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: What goes wrong by "ORG/NAME FILE" ("ORG/NAME" for its description), a request each, in
        #: order: flip and junk (as long as it should be), stall (nothing comes), html, broken,
        #: fine, and those of answers that are ranges: cut-BYTES (so many come), busy (status 500),
        #: tag (of another file), long (of a longer file), shift (other bytes), short (than said).
        self.faults: dict[str, list[str]] = {}
        #: Whether files are sent in parts.
        self.ranges = True
        #: Whether large files lie elsewhere, where each range needs an address that names it.
        self.signs = False
        self.ended = threading.Event()
        #: What is pushed.
        self.writes = Writes(self)
        self.requests: list[tuple[str, str]] = []
        #: Bytes of files that were sent, by their names.
        self.sent: Counter[str] = Counter()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def commit(self, kind: str, repo: str, revision: str) -> str:
        """The commit that a revision is at."""
        return commit_of(self.folder, kind, repo, revision)

    def fetched(self) -> list[str]:
        """Names of the files whose contents were sent, in order."""
        return [path.rsplit("/", 1)[1] for way, path in self.requests if way == "SENT"]


@contextmanager
def serve_hub(folder: Path) -> Iterator[Hub]:
    """Serve ``folder`` until the block ends."""
    hub = Hub(Path(folder))
    thread = threading.Thread(target=hub.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        hub.server.shutdown()
        hub.server.server_close()


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve ``folder`` until the block ends; gives the address for HF_ENDPOINT."""
    with serve_hub(folder) as hub:
        yield hub.url


def commit_of(folder: Path, kind: str, repo: str, revision: str) -> str:
    """The commit that stands for a revision: as long as a real one, another after each push."""
    pushes = Path(folder) / kind / repo / revision / ".pushes"
    pushed = f"@{pushes.read_text()}" if pushes.is_file() else ""
    return hashlib.sha1(f"{kind}/{repo}/{revision}{pushed}".encode()).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(send=True)

        def do_HEAD(self) -> None:
            self._answer(send=False)

        def do_POST(self) -> None:
            self._answer(send=True, body=self._body())

        def do_PUT(self) -> None:
            self._answer(send=True, body=self._body())

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, *, send: bool, body: bytes = b"") -> None:
            address = urlsplit(self.path)
            path = address.path
            hub.requests.append((self.command, path))
            if hub.writes.answers(self, path, body):
                return
            if path.startswith(_ELSEWHERE):
                self._signed(send, path.removeprefix(_ELSEWHERE), address.query)
            elif match := _API.fullmatch(path):
                self._api(send, body, *match.groups())
            elif match := _FILE.fullmatch(path):
                self._file(send, *match.groups())
            else:
                self._fault(404, "EntryNotFound")

        def _api(self, send, body, kind, repo, what, revision, below) -> None:
            found = self._revision(kind, repo, revision)
            if found is None:
                return
            root, commit = found
            if what == "tree":
                self._json(send, _tree(root, unquote(below or "")))
            elif what == "paths-info":
                wanted = set(_paths(body))
                self._json(send, [e for e in _tree(root, "") if e["path"] in wanted])
            elif fault := self._fault_of(repo):
                self._send(send, 200, {"Content-Type": "text/html"}, _ANSWERS[fault])
            else:
                files = [{"rfilename": e["path"]} for e in _tree(root, "") if e["type"] == "file"]
                self._json(send, _info(repo, commit, files) | _of_card(root))

        def _file(self, send, kind, repo, revision, name) -> None:
            found = self._revision(kind or "models", repo, revision)
            if found is None:
                return
            root, commit = found
            path = root / unquote(name)
            if not path.is_file():
                self._fault(404, "EntryNotFound", {"X-Repo-Commit": commit})
                return
            fault = self._fault_of(f"{repo} {path.name}") if send else None
            self._content(send, path, commit, fault)

        def _fault_of(self, what: str) -> str | None:
            left = hub.faults.get(what)
            return left.pop(0) if left else None

        def _revision(self, kind, repo, revision):
            """Folder and commit of a revision, or None when the fault has been sent."""
            home = hub.folder / kind / repo
            if not home.is_dir():
                self._fault(404 if "hidden" not in repo else 401, "RepoNotFound")
                return None
            for root in _revisions(home):
                name = str(root.relative_to(home))
                commit = commit_of(hub.folder, kind, repo, name)
                if unquote(revision or "main") in (name, commit):
                    return self._allowed(root, commit)
            self._fault(404, "RevisionNotFound")
            return None

        def _allowed(self, root: Path, commit: str):
            bearer = self.headers.get("Authorization", "")
            if (root / ".private").exists() and bearer != f"Bearer {TOKEN}":
                self._fault(404, "RepoNotFound")
                return None
            if (
                (root / ".gated").exists()
                and bearer != f"Bearer {TOKEN}"
                and "api" not in (self.path.split("/")[1])
            ):
                self._fault(401, "GatedRepo")
                return None
            return root, commit

        def _content(self, send: bool, path: Path, commit: str, fault: str | None) -> None:
            headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": commit}
            if hub.signs and _is_large(path):
                headers |= {"X-Linked-Etag": headers["ETag"]}
                headers |= {"X-Linked-Size": str(path.stat().st_size)}
                signed = quote(self.headers.get("Range", ""))
                # Another host to who asks, which must not be told the token.
                there = hub.url.replace("127.0.0.1", "localhost")
                headers["Location"] = f"{there}{_ELSEWHERE}{path}?{signed}"
                self._send(send, 302, headers, b"")
                return
            self._bytes(send, path, headers, fault)

        def _signed(self, send: bool, path: str, signed: str) -> None:
            """A large file where it lies: only the range that its address was made for."""
            if "Authorization" in self.headers or unquote(signed) != self.headers.get("Range", ""):
                self._fault(403, "SignatureMismatch")
            else:
                self._bytes(send, Path("/", path), {"ETag": '"elsewhere"'}, None)

        def _bytes(
            self, send: bool, path: Path, headers: dict[str, str], fault: str | None
        ) -> None:
            size = path.stat().st_size
            headers |= {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
            status, start, stop = 200, 0, size
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked and hub.ranges:
                start, stop = int(asked[1]), min(int(asked[2] or size - 1) + 1, size)
                shift = fault == "shift"
                total = size + (fault == "long")
                headers["Content-Range"] = f"bytes {start + shift}-{stop - 1 + shift}/{total}"
                status = 206
            if fault == "busy":
                self._fault(500, "Busy")
                return
            if fault == "stall":
                hub.ended.wait(60)
                return
            if fault == "tag":
                headers["ETag"] = '"of another file"'
            if send:
                hub.requests.append(("SENT", f"/{path.name}"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(stop - start - (fault == "short")))
            self.end_headers()
            if send:
                kind, _, most = (fault or "").partition("-")
                if kind in ("cut", "short"):
                    stop = min(stop, start + int(most)) if most else stop - 1
                    self.close_connection = True
                self._copy(path, start, stop, kind)

        def _copy(self, path: Path, start: int, stop: int, fault: str) -> None:
            with path.open("rb") as file:
                file.seek(start)
                for at in range(start, stop, _CHUNK):
                    chunk = file.read(min(_CHUNK, stop - at))
                    if fault == "junk":
                        chunk = b"x" * len(chunk)
                    elif fault == "flip" and at + len(chunk) == stop:
                        chunk = chunk[:-64] + bytes(byte ^ 1 for byte in chunk[-64:])
                    hub.sent[path.name] += len(chunk)
                    try:
                        self.wfile.write(chunk)
                    except OSError:  # who asked has gone
                        return

        def _json(self, send: bool, value: object) -> None:
            headers = {"Content-Type": "application/json"}
            self._send(send, 200, headers, json.dumps(value).encode())

        def _fault(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
            body = json.dumps({"error": code}).encode()
            self._send(True, status, {"X-Error-Code": code, **(headers or {})}, body)

        def _send(self, send: bool, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if send and self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing: tests look at what was asked for in ``requests``."""

    return Handler


#: What a login page in between, or a broken server, answers where a description was asked for.
_ANSWERS = {"html": b"<html>Welcome! Please log in.</html>", "broken": b'{"id": ', "list": b"[1]"}


#: Where large files lie that are not sent from their own address, and how they are sent.
_ELSEWHERE, _CHUNK = "/elsewhere", 1 << 20


def _is_large(path: Path) -> bool:
    return path.suffix in (".safetensors", ".bin", ".parquet")


def _etag(path: Path) -> str:
    """As the hub: large files by their SHA-256, small ones by their hash in git."""
    state = path.stat()
    return _hash(path, state.st_size, state.st_mtime_ns)


@cache
def _hash(path: Path, size: int, changed: int) -> str:
    if size > _NOT_READ:
        # Made of holes, and never fetched whole: any name will do.
        return hashlib.sha256(f"{path} {size} {changed}".encode()).hexdigest()
    content = path.read_bytes()
    if _is_large(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


#: Files longer than this are not read to name them.
_NOT_READ = 1 << 30


def _revisions(home: Path) -> list[Path]:
    """Folders of a model's revisions; a branch under ``refs`` is three names long."""
    return [*home.glob("refs/*/*"), *(path for path in home.iterdir() if path.name != "refs")]


def _tree(root: Path, below: str) -> list[dict[str, object]]:
    """Files at and under a path, as the tree and paths-info routes list them."""
    top = root / below
    entries = []
    for path in sorted(top.rglob("*") if top.is_dir() else [top] if top.exists() else []):
        if path.name in MARKS:
            continue
        kind = "directory" if path.is_dir() else "file"
        oid = hashlib.sha1(str(path).encode()).hexdigest()
        size = path.stat().st_size if path.is_file() else 0
        name = str(path.relative_to(root))
        entries.append({"type": kind, "oid": oid, "size": size, "path": name})
    return entries


def _of_card(root: Path) -> dict[str, object]:
    """What the description of a repository takes from the head of its card, and who may see it."""
    import yaml

    card = root / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    head = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else None
    return {"cardData": head, "private": (root / ".private").exists()}


def _paths(body: bytes) -> list[str]:
    try:
        paths = json.loads(body)["paths"]
    except ValueError:
        from urllib.parse import parse_qs

        paths = parse_qs(body.decode())["paths"]
    return [paths] if isinstance(paths, str) else list(paths)


def _info(repo: str, commit: str, files: list[dict[str, str]]) -> dict[str, object]:
    return {
        "_id": commit,
        "id": repo,
        "modelId": repo,
        "sha": commit,
        "private": False,
        "disabled": False,
        "gated": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "lastModified": "2024-01-01T00:00:00.000Z",
        "createdAt": "2024-01-01T00:00:00.000Z",
        "siblings": files,
    }
