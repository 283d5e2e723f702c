"""Gathers requests into batches for one model. Knows no torch and no grpc.

The rule: wait for a first request, then for others until ``max_wait_seconds`` after it came or the
batch is full; but where the last request was answered alone, begin at once. The batch runs in the
worker thread; requests that come meanwhile join it between two decode steps, in their order, as
soon as there is room, and each is answered when it is done.
Sizes count sequences (the replies asked for), not requests. A full queue refuses at once. Work
whose caller has gone or whose deadline has passed leaves the queue, and the batch.

Background work (growing pools) runs in a lane of its own, only while nobody waits, and gives way
at the next decode step when somebody does.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from dialog_service.errors import DeadlinePassed, GenerationFailed, NotReady, Overloaded
from dialog_service.replies import (
    Candidate,
    Company,
    GenerationRequest,
    GenerationResult,
    OnReply,
)
from dialog_service.serving import tracing
from dialog_service.serving.metrics import Metrics


class Generates(Protocol):
    """The part of a Generator that a batch needs."""

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        is_abandoned: Callable[[int], bool],
        on_reply: Callable[[int, int, Candidate], None],
        company: Company,
    ) -> list[GenerationResult | None]:
        """One result per request; None for one that was abandoned.

        Those of who joined are told to ``company``, where any result may be told before.
        ``on_reply`` is told of the replies of a result, in order, as soon as they are known.
        """

    def warm_up(self, reply_count: int) -> None:
        """Do on this thread what only the first of many requests has to wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """The size of batches and of the queue, in sequences; how long a batch waits to fill up."""

    max_batch_sequences: int = 128
    max_wait_seconds: float = 0.005
    queue_capacity_sequences: int = 1024


@dataclass(frozen=True, slots=True)
class Generated:
    """A result, and where the time went."""

    result: GenerationResult
    queue_seconds: float
    inference_seconds: float


@dataclass(slots=True, eq=False, repr=False)  # which a queue that lacks it would make for its error
class _Job:
    """One request on its way; its caller has gone, or has its answer, where ``answer`` is done."""

    request: GenerationRequest
    answer: asyncio.Future[Generated]
    queued_at: float
    is_background: bool
    on_reply: OnReply | None = None
    started_at: float | None = None

    @property
    def sequences(self) -> int:
        return self.request.reply_count

    def tell(self, number: int, candidate: Candidate) -> None:
        """In the worker thread: have a reply told in the event loop, where somebody listens."""
        if self.on_reply and not self.answer.done():
            self.answer.get_loop().call_soon_threadsafe(self.on_reply, number, candidate)


# Those who wait join at once where they are an eighth of those under way, else after four steps.
_MANY_BESIDE = 8
_HELD_STEPS = 4

_Outcome = GenerationResult | GenerationFailed | None


