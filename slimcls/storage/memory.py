"""Memory that this process has freed and still holds."""

from __future__ import annotations

import contextlib
import ctypes


def hand_back() -> None:
    """Give freed memory back to the machine, after work that took much of it in small pieces.

    Such as reading a tokenizer of 262,144 tokens: C libraries keep most of it. Does nothing where
    the C library is not glibc. Garbage is not looked for: among all that is imported that takes a
    quarter of a second, and what a tokenizer leaves is none.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
