"""The door: closed, open, closed again, and empty."""

import asyncio

import pytest

from dialog_service.errors import NotReady
from dialog_service.serving.admission import Admission, Phase


def test_requests_are_refused_while_loading_and_while_draining():
    admission = Admission()
    with pytest.raises(NotReady, match="loading"), admission.request():
        pass
    admission.open()
    with admission.request():
        assert admission.phase is Phase.OPEN
    admission.close()
    with pytest.raises(NotReady, match="draining") as refusal, admission.request():
        pass
    assert refusal.value.retry_after_seconds > 0


async def test_the_last_request_under_way_is_waited_for():
    admission = Admission()
    admission.open()
    with admission.request():
        with admission.request():
            admission.close()
        assert not await admission.wait_until_idle(0.01)
        waiting = asyncio.create_task(admission.wait_until_idle(60))
        await asyncio.sleep(0.01)
        assert not waiting.done()
    assert await waiting


async def test_a_request_that_failed_has_ended():
    admission = Admission()
    admission.open()
    with pytest.raises(ZeroDivisionError), admission.request():
        raise ZeroDivisionError
    assert await admission.wait_until_idle(0.01)


async def test_refusals_go_out_at_once_unless_they_are_gathered(
    monkeypatch: pytest.MonkeyPatch,
):
    admission, sleep = Admission(), asyncio.sleep
    quiet: asyncio.Queue[float] = asyncio.Queue()  # seconds that have passed

    async def waited(seconds: float) -> None:
        assert await quiet.get() == seconds

    async def turns() -> None:
        for _ in range(5):
            await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", waited)
    await admission.wait_to_refuse()
    gathering = asyncio.create_task(admission.gather(0.5, timeout_seconds=60))
    refusals = []
    for _ in range(3):
        refusals.append(asyncio.create_task(admission.wait_to_refuse()))
        await turns()
        quiet.put_nowait(0.5)
        await turns()
        assert not gathering.done()
    quiet.put_nowait(0.5)  # without another one
    await gathering
    assert admission.held == 3
    refusals.pop().cancel()
    await turns()
    admission.release()
    await asyncio.gather(*refusals)
    assert admission.held == 0
    await admission.wait_to_refuse()


async def test_those_who_never_cease_are_not_waited_for():
    admission = Admission()
    gathering = asyncio.create_task(admission.gather(0.05, timeout_seconds=0.3))
    refusals = []
    while not gathering.done():
        refusals.append(asyncio.create_task(admission.wait_to_refuse()))
        await asyncio.sleep(0.001)
    admission.release()
    await asyncio.gather(*refusals)
