"""Memory that this process has freed and still holds."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def hand_back() -> None:
    """Give freed memory back to the machine, after work that took much of it in small pieces.

    Such as reading a tokenizer of 262,144 tokens: C libraries keep most of it. Does nothing where
    the C library is not glibc.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
