"""A hub on loopback: enough of the real one's routes for models, tokenizers and datasets.

Files lie as models/ORG/NAME/REVISION/FILE and datasets/ORG/NAME/REVISION/FILE, where a revision
is any path under its model (``main``, or ``refs/convert/parquet``). A file named ``.gated``
in a revision makes the model one that asks for a token. Faults are asked for with ``Hub.faults``.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

KINDS = ("models", "datasets")
TOKEN = "hf_loopback"  # what a gated model wants to see

_API = re.compile(
    r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?"
)
_FILE = re.compile(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class Hub:
    """A running server: ``url``, and every request it got as (method, path)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: What goes wrong by "ORG/NAME FILE" ("ORG/NAME" for its description), a request each, in
        #: order: flip and junk (as long as it should be), stall (nothing comes), html, broken.
        self.faults: dict[str, list[str]] = {}
        self.ended = threading.Event()
        self.requests: list[tuple[str, str]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

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
    """The commit that stands for a revision: as long as a real one, and fixed."""
    return hashlib.sha1(f"{kind}/{repo}/{revision}".encode()).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(send=True)

        def do_HEAD(self) -> None:
            self._answer(send=False)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(send=True, body=body)

        def _answer(self, *, send: bool, body: bytes = b"") -> None:
            path = urlsplit(self.path).path
            hub.requests.append((self.command, path))
            if match := _API.fullmatch(path):
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
                self._json(send, _info(repo, commit, files))

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
            if (
                (root / ".gated").exists()
                and bearer != f"Bearer {TOKEN}"
                and "api" not in (self.path.split("/")[1])
            ):
                self._fault(401, "GatedRepo")
                return None
            return root, commit

        def _content(self, send: bool, path: Path, commit: str, fault: str | None) -> None:
            content = path.read_bytes()
            headers = {
                "ETag": f'"{_etag(path.name, content)}"',
                "X-Repo-Commit": commit,
                "Accept-Ranges": "bytes",
                "Content-Type": "application/octet-stream",
            }
            status, asked = 200, re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked:
                first, last = int(asked[1]), int(asked[2] or len(content) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                status, content = 206, content[first : last + 1]
            if fault == "flip":
                content = content[:-64] + bytes(byte ^ 1 for byte in content[-64:])
            elif fault == "junk":
                content = b"x" * len(content)
            elif fault == "stall":
                hub.ended.wait(60)
                return
            if send:
                hub.requests.append(("SENT", f"/{path.name}"))
            self._send(send, status, headers, content)

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


def _etag(name: str, content: bytes) -> str:
    """As the hub: large files by their SHA-256, small ones by their hash in git."""
    if name.endswith((".safetensors", ".bin", ".parquet")):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _revisions(home: Path) -> list[Path]:
    """Folders of a model's revisions; a branch under ``refs`` is three names long."""
    return [*home.glob("refs/*/*"), *(path for path in home.iterdir() if path.name != "refs")]


def _tree(root: Path, below: str) -> list[dict[str, object]]:
    """Files at and under a path, as the tree and paths-info routes list them."""
    top = root / below
    entries = []
    for path in sorted(top.rglob("*") if top.is_dir() else [top] if top.exists() else []):
        if path.name == ".gated":
            continue
        kind = "directory" if path.is_dir() else "file"
        oid = hashlib.sha1(str(path).encode()).hexdigest()
        size = path.stat().st_size if path.is_file() else 0
        name = str(path.relative_to(root))
        entries.append({"type": kind, "oid": oid, "size": size, "path": name})
    return entries


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
