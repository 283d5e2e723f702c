"""Answers from pools of candidates, and how pools fill and grow.

A miss generates what it needs, answers, and leaves that in the pool. Requests for the same pool
that come meanwhile wait for it, and then draw. Whoever generates while others wait generates for
them too, so that a crowd costs one batch and still does not get the same replies all over. From
the second request on, a pool grows in idle time.
"""

import asyncio
import contextvars
import logging
from collections import Counter
from functools import partial

from dialog_service.errors import RequestError
from dialog_service.replies import Candidate, OnReply, most_draws
from dialog_service.serving import tracing
from dialog_service.serving.answers import Answer, Ask, fresh_seed
from dialog_service.serving.batcher import Generated
from dialog_service.serving.cache import CandidatePools
from dialog_service.serving.pools import Draw, Origin, PoolKey
from dialog_service.serving.single_flight import SingleFlight

_MAX_JOINS = 3  # times a request waits for others to generate before it does so itself
_AHEAD = 2  # requests to come that are generated for where there has been one before
_MAX_GROWING = 32  # pools that grow at a time; the next request for one that may not asks again
_log = logging.getLogger(__name__)


class PooledAnswers:
    """Draws from pools, and fills them."""

    def __init__(
        self, pools: CandidatePools, *, most_at_once: int, shared_deadline_seconds: float
    ) -> None:
        """Nothing under way.

        Args:
            pools: the cache.
            most_at_once: candidates that one request generates for others besides its own.
            shared_deadline_seconds: for work that is not of one caller alone.
        """
        self._pools = pools
        self._most_at_once = most_at_once
        self._shared_deadline_seconds = shared_deadline_seconds
        self._fills: SingleFlight[Generated] = SingleFlight()
        self._asking: Counter[PoolKey] = Counter()
        self._growing: dict[PoolKey, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Let no pool grow any more."""
        tasks = list(self._growing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def answer(self, ask: Ask) -> Answer:
        """Candidates from the pool as far as it has them, the others generated.

        All that a request draws to select from count as served: what is selected often would else
        stay for ever, and what never is would too.
        """
        key = ask.pool_key
        self._asking[key] += 1
        try:
            return await self._answer(ask, key)
        finally:
            self._asking[key] -= 1
            if not self._asking[key]:
                del self._asking[key]

    async def refresh(self, ask: Ask, answer: Answer) -> None:
        """Put an answer in the place of a pool."""
        with tracing.stage("cache add"):
            await self._pools.add(
                ask.pool_key, answer.fresh, Origin.REFRESH, is_complete=ask.has_one_reply
            )

    async def _answer(self, ask: Ask, key: PoolKey) -> Answer:
        draw = await self._draw(ask, key)
        for _ in range(_MAX_JOINS):
            if not (draw.missing and self._fills.is_running(key)):
                break
            await self._fills.run(key, partial(self._fill, ask, draw, fresh_seed()))
            draw = await self._draw(ask, key)
        if ask.on_reply:
            for number, candidate in enumerate(draw.candidates):
                ask.on_reply(number, candidate)
        seed = fresh_seed()
        generated = await self._generated(ask, draw, seed) if draw.missing else None
        return Answer(
            drawn=draw.candidates,
            fresh=generated.result.candidates[: draw.missing] if generated else (),
            cache=draw.status,
            pool_size=draw.pool_size,
            seed=seed if generated and _is_repeatable(draw, generated) else None,
            generated=generated,
        )

    async def _generated(self, ask: Ask, draw: Draw, seed: int) -> Generated:
        """What a draw lacks: for everyone who asks now, unless somebody else sees to that.

        From the second request on also for some to come: where there is no idle time for the pool
        to grow in, it would else never hold more than one request may draw.
        """
        key = ask.pool_key
        if self._fills.is_running(key):
            return await self._fill(ask, draw, seed)
        for_others = self._asking[key] - 1 + (_AHEAD if draw.pool_size else 0)
        wanted = min(draw.missing + for_others * ask.query.candidate_count, self._most_at_once)
        return await self._fills.run(key, partial(self._fill, ask, draw, seed, wanted))

    async def _draw(self, ask: Ask, key: PoolKey) -> Draw:
        with tracing.stage("cache draw") as span:
            draw = await self._pools.draw(key, ask.query.candidate_count)
            span.note("dialog.cache.result", draw.status.value)
            span.note("dialog.cache.missing", draw.missing)
            span.note("dialog.cache.pool_size", draw.pool_size)
        may_grow = key not in self._growing and len(self._growing) < _MAX_GROWING
        if draw.wanted_growth and may_grow:
            growth = self._grow(ask, key, draw.wanted_growth)
            self._growing[key] = asyncio.create_task(
                growth, name="growth of a pool", context=contextvars.Context()
            )  # of its own: it belongs to no call, and so to no call's trace
        return draw

    async def _fill(self, ask: Ask, draw: Draw, seed: int, wanted: int = 0) -> Generated:
        """Generate and keep what a draw lacks, or more if more is wanted."""
        request = ask.generation(
            max(draw.missing, wanted),
            seed=seed,
            excluded=(candidate.text for candidate in draw.candidates),
        )
        shared = asyncio.get_running_loop().time() + self._shared_deadline_seconds
        generated = await ask.model.batcher.submit(
            request, deadline=max(shared, ask.deadline), on_reply=_after(draw, ask.on_reply)
        )
        own = generated.result.candidates[: draw.missing]
        rest = generated.result.candidates[draw.missing :]
        with tracing.stage("cache add"):
            await self._pools.add(ask.pool_key, own, Origin.ANSWER, is_complete=ask.has_one_reply)
            if rest:
                await self._pools.add(ask.pool_key, rest, Origin.GROWTH)
        return generated

    async def _grow(self, ask: Ask, key: PoolKey, wanted: int) -> None:
        """Generate candidates in idle time; a model that finds nothing new has said it all."""
        try:
            known = await self._pools.texts(key)
            request = ask.generation(wanted, seed=fresh_seed(), excluded=known)
            deadline = asyncio.get_running_loop().time() + self._shared_deadline_seconds
            generated = await ask.model.batcher.submit_background(request, deadline=deadline)
            found = generated.result.candidates
            await self._pools.add(key, found, Origin.GROWTH, is_complete=not found)
        except RequestError as error:  # whoever asks next for this pool has it tried again
            _log.info("a pool of candidates did not grow: %s", error)
        except Exception:  # nobody waits for it, so nobody else would tell
            _log.exception("a pool of candidates did not grow")
        finally:
            del self._growing[key]


def _is_repeatable(draw: Draw, generated: Generated) -> bool:
    """Whether the seed gives the same to the request alone.

    Who generates for others too may draw longer, and so find what it alone would not come to.
    """
    return not draw.candidates and generated.result.draws <= most_draws(draw.missing)


def _after(draw: Draw, on_reply: OnReply | None) -> OnReply | None:
    """Tells of what a draw lacks, in its place; what else is generated is for others."""
    if on_reply is None:
        return None

    def tell(number: int, candidate: Candidate) -> None:
        if number < draw.missing:
            on_reply(len(draw.candidates) + number, candidate)

    return tell
