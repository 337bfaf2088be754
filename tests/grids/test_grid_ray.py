"""A grid on Ray makes the same table as in one process, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import psutil
import pytest
from conftest import PATIENCE, ROOT
from grids import assert_same_table, finish, sessions, start, table, write_grid

from slimcls import grid
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.grids.forecast import forecast
from slimcls.session.shared import Shared

pytest.importorskip("ray", reason="Ray is not installed: pip install 'slimcls[grid]'")


@pytest.fixture(scope="module", autouse=True)
def _no_token_in_the_home_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray starts a process for each processor ahead of time, which takes memory and seconds.
        patch.setenv("RAY_enable_worker_prestart", "0")
        yield


@pytest.mark.slow
def test_a_grid_that_chooses_is_the_same_on_ray_and_in_one_process(toy: Path, tmp_path: Path):
    choosing = {"seed": [0, 1], "lr": [1e-3, 1e-2], "choose": {"over": ["lr"]}}
    path = write_grid(tmp_path / "g.yaml", toy, **choosing)
    here, there = tmp_path / "local", tmp_path / "ray"
    printed, _ = finish(start(path, here))
    printed_there, _ = finish(start(path, there, "--engine", "ray"))
    assert printed == printed_there
    assert_same_table(here, there)
    assert len(table(here)) == 3
    files = [folder / "choices" / "g.json" for folder in (here, there)]
    assert files[0].read_text() == files[1].read_text()


LONG = {"mode": "p-cls", "seed": [0, 1], "epochs": 30, "checkpoint_seconds": 0.3}


def wait_until(happened: Callable[[], Any], process: Any) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def workers_of(node: Any) -> list[psutil.Process]:
    """A machine's processes that work on a cell."""
    raylet = node.all_processes["raylet"][0].process.pid
    return [
        process
        for process in psutil.Process(raylet).children(recursive=True)
        if "ray::_attempt" in " ".join(process.cmdline())
    ]


def begun(out: Path) -> list[Path]:
    """Checkpoints of cells in training."""
    return list(out.glob("*/checkpoints/last.ckpt"))


@pytest.mark.fault("kills")
@pytest.mark.slow
def test_a_killed_worker_and_a_lost_machine_lose_nothing(toy: Path, tmp_path: Path):
    from ray.cluster_utils import Cluster

    path = write_grid(tmp_path / "g.yaml", toy, **LONG)
    whole, out = tmp_path / "whole", tmp_path / "out"
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        second = cluster.add_node(num_cpus=1)
        process = start(path, out, "--engine", "ray", "--address", cluster.address)
        wait_until(lambda: len(begun(out)) == 2, process)
        (worker,) = workers_of(cluster.head_node)
        assert workers_of(second), "each machine has a cell"
        worker.send_signal(signal.SIGKILL)
        cluster.remove_node(second, allow_graceful=False)
        undisturbed = start(path, whole)
        printed, said = finish(process)
    finally:
        cluster.shutdown()
    finish(undisturbed)
    assert printed.splitlines()[-1] == "2 cells: 2 done, 0 failed, 0 left"
    assert said.count("started again") == 2
    assert_same_table(out, whole)
    assert sessions(out).keys() == sessions(whole).keys()
    for log in out.glob("*/log.txt"):
        assert "going on from" in log.read_text(encoding="utf-8"), "from its checkpoint"


class LostError(Exception):
    """What Ray raises for a task whose process is gone."""


def engine(get: Callable[[Any], Any]) -> Any:
    """OnRay on a Ray that keeps tasks as calls, and takes those that were submitted last first."""
    from slimcls.grids.engines.on_ray import OnRay

    def remote(function: Any) -> Any:
        task = SimpleNamespace(remote=lambda *words: partial(function, *words))
        return SimpleNamespace(options=lambda **_: task)

    made: Any = object.__new__(OnRay)
    made.ray = SimpleNamespace(
        exceptions=SimpleNamespace(RayTaskError=AssertionError, RayError=LostError),
        remote=remote, get=get, wait=lambda tasks, **_: (tasks[-1:], tasks[:-1]),
        cancel=lambda task, force: None,
    )  # fmt: skip
    made.runner, made.threads, made.asked_to_stop, made._memory = grid.run_cell, 1, False, 0
    made.options = {"num_cpus": 1, "num_gpus": 0}
    return made