class Batcher:
    """The queue before one generator, and the thread that runs it. Lives in one event loop."""

    def __init__(self, generator: Generates, limits: BatchLimits, metrics: Metrics) -> None:
        """Nothing runs before ``start``."""
        self._generator = generator
        self._limits = limits
        self._metrics = metrics
        self._queue: deque[_Job] = deque()
        self._background: deque[_Job] = deque()
        self._running: dict[int, _Job] = {}
        self._taking = threading.Lock()  # of queued jobs, by the loop and by the worker thread
        self._queued_sequences = 0
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generate")
        self._loop_task: asyncio.Task[None] | None = None
        self._may_have_company = True  # nobody knows before there was a batch
        self._batch_seconds = 0.1  # of the latest batch; a guess before there was one
        self._is_closed = False

    async def warm_up(self) -> None:
        """Return when the thread has generated: some of what that takes, each finds out by itself.

        How a library adds up depends on how many threads share it, for one.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._generator.warm_up, 1)

    def start(self) -> None:
        """Begin to take requests off the queue."""
        self._loop_task = asyncio.create_task(self._run(), name="batcher")

    async def close(self) -> None:
        """Refuse what waits and what comes, and end the thread; may be called twice."""
        self._is_closed = True
        for job in (*self._queue, *self._background, *self._running.values()):
            _fail(job, _stopping())
        if self._loop_task:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
            self._loop_task = None  # how it ended refers to the model, which is to be freed
        self._thread.shutdown(wait=False)

    async def submit(
        self, request: GenerationRequest, *, deadline: float, on_reply: OnReply | None = None
    ) -> Generated:
        """The result of one request.

        Args:
            request: valid; one larger than a batch runs alone.
            deadline: in the event loop's time; the work is dropped when it passes.
            on_reply: told of each reply of the result as soon as it is known, in order, before
                this returns. Where a batch-mate makes the batch fail and it runs again, told of
                the same replies again.

        Raises:
            Overloaded: the queue is full.
            DeadlinePassed: the deadline passed first.
            NotReady: the batcher is closed.
            GenerationFailed: the model failed on this request.
        """
        if self._queued_sequences + request.reply_count > self._limits.queue_capacity_sequences:
            self._metrics.requests_shed.labels("queue_full").inc()
            raise Overloaded("the queue is full", retry_after_seconds=self._queue_seconds())
        return await self._result(self._job(request, on_reply=on_reply), deadline)

    async def submit_background(self, request: GenerationRequest, *, deadline: float) -> Generated:
        """As ``submit``, in idle time only; callers bound how many of these there are."""
        return await self._result(self._job(request, is_background=True), deadline)

    def _job(
        self,
        request: GenerationRequest,
        *,
        is_background: bool = False,
        on_reply: OnReply | None = None,
    ) -> _Job:
        loop = asyncio.get_running_loop()
        return _Job(request, loop.create_future(), loop.time(), is_background, on_reply)

    async def _result(self, job: _Job, deadline: float) -> Generated:
        if self._is_closed:
            raise _stopping()
        self._enqueue(job)
        try:
            async with asyncio.timeout_at(deadline):
                return await job.answer
        except (TimeoutError, asyncio.CancelledError) as gone:
            stage = "queue" if job.started_at is None else "inference"
            if not job.is_background:
                self._metrics.requests_cancelled.labels(stage).inc()
            if isinstance(gone, TimeoutError):
                raise DeadlinePassed(f"the deadline passed in the {stage}") from gone
            raise
        finally:
            self._dequeue(job)
            _record(job)

    def _enqueue(self, job: _Job) -> None:
        with self._taking:
            (self._background if job.is_background else self._queue).append(job)
            self._count(0 if job.is_background else job.sequences)
        self._changed.set()

    def _dequeue(self, job: _Job) -> None:
        """Take a job out of its queue, if it is still there."""
        queue = self._background if job.is_background else self._queue
        with self._taking, contextlib.suppress(ValueError):
            queue.remove(job)
            self._count(0 if job.is_background else -job.sequences)

    def _count(self, sequences: int) -> None:
        self._queued_sequences += sequences
        self._metrics.queue_depth_sequences.inc(sequences)  # of every model in this process

    def _queue_seconds(self) -> float:
        """Roughly how long the present queue takes."""
        batches = self._queued_sequences / self._limits.max_batch_sequences
        return max(self._batch_seconds * batches, 0.05)

    async def _run(self) -> None:
        while True:
            await self._first()
            jobs = self._take(self._queue) or self._take(self._background)
            if jobs:
                await self._execute(jobs)

    async def _first(self) -> None:
        """Return when there is a batch to run: full, or its first job need not wait any longer."""
        while not self._queue and not self._background:
            self._changed.clear()
            await self._changed.wait()
        if not self._may_have_company:
            return
        with contextlib.suppress(TimeoutError):
            while self._queue and self._queued_sequences < self._limits.max_batch_sequences:
                until = self._queue[0].queued_at + self._limits.max_wait_seconds
                self._changed.clear()
                async with asyncio.timeout_at(until):
                    await self._changed.wait()

    def _take(self, queue: deque[_Job], under_way: int = 0) -> list[_Job]:
        """The next jobs that fit beside the sequences under way, in order.

        At least one, if there is one and nothing is under way.
        """
        jobs: list[_Job] = []
        room = self._limits.max_batch_sequences - under_way
        with self._taking:
            while queue and (queue[0].sequences <= room or not (jobs or under_way)):
                job = queue.popleft()
                self._count(0 if job.is_background else -job.sequences)
                room -= job.sequences
                jobs.append(job)
        if jobs:
            self._metrics.batch_sequences.observe(self._limits.max_batch_sequences - room)
        return jobs

    async def _execute(self, jobs: list[_Job]) -> None:
        loop = asyncio.get_running_loop()
        self._running = under_way = dict(enumerate(jobs))
        _begin(jobs, loop.time())
        company = _Joining(self, under_way, loop)
        outcomes = await loop.run_in_executor(self._thread, self._generate, under_way, company)
        for job, outcome in outcomes:
            self._settle(job, outcome)
        self._running = {}
        if not jobs[0].is_background:
            self._may_have_company = company.count > 1

    def _settle(self, job: _Job, outcome: _Outcome) -> None:
        """Answer a job, once; background work that gave way goes back to the head of its queue."""
        if job.answer.done():
            return
        if isinstance(outcome, GenerationResult):
            job.answer.set_result(self._timed(job, outcome))
        elif outcome is None and job.is_background:
            job.started_at = None
            self._background.appendleft(job)
        else:
            _fail(job, outcome or GenerationFailed("the model gave nothing"))

    def _timed(self, job: _Job, result: GenerationResult) -> Generated:
        """A result and where its time went; the figures are of what somebody waits for."""
        started = job.started_at or job.queued_at
        queue_seconds = started - job.queued_at
        seconds = self._batch_seconds = asyncio.get_running_loop().time() - started
        if not job.is_background:
            self._metrics.queue_duration_seconds.observe(queue_seconds)
            self._metrics.inference_duration_seconds.observe(seconds)
        return Generated(result, queue_seconds, seconds)

    def _generate(self, jobs: dict[int, _Job], company: Company) -> list[tuple[_Job, _Outcome]]:
        """In the worker thread: a batch, to which others join; outcomes of those left in it.

        Where it fails, they run one by one, so that only the guilty fail.
        """

        def is_abandoned(index: int) -> bool:
            job = jobs[index]
            return job.answer.done() or (job.is_background and self._is_wanted(jobs.values()))

        def on_reply(index: int, number: int, candidate: Candidate) -> None:
            jobs[index].tell(number, candidate)

        try:
            requests = [job.request for job in jobs.values()]
            results = self._generator.generate(requests, is_abandoned, on_reply, company)
            return [(job, results[index]) for index, job in jobs.items()]
        except Exception as error:
            if len(jobs) > 1:
                alone = (self._generate({0: job}, Company()) for job in jobs.values())
                return [outcome for outcomes in alone for outcome in outcomes]
            failure = GenerationFailed("the model failed")
            failure.__cause__ = error
            return [(job, failure) for job in jobs.values()]

    def _is_wanted(self, jobs: Iterable[_Job]) -> bool:
        """Whether somebody waits for the worker, in the queue or in a batch."""
        return bool(self._queue) or any(
            not job.is_background and not job.answer.done() for job in jobs
        )


class _Joining(Company):
    """Those who come while a batch runs, and those who go; called in the worker thread."""

    def __init__(
        self, batcher: Batcher, jobs: dict[int, _Job], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.count = len(jobs)  # those who have gone, too
        self._batcher = batcher
        self._jobs = jobs
        self._loop = loop
        self._held_steps = 0

    def joining(self, under_way: int) -> Sequence[GenerationRequest]:
        """The requests whose turn it is, as far as there is room beside those under way."""
        if not under_way or self._is_too_soon(under_way):
            return []
        jobs = self._batcher._take(self._batcher._queue, under_way)
        _begin(jobs, self._loop.time())
        self._jobs.update(enumerate(jobs, self.count))
        self.count += len(jobs)
        return [job.request for job in jobs]

    def _is_too_soon(self, under_way: int) -> bool:
        """Whether few wait beside many: reading a context holds up all, so more should share it."""
        waiting = self._batcher._queued_sequences
        is_held = _MANY_BESIDE * waiting < under_way and self._held_steps < _HELD_STEPS
        self._held_steps = self._held_steps + 1 if waiting and is_held else 0
        return is_held

    def on_result(self, index: int, result: GenerationResult | None) -> None:
        """Answer a request before its batch, which may have no end, is done, and forget it."""
        job = self._jobs.pop(index)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._batcher._settle, job, result)


def _begin(jobs: Sequence[_Job], now: float) -> None:
    for job in jobs:
        job.started_at = now


def _record(job: _Job) -> None:
    """Tell whoever traces where a job's time went, as far as it came."""
    ended = asyncio.get_running_loop().time()
    started = ended if job.started_at is None else job.started_at
    tracing.record("queue", job.queued_at, started)
    if job.started_at is not None:
        tracing.record("inference", started, ended)


def _fail(job: _Job, error: Exception) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)


def _stopping() -> NotReady:
    return NotReady("the server is stopping", retry_after_seconds=1.0)
