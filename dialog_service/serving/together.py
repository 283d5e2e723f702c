"""Questions of one turn of the event loop, answered with one call. Knows not what they are."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Together(Generic[Q, A]):
    """Collects what is asked until the event loop has run everything that is ready now.

    A call that is under way holds up nobody: what is asked meanwhile goes into the next.
    """

    def __init__(self, answer_all: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        """``answer_all`` gives an answer to each question, in order, whoever still waits for it."""
        self._answer_all = answer_all
        self._asked: list[tuple[Q, asyncio.Future[A]]] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def ask(self, question: Q) -> A:
        """The answer; raises what ``answer_all`` raised, to everyone whose question it had."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._begin)
        answer: asyncio.Future[A] = loop.create_future()
        self._asked.append((question, answer))
        return await answer

    def _begin(self) -> None:
        asked, self._asked = self._asked, []
        task = asyncio.create_task(self._answer(asked))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _answer(self, asked: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        waiting = [future for _, future in asked]
        try:
            answers = await self._answer_all([question for question, _ in asked])
        except BaseException as error:
            for future in waiting:
                if not future.done():  # its asker was cancelled
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for future, answer in zip(waiting, answers, strict=True):
            if not future.done():
                future.set_result(answer)
