"""Load on a replica, each answer of which is held against its request."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from replica import echoes

from dialog_service.client import AsyncDialogClient
from dialog_service.load.calls import Judge
from dialog_service.load.figures import Figures
from dialog_service.load.generator import Load, generate_load
from dialog_service.load.workload import Workload, parse_mix

EVERY_KIND = Workload(mix=parse_mix("unary=8,stream=2,batch=1,seeded=1,mmr=1"))


async def loaded(
    address: str,
    figures: Figures,
    judge: Judge = echoes,
    workload: Workload = EVERY_KIND,
    **load: Any,
) -> Figures:
    """Put a load on a replica and add up what comes of it; the figures."""
    asked = Load(workload=workload, **load)
    timeout = asked.timeout_seconds
    connect = functools.partial(AsyncDialogClient, address, timeout_seconds=timeout, is_plain=True)
    await generate_load(connect, asked, figures.add, judge)
    return figures


async def until(claim: Callable[[], bool | Awaitable[bool]], seconds: float = 30.0) -> None:
    """Wait for a claim to hold."""
    async with asyncio.timeout(seconds):
        while not (claimed if isinstance(claimed := claim(), bool) else await claimed):
            await asyncio.sleep(0.05)
