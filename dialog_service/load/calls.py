"""One call of a load and what became of it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from google.rpc import code_pb2  # type: ignore[import-untyped]

from dialog_service.client import AsyncDialogClient, CallFailed
from dialog_service.load.workload import Kind, Shot
from dialog_service.v1 import dialog_pb2 as pb

HUNG = "HUNG"  # in the place of a status
_LATE_SECONDS = 1.0  # after its deadline a call is late,
_HUNG_SECONDS = 10.0  # and after this it is given up

Judge = Callable[[pb.GenerateRepliesRequest, pb.GenerateRepliesResponse], str]
_Results = list[
    tuple[str, pb.GenerateRepliesResponse | None]
]  # a status, and what there is with OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one call; ``statuses`` has one for each of its requests."""

    kind: Kind
    statuses: tuple[str, ...]
    seconds: float  # from when it was due to its end
    lag_seconds: float  # of that, before it was sent
    replies: int = 0
    cache: tuple[str, ...] = ()  # what it did, of requests that were answered
    wrong: tuple[str, ...] = ()  # what is wrong with answers
    is_late: bool = False


def keeps_its_promises(
    request: pb.GenerateRepliesRequest, response: pb.GenerateRepliesResponse
) -> str:
    """What is wrong with a response, as far as the API alone tells; else nothing."""
    texts = [reply.text for reply in response.replies]
    if not texts:
        return "no replies"
    if len(texts) > request.reply_count:
        return "more replies than asked for"
    if len(set(texts)) < len(texts):
        return "the same reply twice"
    if request.sampling.HasField("seed") and response.seed != request.sampling.seed:
        return "another seed"
    return ""


async def call(
    client: AsyncDialogClient, shot: Shot, *, timeout_seconds: float, due: float, judge: Judge
) -> Outcome:
    """Make a call; never raises on account of the service.

    Args:
        client: gives up after ``timeout_seconds`` by itself.
        shot: what to send.
        timeout_seconds: that of the client.
        due: when the call should have been sent, by ``time.perf_counter``.
        judge: says what is wrong with an answer.
    """
    sent = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_seconds + _HUNG_SECONDS):
            results = await _SENDERS[shot.kind](client, shot)
    except CallFailed as error:
        results = [(error.status, None)] * len(shot.requests)
    except TimeoutError:
        results = [(HUNG, None)] * len(shot.requests)
    ended = time.perf_counter()
    pairs = zip(shot.requests, results, strict=True)
    answered = [(request, found) for request, (_, found) in pairs if found]
    return Outcome(
        kind=shot.kind,
        statuses=tuple(status for status, _ in results),
        seconds=ended - due,
        lag_seconds=sent - due,
        replies=sum(len(response.replies) for _, response in answered),
        cache=tuple(_cache_status(response) for _, response in answered),
        wrong=tuple(filter(None, (judge(*pair) for pair in answered))),
        is_late=ended - sent > timeout_seconds + _LATE_SECONDS,
    )


async def _send_one(client: AsyncDialogClient, shot: Shot) -> _Results:
    return [("OK", await client.generate_replies(shot.requests[0]))]


async def _send_batch(client: AsyncDialogClient, shot: Shot) -> _Results:
    batch = await client.batch_generate_replies(shot.requests)
    return [
        (code_pb2.Code.Name(each.error.code), each.response if each.HasField("response") else None)
        for each in batch.results
    ]


async def _send_stream(client: AsyncDialogClient, shot: Shot) -> _Results:
    replies: dict[int, pb.Reply] = {}
    response = pb.GenerateRepliesResponse()
    async for event in client.stream_replies(shot.requests[0]):
        if event.HasField("reply"):
            replies[event.reply.index] = event.reply.reply
        else:
            response = event.summary
    response.replies.extend(replies[index] for index in sorted(replies))
    return [("OK", response)]


_SENDERS = {
    Kind.UNARY: _send_one,
    Kind.SEEDED: _send_one,
    Kind.MMR: _send_one,
    Kind.BATCH: _send_batch,
    Kind.STREAM: _send_stream,
}


def _cache_status(response: pb.GenerateRepliesResponse) -> str:
    return pb.CacheStatus.Name(response.cache.status).removeprefix("CACHE_STATUS_").lower()
