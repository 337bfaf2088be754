"""How a command ends: exit codes, and the one line that goes with each."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from slimcls.cli.extras import lacks
from slimcls.errors import Interrupted, UserError

Handler = Callable[[int, FrameType | None], object] | int | None


def run(main: Callable[[], int]) -> int:
    """Run a verb with the exit codes of every command.

    0 done, 2 the user's error (one line on stderr), 130/143 stopped by Ctrl-C/SIGTERM. A bug keeps
    its traceback and exits 1.
    """
    before = _stop_at_sigterm()
    try:
        return main()
    except UserError as error:
        return _refused(error)
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
        # The reader of our output has gone (``| head``); the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _refused(error: UserError) -> int:
    # What a library said inside of it may have several lines.
    print("slimcls: error:", *str(error).splitlines(), file=sys.stderr)
    return 2


def _stop_at_sigterm() -> Handler:
    """End in a line and exit code 143, not without a word; training has its own way to stop."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted(number, "stopped; the same command goes on where a checkpoint was")

    if threading.current_thread() is threading.main_thread():
        return signal.signal(signal.SIGTERM, stop)
    return None
