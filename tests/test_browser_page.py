"""docs/browser-page in headless Chromium: the labels and probabilities of Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from conftest import PATIENCE, ROOT, made_up_rows
from exporting.conftest import make_run

import slimcls
from slimcls.export import export
from slimcls.exporting.parity import ODD
from slimcls.exporting.settings import ExportConfig

PAGE = ROOT / "docs" / "browser-page"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
TEXTS = [*(text for text, _ in made_up_rows(9, 5)), *ODD, "x" * 10**6, "word " * 200_000]

#: Asks the module for texts, and the page, in a frame, for one.
ASKS = """<!doctype html><iframe></iframe><script type="module">
import { open } from "./classify.js";
const send = (what) => fetch("/told", { method: "POST", body: JSON.stringify(what) });
try {
  const { texts, folders, page } = await (await fetch("asked.json")).json();
  const told = { answers: {}, faults: {} };
  for (const folder of folders) {
    try {
      const opened = await open(folder);
      told.answers[folder] = [];
      for (const text of texts)
        told.answers[folder].push({ ids: opened.encode(text), ...(await opened.predict(text)) });
    } catch (error) { told.faults[folder] = error.message; }
  }
  const frame = document.querySelector("iframe");
  frame.src = page;
  const shown = (name) => frame.contentDocument?.querySelector(name)?.textContent ?? "";
  while (!shown("#shares")) await new Promise((go) => setTimeout(go, 20));
  await send({ ...told, page: [shown("#label"), shown("#shares"), shown("#state")] });
} catch (error) { await send({ failed: `${error.stack ?? error}` }); }
</script>"""


def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


def packages() -> Path:
    """The page's packages, as ``npm install --ignore-scripts`` brings them."""
    folder = Path(os.environ.get("SLIMCLS_TEST_NPM") or PAGE) / "node_modules"
    if not (folder / "onnxruntime-web").is_dir():
        pytest.skip(f"no {folder}: npm install --ignore-scripts in {PAGE.relative_to(ROOT)}")
    return folder


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; keeps what is posted."""

    told: list[Any]
    came: threading.Event

    def do_POST(self) -> None:
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()
        self.came.set()

    def log_message(self, *_: object) -> None:
        pass


def in_browser(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What the page in ``folder`` makes of what is asked."""
    (folder / "asks.html").write_text(ASKS)
    (folder / "asked.json").write_text(json.dumps(asked))
    handler = type("Here", (Handler,), {"told": [], "came": threading.Event()})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/asks.html"
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += [f"--user-data-dir={folder / 'profile'}", "--no-first-run"]
        started = subprocess.Popen(
            [browser(), *options, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            assert handler.came.wait(PATIENCE), "the page has said nothing"
        finally:
            started.terminate()
            started.wait(PATIENCE)
            server.shutdown()
    (told,) = handler.told
    assert "failed" not in told, told
    return told


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with two exported classifiers, and spoilt ones, beside it."""
    browser()
    folder = tmp_path_factory.mktemp("page")
    (folder / "node_modules").symlink_to(packages())
    for path in PAGE.glob("*.*"):
        shutil.copy(path, folder)
    for name, settings in {
        "prompted": {"model": "tiny-llama", "mode": "p-cls"},
        "bare": {"model": "tiny-opt", "mode": "cls"},
    }.items():
        run = make_run(tmp_path_factory.mktemp(name), epochs=1, keep=1, **settings)
        config = ExportConfig(run=str(run), out=str(folder / name), vocabulary=600, tolerate=100)
        export(config)
    spoilt = shutil.copytree(folder / "bare", folder / "damaged")
    content = (spoilt / "model.onnx").read_bytes()
    (spoilt / "model.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for name, said in {
        "newer": {"format": 99},
        "pairs": {"format": 3, "pair": ["premise", "hypothesis"]},
    }.items():
        spoilt = shutil.copytree(folder / "bare", folder / name)
        about = json.loads((spoilt / "slimcls.json").read_text()) | said
        (spoilt / "slimcls.json").write_text(json.dumps(about))
    return folder


@pytest.mark.slow
def test_it_says_what_python_says(served: Path) -> None:
    text = TEXTS[0]
    told = in_browser(
        served,
        {
            "texts": TEXTS,
            "folders": ["prompted", "bare", "damaged", "newer", "pairs", "nowhere"],
            "page": f"index.html?{urlencode({'folder': 'bare', 'text': text})}",
        },
    )
    for name, answers in told["answers"].items():
        ours = slimcls.load(served / name)
        prefix = len(ours.encoder.shared_prefix_ids())
        wanted = [ids[prefix:] for ids in ours.encoder.encode(TEXTS).ids]
        assert [one["ids"] for one in answers] == wanted
        for mine, theirs in zip(ours.predict(TEXTS), answers, strict=True):
            assert theirs["label"] == mine.label
            assert theirs["probabilities"] == pytest.approx(mine.probabilities, abs=1e-5)
    assert told["answers"].keys() == {"prompted", "bare"}
    assert told["faults"] == {
        "damaged": "damaged/model.onnx: is damaged or of another export",
        "newer": "newer: format 99 is newer than 2",
        "pairs": "pairs: classifies pairs of texts, and this page takes one text",
        "nowhere": "nowhere/slimcls.json: 404 File not found",
    }
    (mine,) = slimcls.load(served / "bare").predict(text)
    label, shares, state = told["page"]
    assert label == mine.label
    assert shares == "".join(f"{name}{share:.3f}" for name, share in mine.probabilities.items())
    assert state.startswith("Answered in ")
