"""Python programs in processes of their own, which need not import torch each for itself.

That takes some six seconds of a processor, more than most of the programs themselves. A process
that is started so is one: it is killed, waited for and read like any other.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
#: Seconds after which a test gives up on a process or a thread: none but one that hangs takes as
#: long, however slow or busy the machine is.
PATIENCE = 600
#: Beginnings of what Python and libraries read of the environment when they begin.
READ_AT_ONCE = ("HF_", "LANG", "LC_", "MKL_", "OMP_", "PYTHON", "TORCH_", "TRANSFORMERS_")


class Forked(subprocess.Popen[str]):
    """``Popen(["python", "-m" or "-c", ...])``, begun where the imports are done already."""

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any,
        env: Any, startupinfo: Any, creationflags: Any, shell: Any, p2cread: int, p2cwrite: int,
        c2pread: int, c2pwrite: int, errread: int, errwrite: int, *rest: Any,
    ) -> None:  # fmt: skip
        asked = {"words": list(args)[1:], "folder": str(cwd or Path.cwd()), "environment": env}
        theirs = [p2cread, c2pwrite, errwrite]
        streams = [own if own != -1 else number for number, own in enumerate(theirs)]
        self._told, told = socket.socketpair()
        with told:
            content = json.dumps(asked).encode()
            socket.send_fds(_server(), [content], [*streams, told.fileno()])
        self.pid = self._number(self._told.recv(4, socket.MSG_WAITALL))
        self._child_created = True
        for own in theirs:
            if own not in (-1, getattr(self, "_devnull", None)):
                os.close(own)
        if (devnull := getattr(self, "_devnull", None)) is not None:
            os.close(devnull)

    @staticmethod
    def _number(content: bytes) -> int:
        (number,) = struct.unpack("i", content)
        assert isinstance(number, int)
        return number

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        quickly = socket.MSG_DONTWAIT if wait_flags & os.WNOHANG else 0
        try:
            status = self._number(self._told.recv(4, quickly | socket.MSG_WAITALL))
        except BlockingIOError:
            return 0, 0
        self._told.close()
        return self.pid, status

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid == self.pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


@cache
def environment() -> dict[str, str]:
    """That of all processes here, as it was when this was first asked for: before any test."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@cache
def _server() -> socket.socket:
    """The socket of this test process's server, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(theirs.fileno())],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env=environment(),
        )  # fmt: skip
    atexit.register(ours.close)
    return ours


def _copyable(wanted: dict[str, str]) -> bool:
    """Whether a copy of the server is what a new process with this environment would be."""
    own = environment()
    changed = {name for name in own.keys() | wanted if own.get(name) != wanted.get(name)}
    # CUDA does not survive a fork.
    return (
        sys.platform == "linux"
        and not Path("/dev/nvidiactl").exists()
        and not any(name.startswith(READ_AT_ONCE) for name in changed)
    )


def started(*words: object, cwd: Path | None = None, **extra: str) -> subprocess.Popen[str]:
    """``python WORDS`` with pipes for what it prints; ``-m`` or ``-c`` comes first.

    ``extra`` is added to the environment.
    """
    wanted = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | extra
    kind: type[subprocess.Popen[str]] = Forked if _copyable(wanted) else subprocess.Popen
    return kind(
        [sys.executable, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=wanted, cwd=cwd,
    )  # fmt: skip


def finished(*words: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """The same, once it has ended."""
    with started(*words, **more) as process:
        try:
            printed, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, printed, said)
