"""Dist-1 and Dist-2 of the latest replies, of this replica and of the fleet.

Windows hold a number of tokens, not of minutes: Dist-n falls as text grows, so a window of time
would measure traffic. This replica counts exactly. For the fleet all replicas add their n-grams to
the same HyperLogLogs in Redis and their totals to plain counters, because the mean of replicas'
ratios is no ratio of the fleet. Knows no metrics library.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import RedisError

from dialog_service.serving.cache import connect
from dialog_service.serving.fleet_window import PUBLISH, READ, FleetCounts, FleetWindow, Reply
from dialog_service.serving.token_window import TokenWindow
from dialog_service.serving.window_figures import Source, WindowFigure

_LOG = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 1.0  # nobody waits
_MOST_UNCOUNTED = 100  # replies: a millisecond's work
_FAILURES = (RedisError, OSError, TypeError, ValueError)  # the last two: its answer is none


@dataclass(frozen=True, slots=True)
class _Stream:
    """Replies that are counted together."""

    model: str
    source: Source


class DiversityObserver(Protocol):
    """Told of failures; must neither block nor raise."""

    def on_error(self, op: str) -> None:
        """A Redis command failed: "diversity_publish" or "diversity_read"."""


class LiveDiversity:
    """Recorder of served replies and reader of the windows; Redis is never on a request's path."""

    def __init__(
        self,
        url: str | None,
        *,
        window_tokens: int,
        observer: DiversityObserver,
        interval_seconds: float = 1.0,
    ) -> None:
        """Connects to nothing yet; ``url`` None gives figures of this replica alone."""
        self.lost_tokens = 0  # recorded here, but missing from the fleet's window: Redis failed
        self._window_tokens = window_tokens
        self._observer = observer
        self._interval_seconds = interval_seconds
        self._own: dict[_Stream, TokenWindow] = {}
        self._uncounted: defaultdict[_Stream, list[Reply]] = defaultdict(list)
        self._fleet: dict[_Stream, FleetCounts] = {}
        self._pending: defaultdict[_Stream, list[Reply]] = defaultdict(list)
        self._closing = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._client = connect(url, timeout_seconds=_TIMEOUT_SECONDS) if url is not None else None
        if self._client is not None:
            self._publish_script = self._client.register_script(PUBLISH)
            self._read_script = self._client.register_script(READ)

    async def start(self) -> None:
        """Publish and read the fleet's figures every ``interval_seconds`` until ``close``."""
        self._loop = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Publish what is left and disconnect; may be called twice."""
        self._closing.set()
        if self._loop is not None:
            await asyncio.wait({self._loop})
        if self._client is not None:
            await self._publish()
            await self._client.aclose()

    def record(self, model: str, source: Source, replies: Sequence[Reply]) -> None:
        """Count replies that were served, each given as its ``diversity.metric_tokens``.

        No replies are fine: from then on the fleet's figures of the model are read.
        """
        stream = _Stream(model, source)
        if stream not in self._own:
            for each in Source:
                self._own[_Stream(model, each)] = TokenWindow(self._window_tokens)
        # Many are counted in a fraction of the time that they take one by one.
        self._uncounted[stream].extend(replies)
        if len(self._uncounted[stream]) >= _MOST_UNCOUNTED:
            self._own[stream].add(self._uncounted.pop(stream))
        if self._client is not None:
            self._pending[stream].extend(replies)

    def forget(self, model: str) -> None:
        """Drop this replica's windows of a model; others may go on adding to the fleet's."""
        for stream in [stream for stream in self._own if stream.model == model]:
            del self._own[stream]
            self._uncounted.pop(stream, None)

    async def refresh(self) -> None:
        """Publish what was recorded and read the fleet's figures, now. Never raises over Redis."""
        if self._client is None:
            return
        await self._publish()
        try:
            read = {stream: await self._read(stream) for stream in list(self._own)}
            self._fleet = {stream: read[stream] for stream in self._own if stream in read}
        except _FAILURES as error:
            self._fleet = {}  # what they were is not what they are
            self._fail("diversity_read", error)

    def snapshot(self) -> tuple[WindowFigure, ...]:
        """Every figure: the replica's as of now, the fleet's as of the last reading.

        None of a window without n-grams, and none of the fleet's if the last reading failed.
        """
        while self._uncounted:
            stream, replies = self._uncounted.popitem()
            self._own[stream].add(replies)
        own = (self._own_figure(*item, n) for item in self._own.items() for n in (1, 2))
        fleet = (self._fleet_figure(*item, n) for item in self._fleet.items() for n in (1, 2))
        return tuple(figure for figure in (*own, *fleet) if figure is not None)

    def _own_figure(self, stream: _Stream, window: TokenWindow, n: int) -> WindowFigure | None:
        """Dist-n of this replica, if there are n-grams."""
        if not window.counts[n].distinct:
            return None
        return WindowFigure(
            model=stream.model,
            n=n,
            scope="replica",
            source=stream.source,
            distinct_ratio=window.counts[n].distinct_ratio,
            window_tokens=window.tokens,
            is_full=window.is_full,
        )

    def _fleet_figure(self, stream: _Stream, counts: FleetCounts, n: int) -> WindowFigure | None:
        """Dist-n of the fleet, if there are n-grams."""
        if not counts.total[n]:
            return None
        return WindowFigure(
            model=stream.model,
            n=n,
            scope="fleet",
            source=stream.source,
            distinct_ratio=counts.distinct_ratio(n),
            window_tokens=counts.total[1],
            is_full=counts.total[1] >= self._window_tokens,
        )

    async def _run(self) -> None:
        """Refresh until the closing."""
        while not self._closing.is_set():
            await self.refresh()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._interval_seconds)

    async def _publish(self) -> None:
        """Send what was recorded; what cannot be sent is lost, and nothing is sent twice."""
        pending, self._pending = self._pending, defaultdict(list)
        batches = [
            (window, batch)
            for stream, replies in pending.items()
            for window in [self._fleet_window(stream)]
            for batch in window.batches(replies)
        ]
        try:
            while batches:
                window, batch = batches[0]
                await self._publish_script([window.counter], window.publish_arguments(batch))
                del batches[0]
        except _FAILURES as error:
            self.lost_tokens += sum(len(tokens) for _, batch in batches for tokens in batch)
            self._fail("diversity_publish", error)

    async def _read(self, stream: _Stream) -> FleetCounts:
        """What the fleet's window holds."""
        window = self._fleet_window(stream)
        return FleetCounts.of(await self._read_script([window.counter], window.read_arguments))

    def _fleet_window(self, stream: _Stream) -> FleetWindow:
        return FleetWindow(f"{stream.model}:{stream.source}", self._window_tokens)

    def _fail(self, op: str, error: Exception) -> None:
        _LOG.debug("redis %s: %r", op, error)
        self._observer.on_error(op)
