"""An exported folder behind HTTP: no torch, and nothing lost at SIGTERM."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from subprocess import PIPE
from urllib.request import Request, urlopen

import onnxruntime
import pytest
from conftest import PATIENCE, ROOT, ended, made_up_rows

from benchmarks.users import Answered, ask
from slimcls.exporting.report import Report

TEXTS = [text for text, _ in made_up_rows(30, 6)]

QUESTION = json.dumps({"texts": TEXTS[0]}).encode()
JSON = {"Content-Type": "application/json"}

SERVES = """
import sys
from slimcls.__main__ import main
code = main(["serve", *sys.argv[1:]])
print(sorted({"torch", "transformers", "pandas", "sklearn"} & set(sys.modules)))
sys.exit(code)
"""


@pytest.mark.fault("kills")
@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_is_lost_at_sigterm(
    processes: int, exported: dict[int, tuple[Path, Report]]
) -> None:
    """Users ask as fast as they can; each request that was sent is answered, and the exit is 0."""
    folder = exported[8][0]
    words = [sys.executable, "-c", SERVES, folder, "--port", "0", "--processes", str(processes)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found: list[Answered] = []
    with ended(words, stdout=PIPE, stderr=PIPE, text=True, env=environment) as server:
        assert server.stderr is not None
        said = server.stderr.readline()
        match = re.search(r"at http://127.0.0.1:(\d+);", said)
        assert match, said + server.stderr.read()
        port = int(match[1])
        with urlopen(Request(f"http://127.0.0.1:{port}/predict", QUESTION, JSON)) as answer:
            assert answer.status == 200, "it is ready"
        counted = 'slimcls_requests_total{status="200"} 1.0'
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert counted in answer.read().decode(), "whichever process answers"
        users = threading.Thread(
            target=lambda: found.append(ask(port, TEXTS, users=16, seconds=PATIENCE))
        )
        users.start()
        threading.Event().wait(0.5)
        server.send_signal(signal.SIGTERM)
        users.join(PATIENCE)
        out, err = server.communicate(timeout=PATIENCE)
    (answered,) = found
    assert set(answered.statuses) == {"200"}
    assert answered.statuses["200"] > 16
    assert answered.lost == 0
    assert answered.turned_away == 16, "they all found out that it ended"
    assert (server.returncode, err) == (0, "")
    assert out == "[]\n", "an exported folder needs none of them"


@pytest.mark.fault("kills")
def test_a_process_that_is_told_to_stop_takes_nothing_from_the_others(
    exported: dict[int, tuple[Path, Report]],
) -> None:
    """As an orchestrator or a careless `kill` does: who asks meanwhile finds the others."""
    words = [sys.executable, "-m", "slimcls.serve", exported[8][0], "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found: list[Answered] = []
    with ended([*words, "--processes", "2"], stderr=PIPE, text=True, env=environment) as server:
        assert server.stderr is not None
        match = re.search(r"at http://127.0.0.1:(\d+);", server.stderr.readline())
        assert match
        port = int(match[1])
        one = _answering(server.pid)
        users = threading.Thread(target=lambda: found.append(ask(port, TEXTS, users=4, seconds=3)))
        users.start()
        threading.Event().wait(0.5)
        os.kill(one, signal.SIGTERM)
        assert server.stderr.readline() == f"slimcls: process {one} ended; another begins\n"
        users.join(PATIENCE)
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=PATIENCE)
    (answered,) = found
    assert (set(answered.statuses), answered.lost, answered.turned_away) == ({"200"}, 0, 0)
    assert (server.returncode, err) == (0, "")


def _answering(server: int) -> int:
    """The process of a server that answered first; Python's own helper came before it."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    assert len(children) == 3
    return sorted(map(int, children))[1]


def test_the_page_says_what_the_graph_takes_and_gives(
    exported: dict[int, tuple[Path, Report]],
) -> None:
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    told = re.findall(
        r'name: "(ids|lengths|logits)", data_type: TYPE_(\w+), dims: \[ (.*?) \]', page
    )
    session = onnxruntime.InferenceSession(exported[32][0] / "model.onnx")
    kinds = {"tensor(int64)": "INT64", "tensor(float)": "FP32"}
    graph = [*session.get_inputs(), *session.get_outputs()]
    assert [(one.name, kinds[one.type], len(one.shape)) for one in graph] == [
        (name, kind, dims.count("-1")) for name, kind, dims in told
    ]


def test_what_is_wrong_with_a_folder_is_told_once(
    exported: dict[int, tuple[Path, Report]], tmp_path: Path
) -> None:
    folder = shutil.copytree(exported[8][0], tmp_path / "damaged")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"more")
    words = [sys.executable, "-m", "slimcls.serve", folder, "--port", "0", "--processes", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        words, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False
    )
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("slimcls: error: ")
    assert found.stderr.count("\n") == 1
