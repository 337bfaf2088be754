"""Starts Python programs as copies of a process that has imported their libraries already.

Run with the number of a socket. Each request comes with four files: the standard streams of the
program, and a socket that is told its process id, and how it ended as ``os.waitpid`` says it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import sys
from typing import Any, TextIO

#: What commands import, seconds each; none of slimcls itself, and nothing that starts a thread.
LIBRARIES = (
    "torch", "torch.distributed", "torch._dynamo", "lightning.pytorch", "torchmetrics",
    "transformers", "transformers.models.auto.modeling_auto",
    "transformers.models.gpt2.modeling_gpt2", "transformers.models.llama.modeling_llama",
    "transformers.tokenization_utils_tokenizers", "safetensors.torch",
    "sklearn.linear_model", "sklearn.feature_extraction.text", "sklearn.pipeline", "scipy.stats",
    "pandas", "pyarrow.parquet", "yaml", "skops.io", "psutil",
)  # fmt: skip
#: Bytes that a request may have.
LONGEST = 1 << 20
STREAMS = 3


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Start what is asked for; returns in each program, with the request, and at the end.

    Each program has a process above it that waits for it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    while True:
        content, files, _, _ = socket.recv_fds(requests, LONGEST, STREAMS + 1)
        if not content:
            return None
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            *streams, told = files
            if (pid := os.fork()) == 0:
                os.close(told)
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                    os.close(stream)
                sys.stdin, sys.stdout, sys.stderr = map(_opened, range(STREAMS))
                found: dict[str, Any] = json.loads(content)
                return found
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for number in (0, 1, 2, *streams):
                os.close(number)
            os.write(told, struct.pack("i", pid))
            os.write(told, struct.pack("i", os.waitpid(pid, 0)[1]))
            os._exit(0)
        for file in files:
            os.close(file)


def _opened(number: int) -> TextIO:
    """A standard stream, as Python opens it: those of the server were other files."""
    before = (sys.stdin, sys.stdout, sys.stderr)[number]
    mode, buffering = ("r" if number == 0 else "w"), (1 if number == STREAMS - 1 else -1)
    return open(
        number, mode, buffering, encoding=before.encoding, errors=before.errors, closefd=False
    )


def run(words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Do what ``python WORDS`` does: ``-m MODULE ...`` or ``-c CODE ...``."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    how, what, *rest = words
    sys.path[0] = folder if how == "-m" else ""
    if how == "-m":
        sys.argv = [what, *rest]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *rest]
        exec(compile(what, "<string>", "exec"), vars(sys.modules["__main__"]))


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        request = serve(asked)
    if request is not None:
        run(**request)
