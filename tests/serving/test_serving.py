"""Answers over HTTP, all by real servers: right, together, within bounds, whatever is sent."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, made_up_rows, write_csv
from pydantic import ValidationError

import slimcls
from slimcls.classifier.prediction import Prediction, Predictor
from slimcls.classifier.words import Whole
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.serve import main, serve
from slimcls.serving import gate
from slimcls.serving.app import Ask, AskPairs, build
from slimcls.serving.server import opened, server_of
from slimcls.serving.settings import ServeConfig
from slimcls.train import train

TEXTS = [text for text, _ in made_up_rows(40, 5)]
JSON = {"content-type": "application/json"}


class Made(Predictor):
    """Says of a text how many letters it has, when it is let."""

    def __init__(self) -> None:
        super().__init__(Whole(), ["few", "many"])  # type: ignore[arg-type]
        self.batches: list[list[str]] = []
        self.goes = threading.Event()
        self.goes.set()

    def logits(self, *_: Any) -> Any:
        raise NotImplementedError

    def predict(self, texts: Any, *_: Any, **__: Any) -> list[Prediction]:
        self.batches.append(list(texts))
        assert self.goes.wait(PATIENCE)
        if "bad" in texts:
            raise UserError("a text is bad")
        if "bug" in texts:
            raise ZeroDivisionError
        return [Prediction("few", {"few": 1 / len(text), "many": 0.0}) for text in texts]


class Client:
    """Asks a server."""

    def __init__(self, port: int, stop: Callable[[], None]) -> None:
        self.port, self.stop = port, stop

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def raw(self, method: str, path: str, body: Any = None, **headers: str) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def post(self, content: Any) -> tuple[int, Any]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        answer = self.raw("POST", "/predict", body, **JSON)
        return answer.status, json.loads(answer.read())

    def get(self, path: str) -> str:
        answer = self.raw("GET", path)
        assert answer.status == 200
        return answer.read().decode()


@contextmanager
def served(classifier: Predictor, **settings: Any) -> Iterator[Client]:
    """A server of a classifier, in a thread."""
    app = build(classifier, ServeConfig(run="run", **settings))
    ready = threading.Event()
    server = server_of(app, ready.set)

    def stop() -> None:
        server.should_exit = True

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        assert ready.wait(PATIENCE)
        try:
            yield Client(listener.getsockname()[1], stop)
        finally:
            stop()
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    config = RunConfig(
        dataset=str(write_csv(folder / "toy.csv", made_up_rows(80, 2))), model="tiny-gpt2",
        mode="cls", keep=1, shots=16, epochs=1, accelerator="cpu", out=str(folder / "runs"),
    )  # fmt: skip
    return train(config).folder


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.fixture
def client(made: Made) -> Iterator[Client]:
    with served(made, max_body=20_000, max_characters=1000, max_texts=9, queue=50) as client:
        yield client


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_onnxruntime_reports_to_nobody() -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize(("given", "wanted"), [(None, "false"), ("true", "true")])
def test_the_tokenizer_wakes_no_threads_unless_asked(
    run: Path, given: str | None, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "TOKENIZERS_PARALLELISM"
    monkeypatch.setenv(name, given or "")  # so that it is afterwards as it was
    if given is None:
        monkeypatch.delenv(name)
    opened(ServeConfig(run=str(run)))
    assert os.environ[name] == wanted


def test_answers_are_those_of_the_run(run: Path) -> None:
    classifier = slimcls.load(run)
    wanted = classifier.predict(TEXTS, sets=20)
    with served(classifier, sets=20) as client:
        status, many = client.post({"texts": TEXTS})
        assert status == 200
        for found, one in zip(many["predictions"], wanted, strict=True):
            assert found["label"] == one.label
            assert found["probabilities"] == pytest.approx(one.probabilities, abs=1e-6)
            assert found["classes"] == list(one.classes or ())
        status, single = client.post({"texts": TEXTS[0]})
        (alone,) = single["predictions"]
        assert alone["label"] == wanted[0].label
        health = json.loads(client.get("/health"))
        assert health == {"status": "ok", "labels": classifier.labels, "waiting": 0}


def test_whatever_waits_is_computed_together_and_no_more_than_may(made: Made) -> None:
    with served(made, batch_size=32) as client, ThreadPoolExecutor(41) as pool:
        made.batches.clear()
        made.goes.clear()
        first = pool.submit(client.post, {"texts": "the first"})
        until(lambda: len(made.batches) == 1)
        texts = ["x" * (place + 1) for place in range(40)]
        rest = [pool.submit(client.post, {"texts": text}) for text in texts]
        until(lambda: json.loads(client.get("/health"))["waiting"] == 40)
        made.goes.set()
        assert first.result()[0] == 200
        for text, answer in zip(texts, rest, strict=True):
            (found,) = answer.result()[1]["predictions"]
            assert found["probabilities"]["few"] == 1 / len(text), "each has its own answer"
        assert [len(batch) for batch in made.batches] == [1, 32, 8]
        metrics = client.get("/metrics")
    assert 'slimcls_requests_total{status="200"} 4' in metrics
    assert 'slimcls_batch_texts_bucket{le="32.0"} 3.0' in metrics
    assert "slimcls_batch_texts_sum 41.0" in metrics
    assert "slimcls_waiting_texts 0.0" in metrics


def test_what_finds_no_room_is_turned_away_and_leaves_nothing_behind(
    made: Made, client: Client
) -> None:
    made.goes.clear()
    with ThreadPoolExecutor(60) as pool:
        first = pool.submit(client.post, {"texts": "the first"})
        until(lambda: len(made.batches) == 2)
        waiting = [pool.submit(client.post, {"texts": ["a"] * 9}) for _ in range(5)]
        until(lambda: json.loads(client.get("/health"))["waiting"] == 45)
        body = json.dumps({"texts": ["a"] * 6})
        full = client.raw("POST", "/predict", body, **JSON)
        assert (full.status, full.headers["Retry-After"]) == (503, "1")
        assert json.loads(full.read()) == {"detail": "45 texts wait already"}
        assert json.loads(client.get("/health"))["waiting"] == 45
        made.goes.set()
        assert {answer.result()[0] for answer in (first, *waiting)} == {200}
    assert client.post({"texts": ["a"] * 6})[0] == 200


def test_a_text_that_cannot_be_classified_harms_no_other(made: Made, client: Client) -> None:
    made.goes.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(client.post, {"texts": "the first"})
        until(lambda: len(made.batches) == 2)
        others = [pool.submit(client.post, {"texts": text}) for text in ("good", "bad", "fine")]
        until(lambda: json.loads(client.get("/health"))["waiting"] == 3)
        made.goes.set()
        assert first.result()[0] == 200
        assert [other.result()[0] for other in others] == [200, 422, 200]
        assert others[1].result()[1] == {"detail": "a text is bad"}


def test_a_bug_ends_its_requests_and_nothing_else(made: Made, client: Client) -> None:
    made.goes.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(client.post, {"texts": "the first"})
        until(lambda: len(made.batches) == 2)
        good = [pool.submit(client.post, {"texts": text}) for text in ("good", "fine")]
        body = b'{"texts": "bug"}'
        bug = pool.submit(client.raw, "POST", "/predict", body, **JSON)
        until(lambda: json.loads(client.get("/health"))["waiting"] == 3)
        made.goes.set()
        assert first.result()[0] == 200
        assert [other.result()[0] for other in good] == [200, 200], "of the same batch"
        assert bug.result().status == 500
    assert client.post({"texts": "good"})[0] == 200
    assert 'slimcls_requests_total{status="500"} 1.0' in client.get("/metrics")


def test_who_has_gone_is_not_computed_for(made: Made, client: Client) -> None:
    made.goes.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(client.post, {"texts": "the first"})
        until(lambda: len(made.batches) == 2)
        with socket.create_connection(("127.0.0.1", client.port)) as gone:
            body = b'{"texts": "the gone"}'
            head = f"Host: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            gone.sendall(f"POST /predict HTTP/1.1\r\n{head}\r\n\r\n".encode() + body)
            until(lambda: json.loads(client.get("/health"))["waiting"] == 1)
        until(lambda: 'slimcls_requests_total{status="499"} 1.0' in client.get("/metrics"))
        made.goes.set()
        assert first.result()[0] == 200
    assert client.post({"texts": "good"})[0] == 200
    assert [texts[0] for texts in made.batches[1:]] == ["the first", "good"]


def test_an_answer_in_pieces_counts_once(client: Client) -> None:
    """The library says of a whole answer what it says of a sender who has gone."""
    page = client.get("/docs")
    for source in re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', page):
        assert client.get(source)
    found = re.findall(r'slimcls_requests_total\{status="(\d+)"\} (\S+)', client.get("/metrics"))
    assert [status for status, _ in found] == ["200"]


def test_one_fault_of_many_is_looked_for() -> None:
    """A body of half a million of them would hold up everybody for seconds."""
    for kind, texts in ((Ask, [3] * 1000), (AskPairs, [["a"]] * 1000)):
        with pytest.raises(ValidationError) as found:
            kind.model_validate({"texts": texts})
        assert found.value.error_count() <= 2, "one a kind of what may be sent"


HOSTILE: list[tuple[bytes, int, str]] = [
    (b"", 422, "Field required|valid dictionary|body"),
    (b"{", 400, "no JSON"),
    (b"\xff\xfe", 400, "parsing|no JSON"),
    (b'{"texts": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "parsing"),
    (b'{"texts": ' + b"9" * 5000 + b"}", 400, "parsing"),
    (b'"a text"', 422, "body"),
    (b"[]", 422, "body"),
    (b"null", 422, "body"),
    (b"{}", 422, "body.texts: Field required"),
    (b'{"texts": null}', 422, "body.texts"),
    (b'{"texts": 3}', 422, "body.texts"),
    (b'{"texts": NaN}', 422, "body.texts"),
    (b'{"texts": true}', 422, "body.texts"),
    (b'{"texts": {"a": "b"}}', 422, "body.texts"),
    (b'{"texts": ["a", 3]}', 422, "body.texts"),
    (b'{"texts": [["a"]]}', 422, "body.texts"),
    (b'{"texts": "a", "text": "b"}', 422, "body.text: Extra"),
    (b'{"texts": []}', 422, "0 texts; give from 1 to 9"),
    (json.dumps({"texts": ["a"] * 10}).encode(), 422, "10 texts; give from 1 to 9"),
    (b'{"texts": ["a", ""]}', 422, r"texts\[1\] is empty"),
    (b'{"texts": " \\n "}', 422, r"texts\[0\] is empty"),
    (b'{"texts": ["a", "\\ud800"]}', 422, r"texts\[1\]: .ud800 is half a surrogate pair"),
    (b'{"\\udfff": "\\udfff"}', 422, "body"),
    (json.dumps({"texts": "a" * 1001}).encode(), 422, r"texts\[0\] has 1001 characters"),
    (b'{"texts": "' + b"a" * 20_000 + b'"}', 413, "the body has more than 20000 bytes"),
    (b" " * 5_000_000, 413, "the body has more than 20000 bytes"),
]


@pytest.mark.parametrize(("body", "status", "said"), HOSTILE)
def test_hostile_bodies_get_one_line(
    body: bytes, status: int, said: str, shared_client: Client
) -> None:
    found, answer = shared_client.post(body)
    assert found == status
    assert list(answer) == ["detail"]
    assert re.search(said, answer["detail"])
    assert "\n" not in answer["detail"]
    assert len(answer["detail"]) < 300
    assert shared_client.post({"texts": "still there"})[0] == 200


@pytest.fixture(scope="module")
def shared_client() -> Iterator[Client]:
    with served(Made(), max_body=20_000, max_characters=1000, max_texts=9) as client:
        yield client


@pytest.mark.parametrize("text", ["\0", "a\0b", "\U0001f9ff", "\u202e", "a" * 1000, "<script>"])
def test_odd_texts_are_texts(text: str, shared_client: Client) -> None:
    assert shared_client.post({"texts": text})[0] == 200


def test_other_ways_to_ask_are_refused(shared_client: Client) -> None:
    assert shared_client.raw("GET", "/predict").status == 405
    assert shared_client.raw("GET", "/elsewhere").status == 404
    plain = shared_client.raw("POST", "/predict", b'{"texts": "a"}')
    assert plain.status == 422
    assert "application/json" in json.loads(plain.read())["detail"]


def test_a_body_in_pieces_is_counted_too(shared_client: Client) -> None:
    pieces = (b"a" * 1000 for _ in range(100))
    answer = shared_client.raw("POST", "/predict", pieces)
    assert answer.status == 413


def test_a_body_that_does_not_come_is_not_waited_for(
    shared_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "PATIENCE", 0.1)
    with socket.create_connection(("127.0.0.1", shared_client.port)) as slow:
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")


def test_the_page_of_the_interface_needs_no_other_server(shared_client: Client) -> None:
    page = shared_client.get("/docs")
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    for source in sources:
        assert source.startswith("/")
        assert shared_client.get(source) if source.endswith((".js", ".css")) else True
    paths = json.loads(shared_client.get("/openapi.json"))["paths"]
    assert set(paths) == {"/predict", "/health", "/metrics"}
    assert set(paths["/predict"]["post"]["responses"]) >= {"200", "400", "413", "422", "503"}


def test_a_connection_that_is_idle_when_a_server_stops_may_ask_once_more(made: Made) -> None:
    with served(made) as client:
        idle = HTTPConnection("127.0.0.1", client.port, timeout=PATIENCE)
        idle.request("GET", "/health")
        assert idle.getresponse().read()
        client.stop()
        until(lambda: not client.listens())
        body = json.dumps({"texts": "the last"})
        idle.request("POST", "/predict", body, {"content-type": "application/json"})
        answer = idle.getresponse()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert json.loads(answer.read())["predictions"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "70000"], "--port 70000: must be from 0 to 65535"),
        (["--batch-size", "0"], "--batch-size 0: must be at least 1"),
        (["--max-texts", "9", "--queue", "8"], "--max-texts 9: such a request never fits"),
        (["--abstain-risk", "101"], "--abstain-risk 101: must be a percentage"),
        (["--host", "256.0.0.1"], "cannot listen there"),
    ],
)
def test_settings_that_cannot_be_are_refused(run: Path, words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        main([str(run), *words])


def test_a_port_in_use_and_a_folder_that_is_no_run_are_refused(run: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=r"cannot listen there \(Address already in use\)"):
            serve(ServeConfig(run=str(run), port=port))
    with pytest.raises(UserError, match="not a run directory"):
        main([str(tmp_path)])
