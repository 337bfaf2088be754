"""What the loopback hub does with what is pushed to it: repositories are made, commits are whole.

A pushed revision is a folder of files like any other. Beside it lie, under names that are no files
of it: ``.pushes``, how many commits it has had, and ``.private``. Large files wait under
``uploads`` by their SHA-256 until a commit names them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

#: Files of a revision that are the hub's own.
MARKS = (".gated", ".pushes", ".private")
#: Tokens and what each may: write to the organisation "me", or read alone.
WRITES, READS = "hf_loopback", "hf_reads_alone"

_PREUPLOAD = re.compile(r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)")
_BATCH = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
_COMMIT = re.compile(r"/api/models/([^/]+/[^/]+)/commit/([^/]+)")
_UPLOAD = "/uploads/"


class Writes:
    """Answers requests that write; what goes wrong is in the hub's ``faults``.

    By route (create, preupload, batch, upload, verify, commit): a status, as "409"; cut, which
    closes the connection; stall, in which nothing comes.
    """

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        #: Titles of the commits, with the names of the files of each.
        self.commits: list[tuple[str, list[str]]] = []

    def answers(self, handler: Any, path: str, body: bytes) -> bool:
        """Whether the request was one that writes; it is answered then."""
        for route, answer in (
            ("create", self._create if path == "/api/repos/create" else None),
            ("yaml", self._yaml if path == "/api/validate-yaml" else None),
            ("preupload", self._preupload if _PREUPLOAD.fullmatch(path) else None),
            ("batch", self._batch if _BATCH.fullmatch(path) else None),
            ("upload", self._upload if path.startswith(_UPLOAD) else None),
            ("commit", self._commit if _COMMIT.fullmatch(path) else None),
        ):
            if answer is not None:
                if not self._fault(handler, route):
                    answer(handler, path, body)
                return True
        return False

    def _fault(self, handler: Any, route: str) -> bool:
        left = self.hub.faults.get(route)
        fault = left.pop(0) if left else None
        if fault == "stall":
            self.hub.ended.wait(60)
        elif fault == "cut":
            handler.close_connection = True
        elif fault and fault != "fine":
            handler._fault(int(fault), "Refused")
        return fault not in (None, "fine")

    def _may(self, handler: Any, org: str) -> bool:
        bearer = handler.headers.get("Authorization", "")
        if bearer not in (f"Bearer {WRITES}", f"Bearer {READS}"):
            handler._fault(401, "Unauthorized")
        elif bearer == f"Bearer {READS}" or org not in ("me", "Some"):
            handler._fault(403, "Forbidden")
        else:
            return True
        return False

    def _root(self, repo: str) -> Path:
        return self.hub.folder / "models" / repo / "main"

    def _create(self, handler: Any, path: str, body: bytes) -> None:
        asked = json.loads(body)
        if not self._may(handler, asked["organization"]):
            return
        repo = f"{asked['organization']}/{asked['name']}"
        if self._root(repo).exists():
            handler._fault(409, "Conflict")
            return
        self._root(repo).mkdir(parents=True)
        (self._root(repo) / ".gitattributes").write_text("*.safetensors filter=lfs\n")
        if asked.get("visibility") == "private":
            (self._root(repo) / ".private").touch()
        handler._json(True, {"url": f"{self.hub.url}/{repo}"})

    def _yaml(self, handler: Any, path: str, body: bytes) -> None:
        import yaml

        content = json.loads(body)["content"]
        head = yaml.safe_load(content.split("---\n")[1]) if content.startswith("---\n") else None
        good = isinstance(head, dict)
        found = {"errors": [] if good else [{"message": "no head"}], "warnings": []}
        handler._send(
            True, 200 if good else 400, {"Content-Type": "application/json"},
            json.dumps(found).encode(),
        )  # fmt: skip

    def _preupload(self, handler: Any, path: str, body: bytes) -> None:
        (repo, _) = _PREUPLOAD.fullmatch(path).groups()  # type: ignore[union-attr]
        if not self._may(handler, repo.split("/")[0]):
            return
        files = []
        for file in json.loads(body)["files"]:
            there = self._root(repo) / file["path"]
            large = Path(file["path"]).suffix in (".safetensors", ".onnx")
            found = {
                "path": file["path"],
                "uploadMode": "lfs" if large else "regular",
                "shouldIgnore": False,
            }
            if there.is_file():
                found["oid"] = _oid(there.read_bytes(), large)
            files.append(found)
        handler._json(True, {"files": files})

    def _batch(self, handler: Any, path: str, body: bytes) -> None:
        objects = []
        for wanted in json.loads(body)["objects"]:
            found = dict(wanted)
            if not self._uploaded(wanted["oid"]).is_file():
                href = f"{self.hub.url}{_UPLOAD}{wanted['oid']}"
                found["actions"] = {"upload": {"href": href, "header": {}}}
            objects.append(found)
        handler._json(True, {"transfer": "basic", "objects": objects})

    def _uploaded(self, oid: str) -> Path:
        return self.hub.folder / "uploads" / oid

    def _upload(self, handler: Any, path: str, body: bytes) -> None:
        oid = path.removeprefix(_UPLOAD)
        if hashlib.sha256(body).hexdigest() != oid:
            handler._fault(400, "BadDigest")
            return
        self._uploaded(oid).parent.mkdir(exist_ok=True)
        self._uploaded(oid).write_bytes(body)
        handler._send(True, 200, {}, b"")

    def _commit(self, handler: Any, path: str, body: bytes) -> None:
        (repo, _) = _COMMIT.fullmatch(path).groups()  # type: ignore[union-attr]
        if not self._may(handler, repo.split("/")[0]):
            return
        head, *operations = [json.loads(line) for line in body.splitlines()]
        root = self._root(repo)
        parent = head["value"].get("parentCommit")
        if parent and parent != self.hub.commit("models", repo, "main"):
            handler._fault(412, "Precondition")
            return
        fresh = root.with_name(".fresh")
        shutil.copytree(root, fresh)
        for operation in operations:
            value = operation["value"]
            target = fresh / value["path"]
            if operation["key"] == "file":
                target.write_bytes(base64.b64decode(value["content"]))
            elif operation["key"] == "lfsFile":
                shutil.copyfile(self._uploaded(value["oid"]), target)
            else:
                target.unlink()
        count = fresh / ".pushes"
        count.write_text(str(int(count.read_text()) + 1 if count.exists() else 1))
        shutil.rmtree(root)
        fresh.rename(root)
        names = sorted(operation["value"]["path"] for operation in operations)
        self.commits.append((head["value"]["summary"], names))
        oid = self.hub.commit("models", repo, "main")
        handler._json(True, {"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid})


def _oid(content: bytes, large: bool) -> str:
    if large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
