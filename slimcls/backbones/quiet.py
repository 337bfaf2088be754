"""Libraries without their bars and reports, for a while."""

from __future__ import annotations

import sys
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


@contextmanager
def hub_bars_on_terminals() -> Iterator[None]:
    """Bars of the hub's library where a person watches, and nowhere else."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    as_it_is = sys.stderr.isatty() or are_progress_bars_disabled()
    if not as_it_is:
        disable_progress_bars()
    try:
        yield
    finally:
        if not as_it_is:
            enable_progress_bars()


def bitsandbytes() -> None:
    """Without what bitsandbytes says of each product and of faster kernels that it did not find.

    Wherever it is installed, peft and transformers' Trainer import it too.
    """
    from logging import ERROR, getLogger

    for name in ("bitsandbytes.autograd._functions", "bitsandbytes.backends.cpu.ops"):
        getLogger(name).setLevel(ERROR)
