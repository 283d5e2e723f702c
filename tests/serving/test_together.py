"""Questions of one turn of the event loop and their answers."""

import asyncio
from collections.abc import Sequence

import pytest

from dialog_service.serving.together import Together


class Doubles:
    """Answers each number with its double, when it may."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, numbers: Sequence[int]) -> Sequence[int]:
        self.asked.append(list(numbers))
        await self.may_answer.wait()
        if 13 in numbers:
            raise ArithmeticError("13")
        return [2 * number for number in numbers]


async def test_what_is_asked_in_one_turn_is_answered_with_one_call():
    doubles = Doubles()
    together = Together(doubles)
    assert await asyncio.gather(*map(together.ask, range(5))) == [0, 2, 4, 6, 8]
    assert await together.ask(7) == 14
    assert doubles.asked == [[0, 1, 2, 3, 4], [7]]


async def test_a_call_under_way_holds_up_nobody():
    doubles = Doubles()
    doubles.may_answer.clear()
    together = Together(doubles)
    first = asyncio.create_task(together.ask(1))
    while not doubles.asked:
        await asyncio.sleep(0)
    second = asyncio.create_task(together.ask(2))
    while len(doubles.asked) < 2:
        await asyncio.sleep(0)
    assert not first.done()
    doubles.may_answer.set()
    assert (await first, await second) == (2, 4)


async def test_whoever_is_cancelled_takes_nothing_from_the_others():
    doubles = Doubles()
    doubles.may_answer.clear()
    together = Together(doubles)
    asking = [asyncio.create_task(together.ask(number)) for number in range(3)]
    while not doubles.asked:
        await asyncio.sleep(0)
    asking[1].cancel()
    doubles.may_answer.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [found[0], found[2]] == [0, 4]
    assert isinstance(found[1], asyncio.CancelledError)


async def test_an_error_reaches_everyone_who_asked_and_nobody_later():
    together = Together(Doubles())
    found = await asyncio.gather(together.ask(1), together.ask(13), return_exceptions=True)
    assert [type(each) for each in found] == [ArithmeticError, ArithmeticError]
    assert await together.ask(2) == 4


@pytest.mark.parametrize("count", [1, 64])
async def test_answers_are_those_of_the_questions(count: int):
    together = Together(Doubles())
    found = await asyncio.gather(*map(together.ask, range(100, 100 + count)))
    assert found == [2 * number for number in range(100, 100 + count)]
