import asyncio

import pytest

from dialog_service.serving.single_flight import SingleFlight


async def test_one_run_for_all_who_ask_meanwhile() -> None:
    runs = 0

    async def work() -> int:
        nonlocal runs
        runs += 1
        run = runs
        await asyncio.sleep(0.01)
        return run

    flights = SingleFlight[int]()
    assert await asyncio.gather(*(flights.run("a", work) for _ in range(5))) == [1] * 5
    assert not flights.is_running("a")
    assert await asyncio.gather(flights.run("a", work), flights.run("b", work)) == [2, 3]


async def test_an_error_reaches_everyone_and_is_not_kept() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    flights = SingleFlight[None]()
    waiting = (flights.run("a", fail), flights.run("a", fail))
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in errors] == [ValueError, ValueError]
    with pytest.raises(ValueError, match="no"):
        await flights.run("a", fail)


async def test_a_run_goes_on_while_anyone_waits_and_ends_with_the_last() -> None:
    events: list[str] = []
    go = asyncio.Event()

    async def work() -> str:
        try:
            await go.wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        return "done"

    flights = SingleFlight[str]()
    first, second = (asyncio.create_task(flights.run("a", work)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait({first})
    go.set()
    assert await second == "done"
    assert first.cancelled()
    assert events == []

    go.clear()
    last = asyncio.create_task(flights.run("a", work))
    await asyncio.sleep(0.01)
    assert flights.is_running("a")
    last.cancel()
    await asyncio.wait({last})
    assert not flights.is_running("a")
    await asyncio.sleep(0)
    assert events == ["cancelled"]
