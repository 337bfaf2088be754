"""How a command ends: exit codes, and the one line that goes with each."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn, TextIO, cast

from slimcls.cli.extras import lacks
from slimcls.errors import Interrupted, UserError

Handler = Callable[[int, FrameType | None], object] | int | None
#: Exit code where standard output took nothing: what the command does is done.
UNSAID = os.EX_IOERR
#: Letters of the line that an error is.
LONGEST = 900
#: File number of standard error.
LAST_STREAM = 2


class _Unsaid(Exception):
    """Standard output takes no more, and why."""


class _Output:
    """Standard output that tells its refusals from all other errors of reading and writing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with _refusals():
            return self._stream.write(text)

    def flush(self) -> None:
        with _refusals():
            self._stream.flush()


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _Unsaid(error.strerror) from None


def say(text: str) -> None:
    """Print what a command ends with; on stderr where standard output takes nothing.

    :func:`run` then exits with 74, so that whoever waits for the output knows that it is elsewhere.
    """
    try:
        if sys.stdout is None:
            raise _Unsaid("it is closed")
        print(text, flush=True)
    except _Unsaid:
        print(text, file=sys.stderr)
        raise


def run(main: Callable[[], int]) -> int:
    """Run a verb with the exit codes of every command.

    0 done, 1 done in part (as the verb says), 2 the user's error (one line on stderr), or a place
    that may not be entered, 74 done, but standard output could not be written, 130/143 stopped by
    Ctrl-C/SIGTERM, 141 the reader of standard output has gone. A bug keeps its traceback and exits
    1.
    """
    before = _stop_at_sigterm()
    _ready_streams()
    try:
        return _written(main)
    except UserError as error:
        return _refused(error)
    except PermissionError as error:
        if error.filename is None:
            raise
        return _refused(UserError(f"{error.filename}: {error.strerror}"))
    except ModuleNotFoundError as error:
        missing = (error.name or "slimcls").partition(".")[0]
        if missing == "slimcls":
            raise
        return _refused(lacks("slimcls", [missing]))
    except Interrupted as stop:
        print(f"slimcls: {stop}", file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        print("slimcls: stopped; the same command goes on where a checkpoint was", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        _drop_output()  # of which the reader has gone (``| head``)
        return 128 + signal.SIGPIPE
    except _Unsaid as reason:
        print(f"slimcls: error: standard output cannot be written ({reason})", file=sys.stderr)
        _drop_output()
        return UNSAID
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _refused(error: UserError) -> int:
    print("slimcls: error:", _in_a_line(str(error)), file=sys.stderr)
    return 2


def _in_a_line(message: str) -> str:
    """A message that a library or a file had a part in: one line, and nothing a terminal obeys.

    Names in it may have thousands of letters: what is longer than a screen loses its middle.
    """
    letters = " ".join(message.splitlines())
    line = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in letters)
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 3 :]}"


def _stop_at_sigterm() -> Handler:
    """End in a line and exit code 143, not without a word; training has its own way to stop."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted(number, "stopped; the same command goes on where a checkpoint was")

    if threading.current_thread() is threading.main_thread():
        return signal.signal(signal.SIGTERM, stop)
    return None


def _ready_streams() -> None:
    """Standard streams that never end a command by what they cannot show.

    What a locale lacks appears as its code. Where one of the three is closed, no file that is
    opened later may take its place.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    while (opened := os.open(os.devnull, os.O_RDWR)) <= LAST_STREAM:
        pass
    os.close(opened)


def _written(main: Callable[[], int]) -> int:
    """What ``main`` returns, once all that it printed is written."""
    if sys.stdout is None:
        return main()
    with contextlib.redirect_stdout(cast(TextIO, _Output(sys.stdout))):
        code = main()
        sys.stdout.flush()
    return code


def _drop_output() -> None:
    """The interpreter must not flush again what nobody takes."""
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
