"""Texts that wait, and the one worker that takes as many of them at once as it may."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from slimcls.classifier.prediction import Prediction

Predict = Callable[[list[str]], list[Prediction]]


class Full(Exception):
    """No room for so many texts more."""


class _Waiting(NamedTuple):
    """A text, and where its answer goes."""

    text: str
    answer: asyncio.Future[Prediction]


class Batcher:
    """Computes texts in the order of their coming, whatever waits together, up to ``most``.

    No timer: a text that comes alone is computed at once, and while it is, others gather. Answers
    are computed in a thread of their own, so that requests are read meanwhile.

    Args:
        predict: texts to predictions, in their order.
        most: texts of a batch at most.
        room: texts that may wait.
        done: is told how many texts each batch had.
    """

    def __init__(
        self, predict: Predict, *, most: int, room: int, done: Callable[[int], object]
    ) -> None:
        self._predict, self._most, self._room, self._done = predict, most, room, done
        self._waiting: deque[_Waiting] = deque()
        self._some = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "predict")

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, texts: Sequence[str]) -> list[Prediction]:
        """The predictions of texts, in their order.

        Raises Full where there is no room for all of them: none then waits. Raises UserError for a
        text that cannot be classified.
        """
        if len(self._waiting) + len(texts) > self._room:
            raise Full
        loop = asyncio.get_running_loop()
        mine = [_Waiting(text, loop.create_future()) for text in texts]
        self._waiting += mine
        self._some.set()
        answers = await asyncio.gather(*(one.answer for one in mine), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def work(self) -> None:
        """Compute what waits, until cancelled."""
        while True:
            await self._some.wait()
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            if not self._waiting:
                self._some.clear()
            # Whose request was given up costs nothing more.
            if batch := [one for one in batch if not one.answer.done()]:
                await self._compute(batch)

    async def _compute(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        try:
            texts = [one.text for one in batch]
            found = await loop.run_in_executor(self._thread, self._predict, texts)
        except Exception as error:
            # One of them has brought it about: the others have a right to their answers.
            if len(batch) == 1:
                _settle(batch[0].answer, error)
                return
            for one in batch:
                await self._compute([one])
        else:
            self._done(len(batch))
            for one, answer in zip(batch, found, strict=True):
                _settle(one.answer, answer)

    def close(self) -> None:
        """End the thread once what it computes is done."""
        self._thread.shutdown()


def _settle(future: asyncio.Future[Prediction], answer: Prediction | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
