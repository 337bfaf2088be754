"""Libraries without their bars and reports, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_bars() -> Iterator[None]:
    """Without transformers' progress bars, for what takes an instant."""
    from transformers.utils import logging

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bar:
            logging.enable_progress_bar()


@contextmanager
def silence() -> Iterator[None]:
    """Without transformers' bars and reports, where the caller says itself what is wrong."""
    from logging import CRITICAL

    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(CRITICAL)
    try:
        with no_bars():
            yield
    finally:
        logging.set_verbosity(level)


def bitsandbytes() -> None:
    """Without what bitsandbytes says of each product and of faster kernels that it did not find.

    Wherever it is installed, peft and transformers' Trainer import it too.
    """
    from logging import ERROR, getLogger

    for name in ("bitsandbytes.autograd._functions", "bitsandbytes.backends.cpu.ops"):
        getLogger(name).setLevel(ERROR)