@pytest.mark.fault("kills")
def test_a_lost_cell_is_started_again_at_once_until_its_retries_are_used_up(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    attempted = []

    def get(task: Any) -> Any:
        attempted.append(seed := task.args[3].seed)
        if seed == 1:
            raise LostError
        return task()

    on_ray = engine(get)
    monkeypatch.setattr(on_ray, "forecast", lambda runs: forecast(runs, Shared()))
    monkeypatch.setattr(on_ray, "close", lambda: None)
    monkeypatch.setattr("slimcls.grids.engines.on_ray.OnRay", lambda *_: on_ray)
    path = write_grid(tmp_path / "g.yaml", toy, seed=[0, 1])
    words = ["--config", str(path), "--out", str(tmp_path / "out"), "--engine", "ray"]
    assert grid.main([*words, "--retries", "2"]) == 1
    printed = capsys.readouterr()
    assert attempted == [1, 1, 1, 0], "others that still run hold nobody up"
    assert printed.err.count("lost (its process or machine was lost (LostError)); started") == 2
    assert "2 cells: 1 done, 1 failed, 0 left" in printed.out
    (failed,) = tmp_path.glob("out/*/failed.json")
    assert "was lost" in failed.read_text(encoding="utf-8")


def test_a_machine_that_joins_without_the_folder_loses_its_cells(toy: Path, tmp_path: Path):
    from slimcls.grids.engines import on_ray

    run = RunConfig(dataset=str(toy))
    words: Any = (str(tmp_path / "nowhere"), {}, 1, run, grid.run_cell, False)
    ended = on_ray._attempt(*words)
    assert ended.status == "lost"
    assert "has no " in ended.error
    assert "nowhere (No such file or directory)" in ended.error


def test_an_output_folder_that_cannot_be(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--out .*file/out: cannot be written \(Not a directory\)"):
        engine(lambda task: None)._check_machines(tmp_path / "file" / "out")


def knock(address: str) -> str:
    from slimcls.grids.engines import on_ray

    with pytest.raises(UserError) as caught:
        on_ray._knock(address)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_address_that_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    from slimcls.grids.engines import on_ray

    monkeypatch.setattr(on_ray, "ANSWER_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        assert "does not answer" in knock(f"127.0.0.1:{port}")  # nobody listens
        silent.listen()
        assert "does not answer (timed out)" in knock(f"ray://127.0.0.1:{port}")
    assert "local, auto, HOST:PORT or ray://HOST:PORT" in knock("somewhere")
    assert on_ray._knock.__doc__


def test_connecting_and_answering_take_ten_seconds_together(monkeypatch: pytest.MonkeyPatch):
    from slimcls.grids.engines import on_ray

    line = MagicMock()
    line.__enter__.return_value = line
    line.recv.side_effect = TimeoutError("timed out")
    clock = iter([100.0, 107.0])
    monkeypatch.setattr(on_ray, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(on_ray.socket, "create_connection", lambda *_, timeout: line)
    assert on_ray.ANSWER_SECONDS == 10
    assert "does not answer (timed out)" in knock("127.0.0.1:6379")
    line.settimeout.assert_called_once_with(3.0)


def test_what_answers_is_not_ray(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            talk, _ = server.accept()
            with talk:
                talk.recv(100)
                talk.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert "is not Ray" in knock(f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_joining_is_tried_a_few_times_in_silence(capfd: pytest.CaptureFixture[str]):
    """What speaks its language but is not Ray makes it try for long, with a line each time."""
    from slimcls.grids.engines import on_ray

    ray, tried = SimpleNamespace(exceptions=SimpleNamespace(RayError=OSError)), []

    def init(address: str, **settings: Any) -> None:
        tried.append(os.environ.get("RAY_NUM_REDIS_GET_RETRIES"))
        os.write(2, b"as Ray's core does it\n")
        raise ConnectionError("nobody\nthere")

    ray.init = init
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_NUM_REDIS_GET_RETRIES", raising=False)
        patch.setitem(sys.modules, "ray", ray)
        patch.setattr(on_ray, "_knock", lambda address: None)
        with pytest.raises(UserError, match=r"no Ray answers \(nobody\)"):
            on_ray._connect("somewhere:6379")
        os.environ.pop("RAY_NUM_REDIS_GET_RETRIES", None)
        with pytest.raises(UserError):
            on_ray._connect("local")
    assert tried == ["5", None], "a Ray that is started here may take its time"
    assert capfd.readouterr().err == "as Ray's core does it\n"


def test_without_ray_it_says_what_to_install(toy: Path, tmp_path: Path):
    (tmp_path / "ray.py").write_text("raise ImportError('no ray')\n")
    path = write_grid(tmp_path / "g.yaml", toy)
    process = start(path, tmp_path / "out", "--engine", "ray", PYTHONPATH=f"{tmp_path}:{ROOT}")
    _, said = finish(process, code=2)
    assert "Ray is missing; pip install 'slimcls[grid]'" in said.splitlines()[-1]
    assert not (tmp_path / "out").exists()
